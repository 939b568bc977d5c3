"""Rule experiments: what all batches of pseudo-experiments of one method say of its coverage."""

from veridical import coordinates, job


def main(snakemake):
    from veridical import seeds
    from veridical.checks import save
    from veridical.checks.experiments import aggregate

    where = coordinates.of_wildcards(snakemake.wildcards)
    path = ("experiments", where["method"], where["replicate"], where["dataset"])
    rng = seeds.generator(snakemake.params.seed, "check", *path)
    result = aggregate(snakemake.input.batches, rng, snakemake.params.names)
    save(result, snakemake.output.result)


job.run(main, snakemake)  # noqa: F821

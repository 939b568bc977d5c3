"""Rule experiments: what all batches of pseudo-experiments of one method say of its coverage."""

from veridical import coordinates, job


def main(snakemake):
    from veridical import unchecked
    from veridical.stages.check import experiments

    unchecked.require(snakemake.input)
    wildcards, params = snakemake.wildcards, snakemake.params
    experiments(
        snakemake.input.batches,
        params.names,
        snakemake.output.result,
        root=params.seed,
        method=wildcards.method,
        replicate=coordinates.of_wildcards(wildcards)["replicate"],
        dataset=wildcards.dataset,
    )


job.run(main, snakemake)  # noqa: F821

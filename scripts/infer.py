"""Rule infer: posterior draws of one method for one data set."""

from veridical import coordinates, job


def main(snakemake):
    from veridical.saved import observations
    from veridical.stages.infer import infer

    params = snakemake.params
    infer(
        params.folder,
        observations.load(snakemake.input.data),
        snakemake.output.draws,
        draws=params.draws,
        rows=params.rows,
        root=params.seed,
        replicate=coordinates.of_wildcards(snakemake.wildcards)["replicate"],
        threads=snakemake.threads,
    )


job.run(main, snakemake)  # noqa: F821

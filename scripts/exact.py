"""Rule exact: densities of one method beside those of the task's exact posterior."""

from veridical import coordinates, job


def main(snakemake):
    from veridical.saved import observations
    from veridical.stages.exact import exact

    params = snakemake.params
    exact(
        params.task,
        params.folder,
        observations.load(snakemake.input.data),
        snakemake.output.arrays,
        fidelity=params.fidelity,
        **params.sizes,
        root=params.seed,
        replicate=coordinates.of_wildcards(snakemake.wildcards)["replicate"],
        threads=snakemake.threads,
    )


job.run(main, snakemake)  # noqa: F821

"""Rule nearby: simulations around the answers of one method, and its answers to them."""

from veridical import coordinates, job


def main(snakemake):
    from veridical import unchecked
    from veridical.stages.nearby import nearby

    unchecked.require(snakemake.input)
    params = snakemake.params
    nearby(
        params.task,
        params.folder,
        snakemake.input.draws,
        snakemake.output.arrays,
        fidelity=params.fidelity,
        **params.sizes,
        root=params.seed,
        replicate=coordinates.of_wildcards(snakemake.wildcards)["replicate"],
        threads=snakemake.threads,
    )


job.run(main, snakemake)  # noqa: F821

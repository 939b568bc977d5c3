"""Rule experiment: one batch of pseudo-experiments of one method."""

from veridical import coordinates, job


def main(snakemake):
    from veridical import unchecked
    from veridical.stages.experiment import experiment

    unchecked.require(snakemake.input.pool)
    params, where = snakemake.params, coordinates.of_wildcards(snakemake.wildcards)
    experiment(
        params.task,
        params.folder,
        params.experiments,
        snakemake.output.batch,
        fidelity=params.fidelity,
        root=params.seed,
        replicate=where["replicate"],
        batch=where["batch"],
        pool=list(snakemake.input.pool),
    )


job.run(main, snakemake)  # noqa: F821

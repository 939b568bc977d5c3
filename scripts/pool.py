"""Rule pool: the events of one level that pseudo-experiments draw from."""

from veridical import coordinates, job


def main(snakemake):
    from veridical.stages.experiment import pool

    params, where = snakemake.params, coordinates.of_wildcards(snakemake.wildcards)
    pool(
        params.task,
        where["fidelity"],
        params.events,
        snakemake.output.events,
        root=params.seed,
        batch=where["batch"],
        place=params.place,
    )


job.run(main, snakemake)  # noqa: F821

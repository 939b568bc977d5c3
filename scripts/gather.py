"""Rule gather: joins the last rounds for all observations to one method."""

from pathlib import Path

from veridical import coordinates, job


def main(snakemake):
    from veridical.stages.rounds import gather

    inputs, params = snakemake.input, snakemake.params
    gather(
        params.method,
        [Path(record).parent for record in inputs.records],
        inputs.costs,
        params.folder,
        coordinates.Run(**coordinates.of_wildcards(snakemake.wildcards)),
        root=params.seed,
        code=params.code,
    )


job.run(main, snakemake)  # noqa: F821

"""Rule provenance: the record of what made the results, from what, where."""

from pathlib import Path

from veridical import job


def main(snakemake):
    from veridical.stages.provenance import record

    inputs, params = snakemake.input, snakemake.params
    record(
        params.study,
        root=Path(snakemake.output.record).parent,
        files=[*inputs.files, *inputs.draws, *inputs.weights, *inputs.records, *inputs.rounds],
        data=params.data,
        shards=inputs.shards,
        rows=params.rows,
        out=snakemake.output.record,
    )


job.run(main, snakemake)  # noqa: F821

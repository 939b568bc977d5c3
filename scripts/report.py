"""Rule report: one page for the reader, with figures, tables and provenance."""

from veridical import job


def main(snakemake):
    from veridical.stages.report import render

    inputs, params = snakemake.input, snakemake.params
    render(
        {**params.study, "observations": params.data, "labels": params.labels, "scale": params.scale},
        table=inputs.table,
        verdicts=inputs.verdict,
        figures=inputs.figures,
        provenance=inputs.provenance,
        looks=inputs.looks,
        scores=inputs.scores,
        study=params.study,
        data=params.new_data,
        out=snakemake.output.page,
    )


job.run(main, snakemake)  # noqa: F821

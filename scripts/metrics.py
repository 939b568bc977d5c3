"""Rule metrics: every number of a study in one table, and the verdict that follows from them."""

from veridical import job


def main(snakemake):
    from veridical.stages.aggregate import aggregate

    inputs, outputs, params = snakemake.input, snakemake.output, snakemake.params
    aggregate(
        params.study,
        params.task,
        results=inputs.results,
        draws=inputs.draws,
        costs=inputs.costs,
        benchmarks=inputs.benchmarks,
        simulations=inputs.simulations,
        records=inputs.records,
        ledgers=params.ledgers,
        table=outputs.table,
        verdicts=outputs.verdict,
    )


job.run(main, snakemake)  # noqa: F821

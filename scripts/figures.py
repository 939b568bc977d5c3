"""Rule figures: draws all figures of a study from its saved results."""

from veridical import job


def main(snakemake):
    from veridical.figures.sources import Sources
    from veridical.stages.figures import draw

    inputs = snakemake.input
    sources = Sources(
        results=inputs.results,
        draws=inputs.draws,
        observations=inputs.observations,
        histories=inputs.histories,
        table=inputs.table,
        looks=inputs.looks,
        prior=inputs.prior,
        simulated=inputs.simulated,
        records=inputs.records,
        benchmarks={stage: inputs[stage] for stage in ("simulate", "train", "remedy", "infer", "reference")},
    )
    draw(snakemake.output.folder, sources, snakemake.params.labels, snakemake.log[0])


job.run(main, snakemake)  # noqa: F821

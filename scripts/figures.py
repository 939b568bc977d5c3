"""Rule figures: draws all figures of a study from its saved results."""

from veridical import job


def main(snakemake):
    from veridical.figures.sources import Sources
    from veridical.stages.figures import draw

    inputs = snakemake.input
    names = (
        *("results", "draws", "observations", "histories", "table"),
        *("looks", "prior", "simulated", "records", "allocations"),
    )
    stages = ("simulate", "train", "remedy", "infer", "reference")
    benchmarks = {stage: inputs[stage] for stage in stages}
    sources = Sources(**{name: inputs[name] for name in names}, benchmarks=benchmarks)
    draw(snakemake.output.folder, sources, snakemake.params.labels, snakemake.log[0])


job.run(main, snakemake)  # noqa: F821

"""Rule densities: those of the task at the draws of one method."""

from veridical import job


def main(snakemake):
    from veridical import unchecked
    from veridical.stages.densities import densities

    unchecked.require(snakemake.input)
    densities(
        snakemake.params.task,
        snakemake.input.draws,
        snakemake.input.get("simulated"),
        snakemake.output.arrays,
        likelihood=snakemake.params.likelihood,
    )


job.run(main, snakemake)  # noqa: F821

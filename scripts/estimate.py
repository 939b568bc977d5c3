"""Rule estimate: estimates with their errors of one method for one data set."""

from veridical import job


def main(snakemake):
    from veridical.saved import observations
    from veridical.stages.estimate import estimate

    inputs, outputs = snakemake.input, snakemake.output
    estimate(snakemake.params.folder, observations.load(inputs.data), outputs.estimate)


job.run(main, snakemake)  # noqa: F821

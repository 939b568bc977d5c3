"""Rule observe_simulated: takes the test rows of the bank as data sets whose truth is known."""

from veridical import job


def main(snakemake):
    from veridical.stages.observe import observe_simulated

    params = snakemake.params
    observe_simulated(
        params.task, snakemake.input.shards, params.rows, params.fidelity, snakemake.output.data
    )


job.run(main, snakemake)  # noqa: F821

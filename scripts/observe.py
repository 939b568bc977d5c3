"""Rule observe: brings one real data set in from its file."""

from veridical import job


def main(snakemake):
    from veridical.stages.observe import observe

    params = snakemake.params
    settings = {**params.observation, "file": snakemake.input.data}
    observe(params.task, settings, snakemake.wildcards.dataset, snakemake.output.data)


job.run(main, snakemake)  # noqa: F821

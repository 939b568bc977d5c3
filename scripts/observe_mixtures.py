"""Rule observe_mixtures: samples of unlabelled events whose fractions are known."""

from veridical import job


def main(snakemake):
    from veridical.stages.observe import observe_mixtures

    params = snakemake.params
    observe_mixtures(params.task, params.experiments, snakemake.output.data, root=params.seed)


job.run(main, snakemake)  # noqa: F821

"""Rule train: fits one estimator to one replicate's simulations."""

from veridical import job


def main(snakemake):
    from veridical.stages.train import train

    params, limits = snakemake.params, snakemake.resources
    train(
        snakemake.input.shards,
        params.task,
        params.estimator,
        params.folder,
        root=params.seed,
        checkpoints=limits.checkpoints,
        code=params.code,
        max_invalid=float(limits.max_invalid),
        **job.coordinates(snakemake.wildcards),
    )


job.run(main, snakemake)  # noqa: F821

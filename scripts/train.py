"""Rule train: fits one estimator to one replicate's simulations."""

from pathlib import Path

from veridical import job


def main(snakemake):
    from veridical.stages.train import train

    wildcards, params, limits = snakemake.wildcards, snakemake.params, snakemake.resources
    train(
        snakemake.input.shards,
        params.task,
        params.estimator,
        Path(snakemake.output.record).parent,
        budget=int(wildcards.budget),
        root=params.seed,
        method=wildcards.method,
        replicate=int(wildcards.replicate),
        checkpoints=limits.checkpoints,
        code=params.code,
        threads=snakemake.threads,
        max_invalid=float(limits.max_invalid),
    )


job.run(main, snakemake)  # noqa: F821

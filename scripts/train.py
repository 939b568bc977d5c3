"""Rules train, fine_tune and remedy: fit one method to what it learns from."""

from veridical import coordinates, job


def main(snakemake):
    from veridical.stages.train import Sources, train

    inputs, params, limits = snakemake.input, snakemake.params, snakemake.resources
    train(
        params.task,
        params.method,
        Sources.of(dict(inputs.items()), params.rows),
        params.folder,
        root=params.seed,
        fidelity=params.fidelity,
        checkpoints=limits.checkpoints,
        code=params.code,
        max_invalid=float(limits.max_invalid),
        deadline=job.deadline(snakemake),
        **coordinates.of_wildcards(snakemake.wildcards),
    )


job.run(main, snakemake)  # noqa: F821

"""Rules train, fine_tune and remedy: fit one method to what it learns from."""

from veridical import coordinates, job


def main(snakemake):
    from veridical.stages.train import Sources, train

    inputs, params, limits = snakemake.input, snakemake.params, snakemake.resources
    train(
        params.task,
        params.method,
        Sources.of(dict(inputs.items()), params.rows, params.fidelity, float(limits.max_invalid)),
        params.folder,
        coordinates.Run(**coordinates.of_wildcards(snakemake.wildcards)),
        root=params.seed,
        checkpoints=limits.checkpoints,
        code=params.code,
        deadline=job.deadline(snakemake),
    )


job.run(main, snakemake)  # noqa: F821

"""Rule train_round: fits one round to the rows of all rounds so far."""

from veridical import coordinates, job


def main(snakemake):
    from veridical.stages.rounds import Place, train_round

    params, limits = snakemake.params, snakemake.resources
    of = coordinates.of_wildcards(snakemake.wildcards)
    train_round(
        params.task,
        params.method,
        dict(snakemake.input.items()),
        params.folder,
        Place(params.method["dataset"], of.pop("observation"), of.pop("round")),
        coordinates.Run(**of),
        fidelity=params.fidelity,
        max_invalid=float(limits.max_invalid),
        root=params.seed,
        checkpoints=limits.checkpoints,
        code=params.code,
        deadline=job.deadline(snakemake),
    )


job.run(main, snakemake)  # noqa: F821

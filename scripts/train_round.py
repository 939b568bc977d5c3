"""Rule train_round: fits one round to the rows of all rounds so far."""

from veridical import coordinates, job


def main(snakemake):
    from veridical.stages.rounds import Place, train_round

    params, limits = snakemake.params, snakemake.resources
    of = coordinates.of_wildcards(snakemake.wildcards)
    place = Place(params.method["dataset"], of.pop("observation"), of.pop("round"))
    inputs = dict(snakemake.input.items())
    train_round(
        *(params.task, params.method, inputs, params.folder, place),
        coordinates.Run(**of),
        root=params.seed,
        fidelity=params.fidelity,
        max_invalid=float(limits.max_invalid),
        checkpoints=limits.checkpoints,
        code=params.code,
        deadline=job.deadline(snakemake),
    )


job.run(main, snakemake)  # noqa: F821

"""Rule simulate_round: one shard of the simulations of a round."""

from veridical import coordinates, job


def main(snakemake):
    from veridical.stages.rounds import Place, simulate_proposed

    params, limits = snakemake.params, snakemake.resources
    of = coordinates.of_wildcards(snakemake.wildcards)
    simulate_proposed(
        params.task,
        snakemake.input.proposal,
        snakemake.output.shard,
        Place(params.dataset, of["observation"], of["round"]),
        dict(root=params.seed, fidelity=params.fidelity) | {k: of[k] for k in ("replicate", "first", "last")},
        key=params.key,
        workers=snakemake.threads,
        time_limit=float(limits.time_limit),
        max_invalid=float(limits.max_invalid),
    )


job.run(main, snakemake, light=True)  # noqa: F821

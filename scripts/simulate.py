"""Rule simulate: fills one shard of the bank."""

from veridical import coordinates, job


def main(snakemake):
    from veridical.bank.filling import ShardRows
    from veridical.stages.simulate import simulate_shard

    params, limits = snakemake.params, snakemake.resources
    simulate_shard(
        params.task,
        snakemake.output.shard,
        ShardRows(root=params.seed, **coordinates.of_wildcards(snakemake.wildcards)),
        key=params.key,
        workers=snakemake.threads,
        time_limit=float(limits.time_limit),
        max_invalid=float(limits.max_invalid),
    )


job.run(main, snakemake, light=True)  # noqa: F821

"""Rule simulate: fills one shard of the bank."""

from veridical import job


def main(snakemake):
    from veridical.stages.simulate import simulate_shard

    wildcards, params, limits = snakemake.wildcards, snakemake.params, snakemake.resources
    split, _, replicate = wildcards.split.partition("-r")
    simulate_shard(
        params.task,
        snakemake.output.shard,
        root=params.seed,
        fidelity=wildcards.fidelity,
        split=split,
        replicate=int(replicate or 0),
        first=int(wildcards.first),
        last=int(wildcards.last),
        key=params.key,
        workers=snakemake.threads,
        time_limit=float(limits.time_limit),
        max_invalid=float(limits.max_invalid),
    )


job.run(main, snakemake)  # noqa: F821

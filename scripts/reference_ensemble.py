"""Rule reference_ensemble: one independent ensemble of Markov chains."""

from veridical import job


def main(snakemake):
    from veridical.stages import reference

    params = snakemake.params
    reference.sample(
        params.task,
        snakemake.input.data,
        params.reference,
        snakemake.output.chain,
        ensemble=int(snakemake.wildcards.ensemble),
        root=params.seed,
    )


job.run(main, snakemake)  # noqa: F821

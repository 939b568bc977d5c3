"""Rule surfaces: log likelihoods of one method on a grid of parameters, beside the exact ones."""

from veridical import job


def main(snakemake):
    from veridical.saved import observations
    from veridical.stages.surfaces import surfaces

    params = snakemake.params
    surfaces(
        params.task,
        params.folder,
        observations.load(snakemake.input.data),
        snakemake.output.arrays,
        **params.sizes,
        exact=params.exact,
        root=params.seed,
        threads=snakemake.threads,
    )


job.run(main, snakemake)  # noqa: F821

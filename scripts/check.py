"""Rule check: one check of one run on one data set."""

from veridical import coordinates, job


def main(snakemake):
    from veridical import unchecked
    from veridical.stages.check import check

    unchecked.require(snakemake.input)
    wildcards, params = snakemake.wildcards, snakemake.params
    check(
        wildcards.check,
        params.settings,
        dict(snakemake.input.items()),
        snakemake.output.result,
        root=params.seed,
        method=wildcards.method,
        replicate=coordinates.of_wildcards(wildcards)["replicate"],
        dataset=wildcards.dataset,
        task=params.task,
    )


job.run(main, snakemake)  # noqa: F821

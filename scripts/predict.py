"""Rule predict: simulates data from posterior draws."""

from veridical import coordinates, job


def main(snakemake):
    from veridical import unchecked
    from veridical.stages.predict import predict

    unchecked.require(snakemake.input)
    wildcards, params = snakemake.wildcards, snakemake.params
    predict(
        params.task,
        snakemake.input.draws,
        snakemake.output.x,
        sizes=params.sizes,
        root=params.seed,
        method=wildcards.method,
        replicate=coordinates.of_wildcards(wildcards)["replicate"],
        fidelity=params.fidelity,
    )


job.run(main, snakemake)  # noqa: F821

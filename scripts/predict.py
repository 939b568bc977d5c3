"""Rule predict: simulates data from posterior draws."""

from veridical import job


def main(snakemake):
    from veridical.stages.predict import predict

    wildcards, params = snakemake.wildcards, snakemake.params
    predict(
        params.task,
        snakemake.input.draws,
        snakemake.output.x,
        root=params.seed,
        method=wildcards.method,
        replicate=job.coordinates(wildcards)["replicate"],
        fidelity=params.fidelity,
    )


job.run(main, snakemake)  # noqa: F821

"""Rule reference: joins independent ensembles and measures their convergence."""

from veridical import job


def main(snakemake):
    from veridical import unchecked
    from veridical.stages import reference

    inputs, params = snakemake.input, snakemake.params
    unchecked.require(inputs)
    reference.combine(params.task, inputs.data, inputs.chains, params.reference, snakemake.output.draws)


job.run(main, snakemake)  # noqa: F821

"""Rule look: holds real data against the cloud of prior predictions."""

from veridical import job


def main(snakemake):
    from veridical.stages.observe import look

    look(snakemake.input.data, snakemake.input.prior, snakemake.output.look)


job.run(main, snakemake)  # noqa: F821

"""Rule collection: the numbers of all studies of a collection in one table, and one page."""

from veridical import job


def main(snakemake):
    from veridical.stages.collection import gather

    outputs, params = snakemake.output, snakemake.params
    gather(params.about, params.studies, params.methods, table=outputs.table, page=outputs.page)


job.run(main, snakemake)  # noqa: F821

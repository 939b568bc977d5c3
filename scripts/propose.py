"""Rule propose: the parameters that one round simulates at."""

from veridical import coordinates, job


def main(snakemake):
    from veridical.stages.rounds import Place, propose

    params, place = snakemake.params, coordinates.of_wildcards(snakemake.wildcards)
    propose(
        params.task,
        params.folder,
        snakemake.output.proposal,
        Place(params.dataset, place.pop("observation"), place.pop("round")),
        coordinates.Run(**place),
        rows=params.rows,
        root=params.seed,
        share=params.share,
        threads=snakemake.threads,
    )


job.run(main, snakemake)  # noqa: F821

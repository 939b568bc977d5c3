"""Rule probe: tries a few rows of one fidelity before any fan-out."""

from veridical import job


def main(snakemake):
    from veridical.stages.simulate import probe

    limits = snakemake.resources
    probe(
        snakemake.params.task,
        snakemake.output.probe,
        root=snakemake.params.seed,
        fidelity=snakemake.wildcards.fidelity,
        rows=limits.probe_rows,
        time_limit=float(limits.time_limit),
        max_invalid=float(limits.max_invalid),
    )


job.run(main, snakemake, light=True)  # noqa: F821

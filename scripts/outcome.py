"""Rule outcome: fails where checks, predictions or figures are missing from the report."""

from veridical import job


def main(snakemake):
    from veridical.stages.report import outcome

    outcome(snakemake.input.verdict, snakemake.input.figures, snakemake.output.record)


job.run(main, snakemake)  # noqa: F821

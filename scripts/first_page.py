"""Rule first_page: the report on new data as far as it is quickly known."""

from veridical import job


def main(snakemake):
    from veridical.stages.first_page import first_page
    from veridical.study.layout import Layout
    from veridical.study.settings import StudySettings

    outputs, params = snakemake.output, snakemake.params
    study = StudySettings.model_validate(params.study)
    layout = Layout(study, scale=params.scale, data=snakemake.input.data)
    first_page(layout, outputs.table, outputs.verdict, snakemake.log[0])


job.run(main, snakemake)  # noqa: F821

"""What a study will cost before anyone submits it: jobs, hours, disk and inodes per rule.

The jobs are those of a Snakemake dry run. Their seconds and memory come from finished jobs of the same study
at any scale, scaled by what they grow with.
"""

from __future__ import annotations

from pathlib import Path

from veridical.plan import dry_run
from veridical.plan.costs import Cost, Costs
from veridical.plan.table import table
from veridical.study import settings
from veridical.study.layout import Layout

__all__ = ["Cost", "costs_of", "table"]


def costs_of(text: str, study: str | Path, scale: str) -> list[Cost]:
    """Returns what each rule costs, in the order of the dry run.

    Arguments:
        text: What `snakemake --dry-run` printed for this study at this scale.
        study: The study's file.
        scale: The scale.

    Raises:
        PlanError: If the text is no whole dry run.
        SettingError: If the study's settings are wrong, or there is no such scale.
    """
    settings.require_scale(scale)
    layouts = {name: Layout(settings.load(study, name), scale=name) for name in settings.SCALES}
    jobs, costs = dry_run.jobs(text), Costs(layouts, scale)
    by_rule: dict[str, list[Cost]] = {}
    for job in jobs:
        by_rule.setdefault(job.rule, []).append(costs.of(job))
    return [Cost.total(rule, found) for rule, found in by_rule.items()]

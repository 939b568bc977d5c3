"""What a study will cost before anyone submits it: jobs, hours, disk and inodes per rule.

The jobs are those of a Snakemake dry run. Their seconds and memory come from finished jobs of the same study
at any scale, scaled by what they grow with.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from veridical.plan import dry_run
from veridical.plan.costs import Cost, Costs
from veridical.plan.table import table
from veridical.study import collections, settings
from veridical.study.collections import Studies
from veridical.study.layout import Layout

__all__ = ["Cost", "costs_of", "table"]


def costs_of(text: str, study: str | Path, scale: str) -> list[Cost]:
    """Returns what each rule costs, in the order of the dry run.

    Arguments:
        text: What `snakemake --dry-run` printed for this study at this scale.
        study: The file of the study or the collection.
        scale: The scale.

    Raises:
        PlanError: If the text is no whole dry run.
        SettingError: If the study's settings are wrong, or there is no such scale.
    """
    settings.require_scale(scale)
    every = {name: collections.load(study, name) for name in settings.SCALES}
    asked = [_costs(layout, every) for layout in every[scale].layouts.values()]
    by_rule: dict[str, list[Cost]] = {}
    for job in dry_run.jobs(text):
        own = next((costs for costs in asked if costs.owns(job)), asked[0])  # which says that it is not
        by_rule.setdefault(job.rule, []).append(own.of(job))
    return [Cost.total(rule, found) for rule, found in by_rule.items()]


def _costs(layout: Layout, every: Mapping[str, Studies]) -> Costs:
    """What jobs of one study will cost, from those of the same study at all scales."""
    same = {
        scale: other
        for scale, studies in every.items()
        for other in studies.layouts.values()
        if (other.collection, other.study.study) == (layout.collection, layout.study.study)
    }
    return Costs(same, layout.scale, every[layout.scale].report)

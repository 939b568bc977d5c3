"""What a study will cost before anyone submits it: jobs, hours, disk and inodes per rule.

The jobs are those of a Snakemake dry run. Their seconds and memory come from finished jobs of the same study
at any scale, or else of other studies of its collection, scaled by what they grow with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from veridical.plan import dry_run
from veridical.plan.costs import Cost, Costs
from veridical.plan.measured import Record, records
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
    layouts = every[scale].layouts
    beside = {name: _records(layout, every) for name, layout in layouts.items()} if len(layouts) > 1 else {}
    asked = [
        _costs(layout, every, [r for other, own in beside.items() if other != name for r in own])
        for name, layout in layouts.items()
    ]
    by_rule: dict[str, list[Cost]] = {}
    for job in dry_run.jobs(text):
        own = next((costs for costs in asked if costs.owns(job)), asked[0])  # which says that it is not
        by_rule.setdefault(job.rule, []).append(own.of(job))
    return [Cost.total(rule, found) for rule, found in by_rule.items()]


def _costs(layout: Layout, every: Mapping[str, Studies], beside: Sequence[Record]) -> Costs:
    """What jobs of one study will cost, from those of the same study at all scales, or of others beside."""
    return Costs(_same(layout, every), layout.scale, every[layout.scale].report, beside)


def _records(layout: Layout, every: Mapping[str, Studies]) -> list[Record]:
    """What finished jobs of one study cost, at all scales, as others of its collection see it."""
    found = records(list(_same(layout, every).values()))
    return [replace(record, scale=f"{record.scale} of others") for record in found]


def _same(layout: Layout, every: Mapping[str, Studies]) -> dict[str, Layout]:
    """One study at all scales."""
    return {
        scale: other
        for scale, studies in every.items()
        for other in studies.layouts.values()
        if (other.collection, other.study.study) == (layout.collection, layout.study.study)
    }

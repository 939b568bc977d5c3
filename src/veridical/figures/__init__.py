"""Figures: one file per kind, with its data, its drawing and its words; from saved results only."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from veridical.errors import UnknownName, suggest

if TYPE_CHECKING:
    from veridical.figures.base import Figure

# Sections of the page.
SECTIONS = ("overview", "comparison", "answer", "data", "calibration", "controls", "training", "cost")
# In the order in which the sections of the page show them.
FIGURES: dict[str, str] = {
    "answer": "veridical.figures.answer:Answer",
    "forest": "veridical.figures.forest:Forest",
    "coverages": "veridical.figures.coverages:Coverages",
    "deviations": "veridical.figures.deviations:Deviations",
    "intervals": "veridical.figures.intervals:Intervals",
    "pulls": "veridical.figures.pulls:Pulls",
    "scans": "veridical.figures.scans:Scans",
    "calibration": "veridical.figures.calibration_sizes:CalibrationSizes",
    "tradeoff": "veridical.figures.tradeoff:Tradeoff",
    "posterior": "veridical.figures.posterior:Posterior",
    "shapes": "veridical.figures.shapes:Shapes",
    "prior": "veridical.figures.prior:Prior",
    "predictive": "veridical.figures.predictive:Predictive",
    "distortions": "veridical.figures.distortions:Distortions",
    "criticism": "veridical.figures.criticism:Criticism",
    "pit": "veridical.figures.pit:Pit",
    "typicality": "veridical.figures.typicality:Typicality",
    "detection": "veridical.figures.detection:Detection",
    "transport": "veridical.figures.transport:Transport",
    "nearby": "veridical.figures.nearby:Nearby",
    "ranks": "veridical.figures.ranks:Ranks",
    "coverage": "veridical.figures.coverage:Coverage",
    "wilks": "veridical.figures.wilks:Wilks",
    "recovery": "veridical.figures.recovery:Recovery",
    "contraction": "veridical.figures.contraction:Contraction",
    "planted": "veridical.figures.planted:Planted",
    "learning": "veridical.figures.learning:Learning",
    "training": "veridical.figures.training:Training",
    "rounds": "veridical.figures.rounds:Rounds",
    "cost": "veridical.figures.cost:Cost",
    "allocation": "veridical.figures.allocation:Allocation",
}


def build(kind: str) -> Figure:
    """Returns the figure of a kind, as `FIGURES` names it.

    Raises:
        UnknownName: If there is no such figure.
    """
    if kind not in FIGURES:
        raise UnknownName(f"figure {kind!r} is unknown. {suggest(kind, FIGURES)}")
    module, _, attribute = FIGURES[kind].partition(":")
    found: type[Figure] = getattr(import_module(module), attribute)
    return found()


def modules() -> tuple[str, ...]:
    """Returns the modules that define figures, for the digest of their code."""
    return tuple(sorted({entry.partition(":")[0] for entry in FIGURES.values()}))

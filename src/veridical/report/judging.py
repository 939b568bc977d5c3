"""What a study's metrics say of one method on one data set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import Any

from veridical.coordinates import dataset_cells
from veridical.evidence.metrics import Row, grouped, select
from veridical.evidence.numbers import percent

GOOD, CAUTION, BAD = 0, 1, 2
TOO_WIDE = " (too wide)"
NARROW = {"acauc": 1, "hpd_area": -1}  # metrics of too narrow intervals, and their sign there

Found = tuple[dict[int, int], str] | None  # what a rule says: an outcome per replicate, and a sentence


@dataclass(frozen=True)
class Evidence:
    """What the metrics say of one method on one data set.

    Attributes:
        rows: All rows of the study's metrics.
        method: The method that is judged.
        budget: Its largest budget.
        dataset: The data set: the name of an observed one, `real`, or `simulated` where there is none.
        calibration: The number of labelled real data sets that it was calibrated on; None for a method that
            is not.
        unchecked: What could not be checked, as `verdict.json` lists it.
    """

    rows: Sequence[Row]
    method: str
    budget: int | None
    dataset: str
    calibration: int | None = None
    unchecked: Sequence[dict[str, Any]] = ()

    @cached_property
    def own(self) -> list[Row]:
        """The rows of the method at this budget and calibration size."""
        cells = {"method": self.method, "budget": self.budget, "n_calibration": self.calibration}
        return select(self.rows, **cells)

    def of(self, metric: str, dataset: str | None = None) -> dict[int, list[Row]]:
        """Returns the rows of one metric by replicate; of the data set itself unless another is named."""
        found = select(self.own, metric=metric, **dataset_cells(dataset or self.dataset))
        return grouped((row for row in found if row["seed"] is not None), itemgetter("seed"))

    def whole(self, metric: str, dataset: str | None = None) -> dict[int, float]:
        """Returns, by replicate, the metric's one value that belongs to no single parameter."""
        found = self.of(metric, dataset)
        return {s: r["value"] for s, rows in found.items() for r in rows if r["parameter"] is None}

    def reference(self, metric: str) -> list[Row]:
        """Returns the rows of one metric of the reference on this data set."""
        return select(self.rows, method="reference", metric=metric, **dataset_cells(self.dataset))


def majority(outcomes: Iterable[int]) -> int:
    """Returns the worst outcome that at least half of the replicates reach."""
    ordered = sorted(outcomes)
    return ordered[len(ordered) // 2]


def passed(values: Mapping[int, float], least: float, otherwise: int = BAD) -> dict[int, int]:
    """Returns the outcome of each replicate: good from `least` on, `otherwise` below it and at NaN."""
    return {seed: GOOD if value >= least else otherwise for seed, value in values.items()}


def told(outcomes: dict[int, int], *texts: str) -> Found:
    """Returns outcomes with the sentence for what most replicates reach; the last serves all worse ones."""
    return outcomes, texts[min(majority(outcomes.values()), len(texts) - 1)]


def nan_last(gap: tuple[float, str]) -> tuple[bool, float]:
    """Sorts gaps, of which each has its place beside it, by size; NaN counts as the largest."""
    return gap[0] != gap[0], gap[0]


def votes(outcomes: Mapping[int, int]) -> str:
    """Returns in how many replicates a rule did not pass, where they disagree."""
    failed = sum(outcome != 0 for outcome in outcomes.values())
    if failed in (0, len(outcomes)):
        return ""
    words = ", but not in" if majority(outcomes.values()) == 0 else ", in"
    return f"{words} {failed} of {len(outcomes)} repeats"


def middle(values: Mapping[int, float]) -> float:
    """Returns the median over replicates."""
    ordered = sorted(values.values())
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def decided(evidence: Evidence, metric: str, check: str) -> dict[int, float]:
    """By replicate, p-values of a test on the data set; not those whose null is too small ever to reject."""
    mute = {s for s, v in evidence.whole(f"{check}_decidable").items() if v == 0}
    return {s: v for s, v in evidence.whole(metric).items() if s not in mute}


def graded(value: float, caution: float, bad: float) -> int:
    """Returns the outcome of a number that is better when smaller, from its limits."""
    return GOOD if value <= caution else CAUTION if value <= bad else BAD


def share(values: Mapping[int, float]) -> str:
    """Returns the median over replicates as a percentage."""
    return percent(middle(values))


def any_too_narrow(evidence: Evidence, dataset: str) -> bool:
    """Whether intervals of any one parameter, or joint regions, are too narrow by two standard errors."""
    for metric, narrow in NARROW.items():
        rows = [row for own in evidence.of(metric, dataset).values() for row in own]
        for own in grouped(rows, itemgetter("parameter")).values():
            if narrow * sum(r["value"] for r in own) > 2 * sum(r["stderr"] or 0.0 for r in own):
                return True
    return False


def direction(evidence: Evidence, dataset: str) -> str:
    """Whether intervals are too narrow or too wide, where that is three standard errors from neither."""
    for metric, narrow in NARROW.items():
        rows = [r for rows in evidence.of(metric, dataset).values() for r in rows if r["parameter"] is None]
        if rows and all(r["stderr"] is not None for r in rows):
            error = sum(r["stderr"] for r in rows)  # repeats share the test data
            total = narrow * sum(r["value"] for r in rows)
            if abs(total) > 3 * error:
                return " (too narrow)" if total > 0 else TOO_WIDE
    return ""

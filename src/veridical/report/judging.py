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

GOOD, CANNOT_TELL, CAUTION, BAD = 0, 1, 2, 3  # from best to worst
OUTCOMES = ("good", "cannot tell", "caution", "bad")
EVERY = -1  # in place of a replicate: what concerns all of them
SMALL_GAP = 0.05  # a coverage gap up to here is small
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
        rivals: How many variants of methods the study judges on the same labelled data, this one included.
        unchecked: What could not be checked, as `verdict.json` lists it.
    """

    rows: Sequence[Row]
    method: str
    budget: int | None
    dataset: str
    calibration: int | None = None
    rivals: int = 1
    unchecked: Sequence[dict[str, Any]] = ()

    @cached_property
    def own(self) -> list[Row]:
        """The rows of the method at this budget and calibration size."""
        cells = {"method": self.method, "budget": self.budget, "n_calibration": self.calibration}
        return select(self.rows, **cells)

    @cached_property
    def replicates(self) -> list[int]:
        """The replicates of the method."""
        return sorted({r["seed"] for r in self.own if r["seed"] is not None}) or [0]

    def of(self, metric: str, dataset: str | None = None, **cells: object) -> dict[int, list[Row]]:
        """Returns the rows of one metric by replicate; of the data set itself unless another is named."""
        found = select(self.own, metric=metric, **dataset_cells(dataset or self.dataset), **cells)
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


def smallest(
    evidence: Evidence, metric: str, level: float, check: str = "", dataset: str | None = None
) -> dict[int, float | None]:
    """Returns, by replicate, the smallest p-value of a metric; None where it could never be below a level.

    A row says in `least_p` how small its p-value can get; where it does not, `{check}_decidable` decides.
    """
    mute = {s for s, v in evidence.whole(f"{check}_decidable", dataset).items() if v == 0}
    found: dict[int, float | None] = {}
    for seed, rows in evidence.of(metric, dataset, parameter=None).items():
        least = rows[0].get("least_p")
        blind = seed in mute if least is None else not least < level
        found[seed] = None if blind else min((r["value"] for r in rows), key=lambda v: (v == v, v))
    return found


def tested(p: float | None, caution: float, bad: float | None = None) -> int:
    """Returns the outcome of a p-value; NaN counts as failing, None as not to be told."""
    if p is None:
        return CANNOT_TELL
    if p >= caution:
        return GOOD
    return BAD if bad is not None and not p >= bad else CAUTION


def told(outcomes: dict[int, int], *texts: str) -> Found:
    """Returns outcomes with the sentence for what most replicates reach: good, cannot tell, caution, bad.

    The last sentence serves all worse outcomes.
    """
    return outcomes, texts[min(majority(outcomes.values()), len(texts) - 1)]


def nan_last(gap: tuple[float, str]) -> tuple[bool, float]:
    """Sorts gaps, of which each has its place beside it, by size; NaN counts as the largest."""
    return gap[0] != gap[0], gap[0]


def worst_gap(evidence: Evidence, dataset: str, seed: int, errors: float = 0.0) -> tuple[float, str]:
    """Returns the largest coverage gap of one replicate, less so many of its errors, and whose it is."""
    of_all = {"coverage_gap": "all parameters", "hpd_coverage_gap": "all parameters jointly"}
    gaps = [
        (row["value"] - errors * (row["stderr"] or 0.0), row["parameter"] or whole)
        for name, whole in of_all.items()
        for row in evidence.of(name, dataset).get(seed, ())
    ]
    return max(gaps, key=nan_last, default=(float("nan"), "what was not measured"))


def votes(outcomes: Mapping[int, int]) -> str:
    """Returns in how many replicates a rule did not pass, where they disagree."""
    failed = sum(outcome >= CAUTION for outcome in outcomes.values())
    if failed in (0, len(outcomes)):
        return ""
    words = ", but not in" if majority(outcomes.values()) < CAUTION else ", in"
    return f"{words} {failed} of {len(outcomes)} repeats"


def middle(values: Iterable[float | None]) -> float:
    """Returns the median of what is known; NaN of nothing."""
    ordered = sorted(v for v in values if v is not None)
    if not ordered:
        return float("nan")
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def graded(value: float, caution: float, bad: float) -> int:
    """Returns the outcome of a number that is better when smaller, from its limits; NaN is bad."""
    return GOOD if value <= caution else CAUTION if value <= bad else BAD


def share(values: Iterable[float | None]) -> str:
    """Returns the median as a percentage."""
    return percent(middle(values))


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

"""Numbers of a study by replicate: those of each method, and the cells that sum replicates up.

Replicates share test data between methods, so differences are taken within each replicate before anything is
averaged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import hypot
from statistics import fmean, median, stdev

from table_text import count, number

from veridical.evidence import variants
from veridical.evidence.metrics import Row, select
from veridical.evidence.variants import Variant

MEDIAN = 1.25  # standard error of a median of normal numbers, in standard errors of their mean


@dataclass(frozen=True)
class Column:
    """One number of a table: its metric and level, and what stands above it."""

    metric: str
    heading: str
    level: float | None = None


def variants_of(rows: Iterable[Row]) -> list[Variant]:
    """All variants, smaller budgets too, in the order in which readers meet them."""
    found = {variants.of_cells(r) for r in rows if r["method"] != variants.REFERENCE}
    return sorted(found, key=lambda v: v.order)


def by_replicate(rows: Sequence[Row], column: Column, dataset: str | None) -> dict[int, float]:
    """The number of each replicate, for all parameters and true values together."""
    found = {r["seed"]: r["value"] for r in _found(rows, column, dataset)}
    found.pop(None, None)
    return found


def over_rows(rows: Sequence[Row], column: Column, dataset: str | None) -> float:
    """The error of the mean over replicates that comes from the test rows which these share."""
    each = by_replicate(rows, column, dataset)
    sums = [r for r in _found(rows, column, dataset) if len(each) < 2 or r["seed"] is None]
    together = sums[0]["stderr"] or 0.0 if sums else 0.0
    return max(0.0, together**2 - (_error(each) or 0.0) ** 2) ** 0.5


def _found(rows: Sequence[Row], column: Column, dataset: str | None) -> list[Row]:
    found = select(rows, metric=column.metric, level=column.level, dataset=dataset, parameter=None)
    return [r for r in found if r["true_value"] is None and r.get("interval") is None]


def differences(own: Mapping[int, float], other: Mapping[int, float]) -> dict[int, float]:
    """One method minus another in each replicate that both have."""
    return {seed: own[seed] - other[seed] for seed in own if seed in other}


def middle(each: Mapping[int, float], rows: float = 0.0) -> str:
    """The median over replicates with its error, to which that over shared test rows is added."""
    if not each:
        return ""
    error, largest = hypot(MEDIAN * (_error(each) or 0.0), rows), max(map(abs, each.values()))
    return number(median(each.values())) + (f" ± {number(error, 2)}" if error > 1e-9 * largest else "")


def average(each: Mapping[int, float]) -> str:
    """The mean over replicates with its standard error."""
    if not each:
        return ""
    error = _error(each)
    return number(fmean(each.values())) + ("" if error is None else f" ± {number(error, 2)}")


def both(each: Mapping[int, float]) -> str:
    """The median over replicates, behind it the mean with its standard error."""
    if len(each) < 2:
        return middle(each)
    return f"{number(median(each.values()))} ({average(each)})"


def _error(each: Mapping[int, float]) -> float | None:
    """The standard error of the mean over replicates; none where all agree or one is not finite."""
    values = list(each.values())
    if len(values) < 2 or not all(abs(v) < float("inf") for v in values):
        return None
    error = stdev(values) / len(values) ** 0.5
    return error if error > 1e-9 * max(map(abs, values)) else None


def leading_cells(variant: Variant, name: str) -> list[str]:
    """The first cells of a line: name, calibration pairs, budget."""
    return [name, count(variant.calibration), count(variant.budget)]

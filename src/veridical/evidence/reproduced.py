"""Whether simulations at the answer look like the data: what was seen, in words that judge nobody.

Rule `reproduces` judges it, and the page puts its sentence below the figure, which has no words of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from veridical.evidence.metrics import Row
from veridical.evidence.numbers import rounded

LEVEL = 0.03  # where a check does not say its own


@dataclass(frozen=True)
class Reproduced:
    """What the predictive check of one method found on one data set, in one replicate.

    Attributes:
        p: Its p-value.
        level: The level of the check.
        culprit: What explains the data, in words; empty where nothing is to be explained.
        detectable: The shift that would have been found with probability 0.9; None where it is not known.
    """

    p: float
    level: float
    culprit: str = ""
    detectable: float | None = None

    @property
    def passed(self) -> bool:
        """Whether the data look like replicates; not where p is not a number."""
        return self.p > self.level

    @property
    def sentence(self) -> str:
        """What is said of it, in a sentence or two."""
        p = f"predictive p = {rounded(self.p, 2)}"
        if not self.passed:
            why = f": {self.culprit}" if self.culprit else ""
            return f"Simulations at the answer do not look like the data ({p}){why}."
        seen = "" if self.detectable is None else (
            f" A misfit that shifts any one statistic of an observation by {rounded(self.detectable, 2)} "
            "predictive standard deviations would have been seen with probability 0.9."
        )  # fmt: skip
        return f"Simulations at the answer look like the data ({p}).{seen}"


def of_check(result: Mapping[str, Any]) -> Reproduced | None:
    """Returns what a saved check `predictive` found; None where it could not decide."""
    if result.get("passed") is None:
        return None
    cells = [{**m, **(m.get("extra") or {}), "metric": m["name"]} for m in result["metrics"]]
    return of_rows(cells)


def of_rows(rows: Sequence[Mapping[str, Any] | Row]) -> Reproduced | None:
    """Returns what the metrics of one check `predictive` say; None where they lack its p-value."""
    by_name = {row["metric"]: row for row in rows}
    if "predictive_p" not in by_name:
        return None
    p, nothing = by_name["predictive_p"], {"value": None}
    return Reproduced(
        p["value"],
        p.get("level") or LEVEL,
        by_name.get("predictive_maximum", nothing).get("culprit") or "",
        by_name.get("predictive_detectable", nothing)["value"],
    )


def typical(found: Mapping[int, Reproduced]) -> Reproduced:
    """Returns that of the replicate which stands for all: at least half of them fare no better."""
    ordered = sorted(found.values(), key=lambda one: (one.p != one.p, -one.p))
    return ordered[len(ordered) // 2]

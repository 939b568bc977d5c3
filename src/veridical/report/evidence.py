"""What a study's metrics say of one method on one data set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from veridical.metrics import Row, dataset_cells, select


@dataclass(frozen=True)
class Evidence:
    """What the metrics say of one method on one data set.

    Attributes:
        rows: All rows of the study's metrics.
        method: The method that is judged.
        budget: Its largest budget.
        dataset: The data set: the name of an observed one, `real`, or `simulated` where there is none.
    """

    rows: Sequence[Row]
    method: str
    budget: int | None
    dataset: str

    def of(self, metric: str, dataset: str | None = None) -> dict[int, list[Row]]:
        """Returns the rows of one metric by replicate; of the data set itself unless another is named."""
        where = dataset_cells(self.dataset if dataset is None else dataset)
        found = select(self.rows, method=self.method, budget=self.budget, metric=metric, **where)
        by_seed: dict[int, list[Row]] = {}
        for row in found:
            if row["seed"] is not None:
                by_seed.setdefault(row["seed"], []).append(row)
        return by_seed

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

"""Where a number of the leaderboard stands, and what it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """Where a number stands: a task at a severity, a method with its labelled pairs, None for none."""

    task: str
    severity: float
    method: str
    pairs: int | None = None

    @property
    def case(self) -> tuple[str, float]:
        """The task at its severity."""
        return self.task, self.severity

    @property
    def variant(self) -> tuple[str, int | None]:
        """The method with its pairs."""
        return self.method, self.pairs


@dataclass(frozen=True)
class Number:
    """One number of the leaderboard.

    Attributes:
        value: Mean over replicates.
        stderr: Its standard error, None where there is none.
        replicates: Value and standard error over test rows of each replicate.
    """

    value: float
    stderr: float | None
    replicates: Mapping[int, tuple[float, float]]

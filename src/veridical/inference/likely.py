"""Most likely parameters with both parts of their covariance and profile intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from veridical.errors import DataError
from veridical.tasks.base import Array

NAMES = ("value", "data", "ratio", "ends")


@dataclass(frozen=True)
class Likely:
    """Maximum likelihood estimates of D parameters from each of N data sets.

    Attributes:
        value: The estimates, shape (N, D); NaN where a likelihood has no maximum.
        data: Covariance from the finite data, shape (N, D, D).
        ratio: Covariance from the fitted weights of the ratio, shape (N, D, D).
        levels: Levels of the profile intervals.
        ends: Lower and upper ends of these, shape (N, L, D, 2).
    """

    value: Array
    data: Array
    ratio: Array
    levels: tuple[float, ...]
    ends: Array

    @property
    def covariance(self) -> Array:
        """Both parts together, shape (N, D, D)."""
        return self.data + self.ratio

    @property
    def total(self) -> Array:
        """Standard errors of both parts together, shape (N, D)."""
        return np.sqrt(np.diagonal(self.covariance, axis1=1, axis2=2))

    def interval(self, level: float) -> Array:
        """Returns the profile intervals of one of the levels, shape (N, D, 2).

        >>> none = Likely.none(1, (0.68,))
        >>> none.interval(0.68).shape
        (1, 1, 2)

        Raises:
            DataError: If there are none of this level.
        """
        if level not in self.levels:
            raise DataError(f"interval: expected one of the levels {self.levels}, got {level}; ask for it.")
        return np.asarray(self.ends[:, self.levels.index(level)])

    def arrays(self) -> dict[str, Array]:
        """Returns its arrays, and the levels, by name."""
        return {**{name: getattr(self, name) for name in NAMES}, "levels": np.array(self.levels)}

    @classmethod
    def none(cls, d: int, levels: Sequence[float]) -> Self:
        """Returns NaN for one data set and D parameters."""
        shapes = (1, d), (1, d, d), (1, d, d), (1, len(levels), d, 2)
        value, data, ratio, ends = (np.full(shape, np.nan) for shape in shapes)
        return cls(value, data, ratio, tuple(levels), ends)

    @classmethod
    def stack(cls, parts: Sequence[Self], levels: Sequence[float]) -> Self:
        """Returns the estimates of several sets of data sets as one."""
        value, data, ratio, ends = (np.concatenate([getattr(p, name) for p in parts]) for name in NAMES)
        return cls(value, data, ratio, tuple(levels), ends)

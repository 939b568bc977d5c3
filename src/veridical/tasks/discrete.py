"""Distributions of single parameters that take values of a list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from veridical.errors import TaskError
from veridical.tasks.supports import Array, Discrete, OneOf, Whole


@dataclass(frozen=True)
class Integers:
    """Whole numbers from `lower` to `upper`, both included, all equally probable.

    >>> Integers(1, 6).quantile(np.array([0.1, 0.5, 0.9]))
    array([1., 3., 6.])
    """

    lower: float
    upper: float

    def __post_init__(self) -> None:
        Whole("of the prior", self.lower, self.upper)

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and largest value."""
        return float(self.lower), float(self.upper)

    def constraint(self, name: str) -> Discrete:
        """Returns what the parameter of this name can be."""
        return Whole(name, *self.bounds)

    def quantile(self, u: Array) -> Array:
        """Returns the values below or at which a share u in (0, 1) lies."""
        n = self.upper - self.lower + 1
        return self.lower + np.minimum(np.ceil(u * n), n) - 1

    def log_prob(self, value: Array) -> Array:
        """Returns log probabilities; -inf for what is no such number."""
        possible = (value >= self.lower) & (value <= self.upper) & (value == np.rint(value))
        return np.where(possible, -np.log(self.upper - self.lower + 1), -np.inf)


class Categories:
    """One of a list of values, with weights.

    Arguments:
        values: Ascending numbers, or texts, which stand for 0, 1, ... in what a simulator gets.
        weights: What their probabilities are proportional to; equal where not given.

    >>> Categories(["off", "on"], [1, 3]).log_prob(np.array([1.0, 0.5])).round(3)
    array([-0.288,   -inf])
    """

    def __init__(self, values: Sequence[str | float], weights: Sequence[float] | None = None) -> None:
        self.values = tuple(values)
        self._of = OneOf("of the prior", self.values)
        weight = np.ones(len(self.values)) if weights is None else np.asarray(weights, dtype=float)
        if weight.shape != (len(self.values),) or not (np.isfinite(weight) & (weight > 0)).all():
            raise TaskError(
                f"categories: expected {len(self.values)} positive weights, one for each value, got "
                f"{weights}; leave "
                "out values that cannot occur."
            )
        self.weights = weight / weight.sum()

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and largest value."""
        return float(self._of.codes[0]), float(self._of.codes[-1])

    def constraint(self, name: str) -> Discrete:
        """Returns what the parameter of this name can be."""
        return OneOf(name, self.values)

    def quantile(self, u: Array) -> Array:
        """Returns the values below or at which a share u in (0, 1) lies."""
        number = np.searchsorted(np.cumsum(self.weights)[:-1], u, side="left")
        return self._of.codes[number]

    def log_prob(self, value: Array) -> Array:
        """Returns log probabilities; -inf for what is no such value."""
        number = self._of.number(value)
        return np.where(self._of.codes[number] == value, np.log(self.weights)[number], -np.inf)

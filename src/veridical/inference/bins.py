"""Bins of events: a grid over a few numbers, and how many events lie in each cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from veridical.errors import DataError, require_shape
from veridical.tasks.base import Array


@dataclass(frozen=True, eq=False)
class Bins:
    """A grid of J = B^D bins.

    Attributes:
        edges: Of each axis, growing, shape (D, B + 1); infinite where the outermost bins are open.
    """

    edges: Array

    @classmethod
    def equal(cls, limits: Sequence[Sequence[float]], per_axis: int) -> Bins:
        """Returns bins of equal width between the limits of each of the D axes."""
        return cls(np.stack([np.linspace(low, high, per_axis + 1) for low, high in limits]))

    @classmethod
    def quantiles(cls, x: Array, per_axis: int) -> Bins:
        """Returns bins that hold as many events of a sample x (N, D) along each axis; the outermost are open.

        Raises:
            DataError: If a number is not finite.
        """
        if not np.isfinite(x).all():
            raise DataError("events: expected finite numbers to make bins from; leave the others out.")
        inner = np.quantile(x, np.arange(1, per_axis) / per_axis, axis=0).T
        open_ended = np.full((x.shape[1], 1), np.inf)
        return cls(np.concatenate([-open_ended, inner, open_ended], axis=1))

    @property
    def size(self) -> int:
        """Number J of the bins."""
        return int((self.edges.shape[1] - 1) ** len(self.edges))

    def counts(self, x: Array) -> Array:
        """Returns how many events x (N, D) lie in each bin, shape (J,); the last axis runs fastest.

        Raises:
            DataError: If an event lies in none.
        """
        require_shape("events", x, None, len(self.edges))
        low, high = self.edges[:, 0], self.edges[:, -1]
        if beyond := int((~((x >= low) & (x <= high)).all(axis=1)).sum()):
            raise DataError(
                f"events: {beyond} of {len(x)} lie in no bin, expected numbers from {low.tolist()} to "
                f"{high.tolist()}; cut all events, simulated ones too, to the same window."
            )
        label, per_axis = np.zeros(len(x), int), self.edges.shape[1] - 1
        for axis, edges in enumerate(self.edges):
            label = label * per_axis + np.searchsorted(edges[1:-1], x[:, axis], side="right")
        return np.bincount(label, minlength=self.size).astype(float)

r"""Density ratios inside of a window, from ratios that were learned without it; numpy.

Of template k the share :math:`\epsilon_k` of events passes the selection, of the reference, the pool of K
templates of the same weight, :math:`\bar\epsilon = \mathrm{mean}_k \epsilon_k`. Inside of the window the
densities are renormalised, and so log ratios move by

.. math:: \log r_k \to \log r_k + \log \bar\epsilon - \log \epsilon_k, \qquad
    \frac{\partial}{\partial \epsilon_l} (\log \bar\epsilon - \log \epsilon_k)
    = \frac{1}{K \bar\epsilon} - \frac{\delta_{kl}}{\epsilon_k} .

With n_k events counted, the variance of an efficiency is :math:`\epsilon_k (1 - \epsilon_k) / n_k`. Events of
different templates are independent, but the shifts share the mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from veridical.errors import DataError, require_shape
from veridical.tasks.base import Array


@dataclass(frozen=True)
class Window:
    """How many events of each of K templates pass a selection.

    >>> window = Window.of([800, 400], [1000, 1000])
    >>> window.shifts.round(3), (window.shifts_covariance * 1e6).round(1)
    (array([-0.288,  0.405]), array([[ 194.4, -388.9],
           [-388.9,  777.8]]))

    Attributes:
        passed: Events inside of the window, shape (K,).
        total: Events generated, shape (K,).
    """

    passed: Array
    total: Array

    def __post_init__(self) -> None:
        require_shape("events generated", self.total, len(self.passed))
        bad = ~((self.passed > 0) & (self.passed <= self.total))
        if bad.any():
            first = int(np.flatnonzero(bad)[0])
            raise DataError(
                f"window: expected some events of each template inside, and no more than there were, "
                f"got {self.passed[first]:g} of {self.total[first]:g} of number {first}; widen the "
                "window or leave the template out."
            )

    @classmethod
    def of(cls, passed: Array | list[int], total: Array | list[int]) -> Window:
        """Returns the window with these numbers of events (K,)."""
        return cls(np.asarray(passed, float), np.asarray(total, float))

    @property
    def efficiencies(self) -> Array:
        """epsilon, shape (K,)."""
        return self.passed / self.total

    @property
    def shifts(self) -> Array:
        """What is added to the log ratio of each template inside of the window, shape (K,)."""
        efficiencies = self.efficiencies
        shifts: Array = np.log(efficiencies.mean()) - np.log(efficiencies)
        return shifts

    @property
    def gradient(self) -> Array:
        """Derivative of shift k in efficiency l, shape (K, K)."""
        efficiencies = self.efficiencies
        gradient: Array = 1 / efficiencies.sum() - np.diag(1 / efficiencies)
        return gradient

    @property
    def shifts_covariance(self) -> Array:
        """Covariance of the shifts from the numbers of events, shape (K, K)."""
        variance = self.efficiencies * (1 - self.efficiencies) / self.total
        covariance: Array = (self.gradient * variance) @ self.gradient.T
        return covariance

r"""An error model for summaries that a simulator may not be able to make: spike and slab,

.. math:: e \sim (1 - \rho) \, N(0, \sigma^2) + \rho \, \mathrm{Cauchy}(0, \tau) ,

and the map g from standard normal numbers to errors. In u, with e = g(u), spike and slab are one coordinate
of unit scale, and the error's prior is N(0, 1): chains cross from one to the other, which in e itself the
narrow spike keeps them from.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import cauchy, norm

from veridical.tasks.base import Array

FAR, CELLS = 6.0, 12_000  # of the table of g, on each side


@dataclass(frozen=True)
class SpikeAndSlab:
    """The error of each standardised summary.

    Attributes:
        share: Probability of the slab, rho.
        spike: Standard deviation of the spike, sigma.
        slab: Scale of the slab, tau.
    """

    share: float = 0.5
    spike: float = 0.01
    slab: float = 0.25

    def above(self, e: Array) -> Array:
        """Returns the probability of an error above e."""
        return (1 - self.share) * ndtr(-e / self.spike) + self.share * cauchy.sf(e, scale=self.slab)

    def slab_probability(self, e: Array) -> Array:
        """Returns the probability that errors e came from the slab, P(z = 1 | e)."""
        slab = self.share * cauchy.pdf(e, scale=self.slab)
        return np.asarray(slab / (slab + (1 - self.share) * norm.pdf(e, scale=self.spike)))

    @cached_property
    def _table(self) -> Array:
        """Errors at even steps of u from 0 to FAR."""
        far = self.slab * 10.0 ** np.linspace(-9, 12, 200_000)
        e = np.concatenate([[0.0], far[far < cauchy.isf(1e-12, scale=self.slab)]])
        return np.interp(np.linspace(0, FAR, CELLS + 1), -ndtri(self.above(e)), e)

    def error(self, u: Array) -> tuple[Array, Array]:
        """Returns g(u) and its slope: linear between the points of a table, and beyond it as in its end."""
        at = np.abs(u) * (CELLS / FAR)
        cell = np.minimum(at.astype(int), CELLS - 1)
        step = np.diff(self._table)[cell]
        return np.sign(u) * (self._table[cell] + (at - cell) * step), step * (CELLS / FAR)

r"""Whether any mixture of two classes fits a sample at all: numbers of events in bins of the log ratio.

The log ratio says all that an event tells of the fraction; what is no mixture shows in its distribution. With
:math:`p_j, q_j` the shares of P events of the first class and Q of the second in bin j, a sample of N events
is expected to have :math:`m_j = N (\kappa p_j + (1 - \kappa) q_j)` there. Its fit is the least

.. math:: T(\kappa) = \sum_j \frac{(n_j - m_j)^2}{v_j}, \qquad
    v_j = m_j + N^2 \Big( \kappa^2 \frac{p_j}{P} + (1 - \kappa)^2 \frac{q_j}{Q} \Big) ,

with one event more in a bin for its variance, and J - 2 degrees of freedom in J bins: one for the number of
events, one for the fraction, which is that of the bins and not the estimate whose fit is asked for.

References:
    | Mathematical Methods of Statistics (Cramer, 1946), chapter 30: the minimum of chi-squared
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

from veridical.errors import require_shape
from veridical.tasks.base import Array

BINS = 20
FRACTIONS = (-0.25, 1.25)  # among which the best is searched; the statistic has no kink at 0 and 1
LEAST = 10.0  # events of either class together, and of the sample, in a bin


class Spectrum(NamedTuple):
    """How the log ratio is distributed over events of both classes.

    Attributes:
        edges: Between bins, growing, shape (J - 1,).
        first: Events of the first class in each bin, shape (J,).
        second: Those of the second, shape (J,).
    """

    edges: Array
    first: Array
    second: Array


def spectrum(first: tuple[Array, Array], second: tuple[Array, Array]) -> Spectrum:
    """Returns the numbers of events in bins of the same size of both classes together.

    Arguments:
        first: Log ratios at distinct events of the first class and how many coincide there, shape (K,) each.
        second: Those of the second.
    """
    values, counts = (np.concatenate(parts) for parts in zip(first, second, strict=True))
    order = np.argsort(values, kind="stable")
    below = np.cumsum(counts[order])
    bins = int(min(BINS, below[-1] // (2 * LEAST)))
    wanted = below[-1] * np.arange(1, bins) / max(bins, 1)
    edges = np.unique(values[order][np.searchsorted(below, wanted)])
    return Spectrum(edges, *(_counted(edges, *part) for part in (first, second)))


def p_value(of: Spectrum, values: Array, counts: Array | None = None) -> float:
    """Returns the probability of a worse fit if the sample is a mixture of the classes; NaN of too few bins.

    Arguments:
        of: The distributions of the classes.
        values: Log ratios at the events of the sample, shape (K,).
        counts: How many events coincide there, shape (K,); one where not given.
    """
    counts = np.ones(len(values)) if counts is None else counts
    require_shape("counts", counts, len(values))
    found = np.stack([_counted(of.edges, values, counts), of.first, of.second])
    found = found[:, (found[1:].sum(axis=0) >= LEAST)]
    n, p, q = found
    bins, (size, first, second) = found.shape[1], found.sum(axis=1)
    if bins < 3 or size < LEAST * bins:
        return float("nan")
    p, q = p / first, q / second

    def statistic(kappa: float) -> float:
        expected = size * (kappa * p + (1 - kappa) * q)
        shared = kappa**2 * (p + 1 / first) / first + (1 - kappa) ** 2 * (q + 1 / second) / second
        return float(np.sum((n - expected) ** 2 / np.maximum(expected + size**2 * shared, 1e-9)))

    best = optimize.minimize_scalar(statistic, bounds=FRACTIONS, method="bounded", options={"xatol": 1e-6})
    return float(stats.chi2.sf(best.fun, bins - 2))


def _counted(edges: Array, values: Array, counts: Array) -> Array:
    return np.bincount(np.searchsorted(edges, values, side="left"), counts, len(edges) + 1)

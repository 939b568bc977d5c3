r"""Coverage on labelled data of a method that learned from labelled pairs: what could as many pairs do?

A perfect method whose levels n pairs have recalibrated by their empirical distribution holds, in a set of
nominal level a, the share :math:`b_a = u_{(\lceil a (n + 1) \rceil)}` of all data, u being n uniform numbers
(1 where there is no such rank). On m test rows its coverage curve, which K replicates with pairs of their own
and rows in common have each, is

.. math:: EC_k(a) = \frac1m \sum_{i=1}^m 1\{v_i \leq b_a^{(k)}\} , \quad v_i \sim U(0, 1) ,

about a bridge of variance :math:`a (1 - a) (1/m + 1/n)`. Held against a null without the first term, a method
that is as good as its pairs allow would fail, the more surely the more rows there are.

References:
    | Conditional validity of inductive conformal predictors (Vovk, 2012): coverage given the pairs is Beta
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from veridical import seeds
from veridical.checks.coverage import GAP_LEVELS
from veridical.checks.inputs import Array
from veridical.report.by_size import LEVEL

NULL_DRAWS = 9_999
MEAN_ALPHA = 0.01  # two-sided, of the coverage averaged over replicates, shared by the curves


@cache
def least_seen(pairs: int, rows: int, alpha: float) -> float:
    """Returns the share of rows in 90 % sets below which a perfect calibration on n pairs stays with alpha.

    A quantile of the beta-binomial law: of m rows in a set whose coverage is Beta(k, n + 1 - k),
    k = ceil(0.9 (n + 1)); 0 where there is no such rank.
    """
    from scipy.stats import betabinom

    k = math.ceil(LEVEL * (pairs + 1) - 1e-9)
    return float(betabinom.ppf(alpha, rows, k, pairs + 1 - k)) / rows if k <= pairs else 0.0


def held_by(pairs: int, levels: Array, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Returns what sets of nominal levels (L,), rising, hold once n pairs have recalibrated them.

    Arguments:
        pairs: Their number n.
        levels: Nominal levels, shape (L,).
        shape: Of the sets of pairs.
        rng: Draws the pairs.

    Returns:
        Shares b (*shape, L): the uniform order statistics of rank ceil(a (n + 1)), 1 beyond the last.
    """
    ranks = np.minimum(np.ceil(np.asarray(levels) * (pairs + 1) - 1e-9), pairs + 1).astype(int)
    steps = np.diff([0, *ranks, pairs + 1])
    spacings = rng.standard_gamma(steps, size=(*shape, len(steps)))
    return np.asarray(spacings.cumsum(axis=-1)[..., :-1] / spacings.sum(axis=-1, keepdims=True))


@cache
def _gaps(pairs: int, rows: int) -> Array:
    """Sorted coverage gaps of a perfect method calibrated on n pairs, shape (NULL_DRAWS,)."""
    levels = np.asarray(GAP_LEVELS)
    rng = seeds.generator(0, "check", "calibrated", "gap", pairs, rows)
    b = held_by(pairs, levels, (NULL_DRAWS,), rng)
    cells = np.diff(b, axis=1, prepend=0.0, append=1.0).clip(0)
    counts = rng.multinomial(rows, cells / cells.sum(axis=1, keepdims=True))[:, :-1].cumsum(axis=1)
    return np.sort(np.abs(counts / rows - levels).mean(axis=1))


def gap_p(gap: float, pairs: int, rows: int) -> float:
    """Returns how often a perfect method calibrated on n pairs has so large a coverage gap; 0 of NaN.

    Arguments:
        gap: Mean of |EC(a) - a| over a = 0.05, 0.10, ..., 0.95 of one curve.
        pairs: Labelled pairs it learned from.
        rows: Rows it was measured on.
    """
    if gap != gap:
        return 0.0
    null = _gaps(pairs, rows)
    return float(1 + len(null) - np.searchsorted(null, gap - 1e-9)) / (1 + len(null))


@cache
def _means(pairs: int, rows: int, replicates: int) -> Array:
    """Sorted means over replicates of the coverage of 90 % sets of a perfect method, (NULL_DRAWS,)."""
    rng = seeds.generator(0, "check", "calibrated", "mean", pairs, rows, replicates)
    b = np.sort(held_by(pairs, np.array([LEVEL]), (NULL_DRAWS, replicates), rng)[..., 0], axis=1)
    cells = np.diff(b, axis=1, prepend=0.0, append=1.0).clip(0)
    counts = rng.multinomial(rows, cells / cells.sum(axis=1, keepdims=True))[:, :-1].cumsum(axis=1)
    return np.sort(counts.mean(axis=1) / rows)


def mean_range(pairs: int, rows: int, replicates: int, curves: int) -> tuple[float, float]:
    """Returns what the coverage of 90 % sets, averaged over replicates, may be at least and at most.

    Arguments:
        pairs: Labelled pairs that each replicate learned from, others in each.
        rows: Rows that all of them are measured on.
        replicates: Their number.
        curves: Coverages that share the level of 0.01: one per parameter, and the joint one.
    """
    null = _means(pairs, rows, replicates)
    low, high = np.quantile(null, [MEAN_ALPHA / 2 / curves, 1 - MEAN_ALPHA / 2 / curves])
    return float(low), float(high)

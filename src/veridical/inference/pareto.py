r"""Importance weights whose largest ones are smoothed by a generalised Pareto distribution (PSIS).

The shape k of the tail says how far to trust them: below 0.5 the variance of the weights is finite, up to 0.7
averages are still usable, above it they are not.

References:
    | Pareto Smoothed Importance Sampling (Vehtari et al., 2024), https://arxiv.org/abs/1507.02646
    | A New and Efficient Estimation Method for the Generalized Pareto Distribution
    | (Zhang & Stephens, 2009)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from veridical.tasks.base import Array

USABLE = 0.7
_LEAST = 5  # weights in a tail
_FLAT = 1e-10  # range of a tail, the largest weight being one


class Smoothed(NamedTuple):
    """Weights (S,), which add up to one, and the shape of their tail: -inf if flat, inf if a few hold all."""

    weights: Array
    k: float

    @property
    def effective(self) -> float:
        """How many equal weights these are worth."""
        return float(1 / (self.weights**2).sum())


def smoothed(log_ratios: Array) -> Smoothed:
    """Returns smoothed weights of log ratios (S,), of which some may be -inf but not all."""
    log_w = np.asarray(log_ratios, dtype=float) - np.max(log_ratios)
    n = int(np.ceil(min(0.2 * len(log_w), 3 * np.sqrt(len(log_w)))))
    order = np.argsort(log_w, kind="stable")
    tail, w, k = order[-n:], np.exp(log_w), -np.inf
    cutoff = w[order[-n - 1]]
    tail = tail[w[tail] > cutoff]
    excess = w[tail] - cutoff
    if 0 < len(tail) < _LEAST:
        k = np.inf
    elif len(tail) and excess[-1] > _FLAT:
        k, scale = tail_shape(excess)
        p = (np.arange(len(tail)) + 0.5) / len(tail)
        with np.errstate(over="ignore"):
            quantiles = -scale * np.log1p(-p) if k == 0 else scale * np.expm1(-k * np.log1p(-p)) / k
        w[tail] = np.minimum(cutoff + quantiles, 1.0)
    return Smoothed(w / w.sum(), float(k))


def tail_shape(excess: Array) -> tuple[float, float]:
    """Returns shape and scale of a generalised Pareto distribution fitted to excesses (n,), sorted.

    Posterior means under the profile likelihood of Zhang & Stephens; the shape is then drawn towards 1/2 with
    the weight of ten observations, as in PSIS.
    """
    n, prior = len(excess), 3.0
    grid = 30 + int(np.sqrt(n))
    b = (1 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))) / (prior * excess[int(n / 4 + 0.5) - 1])
    b += 1 / excess[-1]
    k = np.log1p(-b[:, None] * excess).mean(axis=1)
    log_l = n * (np.log(-b / k) - k - 1)
    weight = np.exp(log_l - log_l.max())
    mean_b = float((b * weight).sum() / weight.sum())
    shape = float(np.log1p(-mean_b * excess).mean())
    return (n * shape + 10 * 0.5) / (n + 10), -shape / mean_b

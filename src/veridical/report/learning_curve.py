r"""What more simulations would bring: a forecast from the learning curve of a study, with its error.

The log density at the true parameters, a mean over data sets, approaches a limit,

.. math:: L(N) = a - b (N / N_{mid})^{-g}, \quad b > 0, \quad g \in [0.2, 1.5],

with flat priors (:math:`N_{mid}`: the geometric mean of the budgets). Given g, a and b are linear; each g
weighs :math:`\exp(-\chi^2 / 2) \sqrt{\det C} \, P(b > 0)`, C the covariance of a and b. Errors are paired:
all budgets are judged on the same data sets, whose luck moves a alone. With :math:`v_{kbr}` of replicate k,
budget b and data set r, the covariance of the means over k and r is

.. math:: Cov_r(\bar v_{\cdot b r}) / n + diag(s_b^2) / K ,

:math:`s_b` the spread of the K replicates, half of it that of all budgets together.

References:
    | Learning curves: asymptotic values and rate of convergence (Cortes et al., 1994)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

LEAST_BUDGETS = 4
LEAST_REPLICATES = 2  # one alone does not show how trainings differ
LEVEL = 0.8  # of the intervals
MATTERS = 0.05  # nats, below which a change matters to nobody
HALF_DECADE = 0.5  # of simulations: no wider interval for how many are needed is told
_RATES = np.linspace(0.2, 1.5, 66)
_PARTS = (np.arange(199) + 0.5) / 199  # of b given g

Array = np.ndarray


@dataclass(frozen=True)
class Curve:
    """A learning curve.

    Attributes:
        budgets: Simulations, growing, shape (B,).
        mean: Mean log density at the true parameters, shape (B,).
        cov: Covariance of these means, shape (B, B).
        replicates: How many.
    """

    budgets: Array
    mean: Array
    cov: Array
    replicates: int

    @property
    def last_step(self) -> tuple[float, float]:
        """What the last step in budget gained, and its paired standard error."""
        variance = self.cov[-1, -1] + self.cov[-2, -2] - 2 * self.cov[-1, -2]
        return float(self.mean[-1] - self.mean[-2]), float(np.sqrt(max(variance, 0.0)))

    @property
    def too_short(self) -> str:
        """Why nothing can be foretold from it, in words; empty where something can."""
        if len(self.budgets) < LEAST_BUDGETS:
            return f"it takes {LEAST_BUDGETS} budgets, and this study has {len(self.budgets)}"
        if self.replicates < LEAST_REPLICATES:
            return "a single repeat does not show how much trainings differ"
        return ""


def curve(log_p: Mapping[int, Mapping[int, Array]]) -> Curve | None:
    """Returns the learning curve of one method; None without two budgets, or where a density is zero.

    Arguments:
        log_p: Log densities at the true parameters of the same N data sets, by budget and replicate.
    """
    budgets = sorted(log_p)
    seeds = sorted(set.intersection(*(set(own) for own in log_p.values()))) if log_p else []
    if len(budgets) < 2 or not seeds:
        return None
    values = np.array([[log_p[n][seed] for n in budgets] for seed in seeds])  # (K, B, N)
    if values.shape[-1] < 2 or not np.isfinite(values).all():
        return None
    cov = np.cov(values.mean(axis=0)) / values.shape[-1]
    if len(seeds) > 1:
        own = values.mean(axis=-1).var(axis=0, ddof=1)
        cov = cov + np.diag((own + own.mean()) / 2) / len(seeds)
    return Curve(np.array(budgets, dtype=float), values.mean(axis=(0, 2)), cov, len(seeds))


def gain(found: Curve, factor: float = 4.0) -> tuple[float, float]:
    """Returns the 80 % interval of what so many times the largest budget gains, in nats."""
    excess, rate, weight = _posterior(found)
    low, high = _quantiles(excess * (1 - factor**-rate), weight)
    return low, high


def needed(found: Curve, left: float = MATTERS) -> tuple[float, float] | None:
    """Returns the 80 % interval of how many simulations come so close to the limit; None if too uncertain.

    Two replicates tell too little of how trainings differ: their intervals would promise too much.
    """
    if found.replicates <= LEAST_REPLICATES:
        return None
    excess, rate, weight = _posterior(found)
    low, high = _quantiles(np.log10(excess / left) / rate, weight)
    if high - low > HALF_DECADE:
        return None
    return float(found.budgets[-1] * 10**low), float(found.budgets[-1] * 10**high)


def _posterior(found: Curve) -> tuple[Array, Array, Array]:
    """Distance from the limit at the largest budget, rate and weight of a grid over b and g."""
    from scipy.special import log_ndtr, ndtr, ndtri

    middle = np.exp(np.log(found.budgets).mean())
    precision = np.linalg.inv(found.cov)
    excess, weight = np.empty((len(_RATES), len(_PARTS))), np.empty(len(_RATES))
    for i, rate in enumerate(_RATES):
        design = np.stack([np.ones(len(found.budgets)), -((found.budgets / middle) ** -rate)], axis=1)
        cov = np.linalg.inv(design.T @ precision @ design)
        best = cov @ design.T @ precision @ found.mean
        miss = found.mean - design @ best
        sd = np.sqrt(cov[1, 1])
        weight[i] = (np.linalg.slogdet(cov)[1] - miss @ precision @ miss) / 2 + log_ndtr(best[1] / sd)
        below = ndtr(-best[1] / sd)  # of b, which is cut off at zero
        b = best[1] + sd * ndtri(np.clip(below + _PARTS * (1 - below), 1e-300, 1 - 1e-16))
        excess[i] = np.maximum(b, 1e-12) * (found.budgets[-1] / middle) ** -rate
    weight = np.exp(weight - weight.max())
    return excess, _RATES[:, None] + np.zeros_like(excess), np.repeat(weight[:, None], len(_PARTS), axis=1)


def _quantiles(values: Array, weight: Array) -> tuple[float, float]:
    """Both ends of the central interval of weighted values."""
    order = np.argsort(values, axis=None)
    cumulated = np.cumsum(weight.ravel()[order])
    tail = (1 - LEVEL) / 2
    low, high = (np.searchsorted(cumulated, q * cumulated[-1]) for q in (tail, 1 - tail))
    return float(values.ravel()[order][low]), float(values.ravel()[order][min(high, values.size - 1)])

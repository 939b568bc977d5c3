r"""How many simulations of each level a telescoping sum needs, at a given cost.

With values :math:`g_l` of one row at level l (a loss, or the gradients of one by the weights, whose variance
is the trace of their covariance), the mean at the dearest level L is estimated by

.. math:: \hat g = \sum_l \frac1{n_l} \sum_{i \le n_l} (g_l - g_{l-1})(i), \qquad g_{-1} = 0 .

*Pairs of their own* (`pairs="own"`): each term has rows of its own. With :math:`V_l = \mathrm{Var}(g_l -
g_{l-1})` and the cost :math:`\kappa_0 = C_0, \kappa_l = C_l + C_{l-1}` of a row of each term,

.. math:: n_l = C \frac{\sqrt{V_l / \kappa_l}}{\sum_j \sqrt{V_j \kappa_j}}, \qquad
    \min \mathrm{Var}\, \hat g = \frac1C \Big( \sum_l \sqrt{V_l \kappa_l} \Big)^2

is least at the cost C. *Shared pairs* (`pairs="shared"`): the rows of a level are the first ones of the level
below, which are paid once, :math:`\kappa_l = C_l`. Terms are no longer independent, but with
:math:`S_l = \mathrm{Var}(g_L - g_{l-1})` their covariances add up to

.. math:: \mathrm{Var}\, \hat g = \sum_l \frac{S_l - S_{l+1}}{n_l}, \qquad n_0 \ge n_1 \ge \dots, \quad
    S_{L+1} = 0 ,

whose least is the same formula, with neighbours pooled where it would break the order. Either is worth it
where it is below what the same cost buys of the dearest level alone, :math:`\mathrm{Var}(g_L) C_L / C`.

References:
    | Multilevel Monte Carlo path simulation (Giles, 2008)
    | https://doi.org/10.1287/opre.1070.0496
    | Multilevel neural simulation-based inference (Hikida et al., 2025)
    | https://arxiv.org/abs/2506.06087
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Literal

import numpy as np
from scipy.special import ndtri

from veridical.errors import DataError, require_shape
from veridical.tasks.base import Array

Pairs = Literal["own", "shared"]
LEAST_PAIRS = 10  # of a pilot, below which no variance is known
RESAMPLES = 200
LEVEL = 0.9  # of the interval of the gain


@dataclass(frozen=True)
class Plan:
    """Rows of each level, and what they buy.

    Attributes:
        rows: Rows of each term, that is of each level, cheapest first, (F,); not rounded.
        variance: Of the mean at the dearest level.
        alone: What the dearest level alone reaches at the same cost.
    """

    rows: Array
    variance: float
    alone: float

    @property
    def gain(self) -> float:
        """How many times the cost the dearest level alone needs for the same variance."""
        return self.alone / self.variance


@dataclass(frozen=True)
class Recommendation:
    """What a pilot says about a hierarchy.

    Attributes:
        levels: Numbers of the levels to use, cheapest first; the dearest alone where that is the best.
        rows: Whole rows of every level, 0 of those left out, (F,).
        gain: Of the best hierarchy of two levels or more, whether it is used or not.
        interval: Of this gain, at the level LEVEL.
    """

    levels: tuple[int, ...]
    rows: Array
    gain: float
    interval: tuple[float, float]

    @property
    def worth(self) -> Literal["yes", "unclear", "no"]:
        """Whether the interval of the gain lies above one."""
        low, high = self.interval
        return "yes" if low > 1 else "no" if high <= 1 else "unclear"

    @property
    def warning(self) -> str:
        """What speaks against the hierarchy; empty where nothing does."""
        low, high = self.interval
        found = f"{self.gain:.2g} times ({LEVEL:.0%}: {low:.2g} to {high:.2g})"
        if self.worth == "no":
            return f"The hierarchy is not worth it: the dearest level alone needs {found} its cost."
        if self.worth == "unclear":
            return (
                f"Whether the hierarchy is worth it, the pilot does not tell: a gain of {found}; enlarge it."
            )
        return ""


@dataclass(frozen=True)
class Pilot:
    """Values of the same rows, with the same random numbers, at every level.

    Arguments:
        values: Of each row at each level, cheapest first, (F, N, P); of a loss P is 1, of gradients the
            number of weights.
    """

    values: Array

    def __post_init__(self) -> None:
        require_shape("values", self.values, None, None, None)
        if self.values.shape[0] < 2 or self.values.shape[1] < LEAST_PAIRS:
            raise DataError(
                f"values: expected two levels or more and {LEAST_PAIRS} pairs or more, got "
                f"{self.values.shape[0]} and {self.values.shape[1]}; simulate a larger pilot."
            )
        if not np.isfinite(self.values).all():
            raise DataError("values: expected finite numbers; leave out rows that failed at any level.")

    @cached_property
    def inner(self) -> Array:
        """Products of values of all pairs of rows at two levels, (F, F, N, N)."""
        centred = self.values - self.values.mean(axis=1, keepdims=True)
        return np.einsum("anp,bmp->abnm", centred, centred, optimize=True)

    def covariances(self) -> Array:
        """Returns traces of covariances between levels, (F, F)."""
        n = self.values.shape[1]
        return self._weighted(np.full((1, n), 1 / n))[0]

    def resampled(self, rng: np.random.Generator, times: int = RESAMPLES) -> Array:
        """Returns covariances between levels of rows drawn with replacement, (times, F, F)."""
        n = self.values.shape[1]
        return self._weighted(rng.multinomial(n, np.full(n, 1 / n), size=times) / n)

    def _weighted(self, shares: Array) -> Array:
        """Covariances where rows count by their shares (T, N), (T, F, F)."""
        f, n = self.values.shape[:2]
        found = np.empty((len(shares), f, f))
        for a in range(f):
            for b in range(f):
                own = self.inner[a, b]
                found[:, a, b] = shares @ np.diag(own) - ((shares @ own) * shares).sum(axis=1)
        return found * n / (n - 1)


def best(covariances: Array, costs: Sequence[float], total: float, pairs: Pairs = "shared") -> Plan:
    """Returns the plan of least variance that uses all levels.

    The formulas are those above.

    Arguments:
        covariances: Between levels, cheapest first, shape (F, F); see `Pilot.covariances`.
        costs: Of a simulation of each level, shape (F,), in any unit.
        total: The cost to spend, in the same unit.
        pairs: Whether rows of a level are shared with the term below.

    Raises:
        DataError: If a cost is not positive, or nothing varies at the dearest level.
    """
    require_shape("covariances", covariances, len(costs), len(costs))
    each = np.asarray(costs, float)
    if not (np.isfinite(each).all() and each.min() > 0 and np.isfinite(total) and total > 0):
        raise DataError(f"costs: expected positive numbers, got {list(costs)} and a total of {total}.")
    if not covariances[-1, -1] > 0:
        raise DataError("covariances: nothing varies at the dearest level; there is nothing to plan.")
    if pairs == "own":
        variances = _steps(covariances)
        rows = _in_proportion(variances, _prices(each, pairs), total)
    else:
        variances = -np.diff(_tails(covariances))
        rows = _in_order(variances, each, total)
    return Plan(rows, _sum_over(variances, rows), float(covariances[-1, -1] * each[-1] / total))


def recommended(
    pilot: Pilot, costs: Sequence[float], total: float, rng: np.random.Generator, pairs: Pairs = "shared"
) -> Recommendation:
    """Returns which levels to use and how many rows of each, with the gain and how sure it is.

    All sets of levels that hold the dearest are compared. The interval of the gain is that of a normal
    logarithm, whose standard deviation is that over resampled rows of the pilot.

    Arguments:
        pilot: Values at all levels.
        costs: Of a simulation of each level, (F,), in any unit.
        total: The cost to spend, without that of the pilot, in the same unit.
        rng: Draws rows of the pilot.
        pairs: Whether rows of a level are shared with the term below.

    Raises:
        DataError: As `best` does, or if the cost buys no row.
    """
    found, last = pilot.covariances(), len(costs) - 1
    chains = [(*some, last) for n in range(1, last + 1) for some in combinations(range(last), n)]
    chain = max(chains, key=lambda one: _of(one, found, costs, total, pairs).gain)
    gain = _of(chain, found, costs, total, pairs).gain
    gains = [_of(chain, each, costs, total, pairs).gain for each in pilot.resampled(rng)]
    reach = float(ndtri((1 + LEVEL) / 2) * np.std(np.log(gains), ddof=1))
    interval = gain * np.exp(-reach), gain * np.exp(reach)
    used = chain if gain > 1 and interval[1] > 1 else (last,)
    rows = np.zeros(len(costs), int)
    rows[list(used)] = _whole(used, found, costs, total, pairs)
    return Recommendation(used, rows, gain, interval)


def _of(
    levels: tuple[int, ...], covariances: Array, costs: Sequence[float], total: float, pairs: Pairs
) -> Plan:
    """The best plan with these levels."""
    return best(covariances[np.ix_(levels, levels)], [costs[level] for level in levels], total, pairs)


def _whole(
    levels: tuple[int, ...], covariances: Array, costs: Sequence[float], total: float, pairs: Pairs
) -> Array:
    """The best plan in whole rows, one at least of each level; what is left buys the cheapest."""
    rows = np.maximum(np.floor(_of(levels, covariances, costs, total, pairs).rows + 1e-9), 1).astype(int)
    prices = _prices(np.array([costs[level] for level in levels], float), pairs)
    left = total - float(rows @ prices)
    if left < -1e-9 * total:
        raise DataError(
            f"costs: a total of {total} does not buy a row of each level, {prices.tolist()} each."
        )
    rows[0] += int(left / prices[0] + 1e-9)
    return rows


def _prices(costs: Array, pairs: Pairs) -> Array:
    """What a row of each term costs, (F,)."""
    return costs if pairs == "shared" else costs + np.concatenate([[0.0], costs[:-1]])


def _steps(covariances: Array) -> Array:
    """The variance of each level minus the one below, (F,)."""
    own = np.diag(covariances)
    return np.concatenate([own[:1], np.maximum(own[1:] + own[:-1] - 2 * np.diag(covariances, 1), 0.0)])


def _tails(covariances: Array) -> Array:
    """The variance of the dearest level minus the one below each level, and 0, (F + 1,)."""
    own = np.diag(covariances)
    apart = np.maximum(own[-1] + own - 2 * covariances[:, -1], 0.0)
    return np.concatenate([own[-1:], apart])


def _in_proportion(variances: Array, prices: Array, total: float) -> Array:
    """Rows of independent terms, (F,)."""
    return np.asarray(
        total * np.sqrt(variances / prices) / np.sqrt(variances * prices).sum(),
    )


def _in_order(variances: Array, prices: Array, total: float) -> Array:
    """Rows of terms that share theirs, which may not grow with the level, (F,)."""
    blocks: list[list[float]] = []  # variance, price, number of levels
    for variance, price in zip(variances, prices, strict=True):
        blocks.append([float(variance), float(price), 1])
        while len(blocks) > 1 and blocks[-1][0] * blocks[-2][1] > blocks[-2][0] * blocks[-1][1]:
            last = blocks.pop()
            blocks[-1] = [a + b for a, b in zip(blocks[-1], last, strict=True)]
    pooled, price, sizes = np.array(blocks).T
    return np.repeat(_in_proportion(pooled, price, total), sizes.astype(int))


def _sum_over(variances: Array, rows: Array) -> float:
    """The sum of variances over rows; a term that does not vary needs none."""
    return float(np.divide(variances, rows, out=np.zeros(len(rows)), where=variances != 0).sum())

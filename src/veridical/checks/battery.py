r"""One vector of discrepancies between data and replicates, with one calibrated maximum.

A *pool* holds the observation in row 0 and below it R replicates simulated at one draw of the answer. If that
is exact, a draw of it and the observation have the law of parameters and data, so that all rows of the pool
are exchangeable. Whatever is computed alike for each row from the whole pool ranks the observation exactly:

1. *Scores* z of each coordinate: normal scores of its rank in the pool; beyond the central 95 %, distances
   from the median in units of that range as well, for ranks end at 1 / R.
2. *Statistics* of z in each channel: what `STATISTICS` names, and those that a task names, each standardised
   over the pool by its median and its 5 and 95 % points. Their averages over channels count as well.
3. M, the largest of them all; p is the share of the pool with M at least that of the observation.

Missing values are as much a part of a row as others: their score is 0, in every row alike.

The least p of many ranked statistics would not do in place of M: with R replicates several statistics reach
their extreme rank in some replicate, and nothing is left to reject with.

Shapes: P = R + 1 rows, n coordinates along the series axis, C channels, J statistics; z (P, n, C).

References:
    | Bayesian goodness-of-fit tests by sampled posterior values: Johnson, 2007; Gosselin, 2011
    | Resampling-Based Multiple Testing (Westfall & Young, 1993)
    | Cauchy combination test (Liu & Xie, 2020), https://arxiv.org/abs/1808.09011
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from veridical.checks import missing
from veridical.checks.inputs import Array

STATISTICS: Mapping[str, str] = {  # each in words
    "sum": "the size of all deviations together",
    "largest": "the largest deviation",
    "outside 50 %": "the share of values outside the 50 % band",
    "outside 90 %": "the share of values outside the 90 % band",
    "level": "the mean deviation",
    "variance": "the scatter of the deviations",
    "distance": "the distance of all values together, given how they go together in simulations",
    "trend": "a trend",
    "runs": "the number of runs above and below the prediction",
    "lag 1": "the correlation of neighbouring values",
    "lags": "the correlation of values some steps apart",
}
ONE_SIDED = frozenset({"largest", "lags"})
SERIES = 8  # values along an axis from which its order is looked at
_AVERAGE = -1  # in place of a channel: the average over channels
_CLIP = 4.0  # of scores, where their order counts
_LAST = 37.0  # the normal tail beyond is no double


class Battery(NamedTuple):
    """The standardised statistics of a pool.

    Attributes:
        names: Name of the statistic and number of the channel of each, -1 for the average over channels.
        t: The statistics, large where a row stands out, shape (P, J).
        signed: The same with its sign, shape (P, J).
    """

    names: tuple[tuple[str, int], ...]
    t: Array
    signed: Array

    @property
    def maximum(self) -> Array:
        """The largest statistic of each row, shape (P,)."""
        return self.t.max(axis=1)

    def of(self, name: str) -> float:
        """Returns the largest statistic of this name of the observation; 0 where there is none."""
        found = zip(self.names, self.t[0].tolist(), strict=True)
        return max((t for (own, _), t in found if own == name), default=0.0)


# ---- scores and statistics -----------------------------------------------------------------------


def scores(pool: Array) -> Array:
    """Returns the normal scores of each entry over the rows of a pool (P, ...), same shape.

    Ties share the mean of their scores' ranks. A coordinate that never varies has score 0, and so has a
    missing value (NaN), which is ranked with nothing; a value that leaves one that never varies in
    simulations has one of sqrt(P).
    """
    from scipy.special import ndtri
    from scipy.stats import rankdata

    pool = np.asarray(pool, dtype=float)
    gone = np.isnan(pool)
    rank = rankdata(np.where(gone, np.inf, pool), axis=0)  # missing ones come last
    z = ndtri(np.where(gone, 0.5, (rank - 0.5) / np.maximum((~gone).sum(axis=0), 1)))
    distance = standardised(pool, 0.975)
    beyond = np.abs(distance) > 1.96
    return np.where(beyond, np.copysign(np.maximum(np.abs(z), np.abs(distance)), distance), z)


def standardised(pool: Array, level: float = 0.95) -> Array:
    """Returns distances of rows from the median, in units that give the tails beyond `level` a normal's."""
    from scipy.special import ndtri

    low, median, high = missing.quantiles(pool, [1 - level, 0.5, level])
    width = np.where(pool < median, median - low, high - median) / ndtri(level)
    spread = np.maximum(missing.deviation(pool), 1e-9 * np.abs(median))
    width = np.where(width > 1e-6 * spread, width, np.where(spread > 0, spread, 1.0))
    return (pool - median) / np.maximum(width, 1e-6 * np.abs(median))


def score_of_maximum(m: Array, of: int, *, two_sided: bool = True) -> Array:
    """Returns the normal score of the largest of several independent normals, or of their absolute values."""
    from scipy.special import log1p, ndtr, ndtri

    tail = ndtr(-np.minimum(m, _LAST)) * (2 if two_sided else 1)
    return -ndtri(np.clip(-np.expm1(of * log1p(-np.minimum(tail, 1 - 1e-12))), 1e-300, 1 - 1e-12))


def battery(z: Array, *, ordered: bool, named: Mapping[str, Array] | None = None) -> Battery:
    """Returns the standardised statistics of scores.

    Arguments:
        z: Scores, shape (P, n, C); 0 where a value is missing.
        ordered: Whether the n coordinates have an order.
        named: Further statistics by name, shape (P,) each.
    """
    raw = _unordered(z) | (_ordered(z) if ordered and z.shape[1] >= SERIES else {})
    signed = {
        (name, c): standardised(values[:, c]) for name, values in raw.items() for c in range(values.shape[1])
    }
    for name, values in raw.items():
        if values.shape[1] > 1:
            mean = np.mean([signed[name, c] for c in range(values.shape[1])], axis=0)
            signed[name, _AVERAGE] = standardised(mean)
    signed |= {(name, _AVERAGE): standardised(_finite(v)) for name, v in (named or {}).items()}
    return _battery(signed)


def average(batteries: Sequence[Battery]) -> Battery:
    """Returns the statistics of a set from those of its members, of which each has the same ones."""
    mean = np.mean([one.signed for one in batteries], axis=0)
    return _battery({name: standardised(mean[:, j]) for j, name in enumerate(batteries[0].names)})


def without(found: Battery, dropped: Sequence[str]) -> Battery:
    """Returns a battery without the statistics of these names."""
    kept = [j for j, (name, _) in enumerate(found.names) if name not in dropped]
    return Battery(tuple(found.names[j] for j in kept), found.t[:, kept], found.signed[:, kept])


def correlations(z: Array) -> Array:
    """Returns the standardised correlations of scores (P, n, C) at the lags 1, 2, ..., shape (P, lags, C)."""
    z = np.clip(z, -_CLIP, _CLIP)
    z = z - z.mean(axis=1, keepdims=True)
    total = np.maximum((z**2).sum(axis=1), 1e-12)
    lags = range(1, last_lag(z.shape[1]) + 1)
    return standardised(np.stack([(z[:, k:] * z[:, :-k]).sum(axis=1) / total for k in lags], axis=1))


def last_lag(n: int) -> int:
    """Returns the longest lag, and the longest period, that is looked for in a series of n values."""
    return min(60, n // 2 if n < 56 else n // 4)


def _unordered(z: Array) -> dict[str, Array]:
    """Statistics that no order changes, by name, shape (P, C) each; of all channels together (P, 1)."""
    rows, n, channels = z.shape
    size = np.abs(z)
    found = {"level": z.mean(axis=1)}
    if n > 1:
        found["sum"] = np.log((z**2).mean(axis=1) + 1e-12)
        found["largest"] = score_of_maximum(size.max(axis=1), n)
    if n > 2:
        found["variance"] = np.log(z.var(axis=1) + 1e-12)
    if n > 4:
        found |= {f"outside {a} %": (size > edge).mean(axis=1) for a, edge in ((50, 0.674), (90, 1.645))}
    if 1 < n * channels <= rows // 10:
        flat = z.reshape(rows, -1)
        covariance = np.cov(flat, rowvar=False) + 1e-6 * np.eye(n * channels)
        squared = (flat * np.linalg.solve(covariance, flat.T).T).sum(axis=1)
        found["distance"] = np.log(squared + 1e-12)[:, None]
    return found


def _ordered(z: Array) -> dict[str, Array]:
    """Statistics of the order along the series, by name, shape (P, C) each."""
    clipped = np.clip(z, -_CLIP, _CLIP)
    at = np.arange(z.shape[1]) - (z.shape[1] - 1) / 2
    lags = correlations(z)
    return {
        "trend": np.einsum("pnc,n->pc", clipped, at),
        "runs": (np.diff(np.sign(z), axis=1) != 0).sum(axis=1).astype(float),
        "lag 1": lags[:, 0],
        "lags": score_of_maximum(lags.max(axis=1), lags.shape[1], two_sided=False),
    }


def _battery(signed: Mapping[tuple[str, int], Array]) -> Battery:
    together = np.stack(list(signed.values()), axis=1)
    one_sided = np.array([name in ONE_SIDED for name, _ in signed])
    return Battery(tuple(signed), np.where(one_sided, together, np.abs(together)), together)


def _finite(values: Array) -> Array:
    """Statistics whose undefined values stand at the median of the others."""
    values = np.asarray(values, dtype=float)
    finite = np.isfinite(values)
    return np.where(finite, values, np.median(values[finite]) if finite.any() else 0.0)


# ---- p-values ------------------------------------------------------------------------------------


def share_beyond(maximum: Array) -> float:
    """Returns the share of a pool's rows (P,) that reach the first one, itself included."""
    return float((maximum >= maximum[0]).mean())


def stepped_down(maxima: Array) -> Array:
    """Returns the family-wise p-value of each member of a set (Westfall and Young's step-down maximum).

    The null of the largest maximum over members is that of the pool's other rows, so no number of replicates
    is too small for many members, as it is where p-values of the members are divided by their number (Holm).

    Arguments:
        maxima: M of each row and member, shape (P, N).

    Returns:
        Shape (N,).
    """
    comparable = scores(maxima)
    order = np.argsort(-comparable[0], kind="stable")
    p, largest = np.empty(len(order)), 0.0
    for rank, member in enumerate(order):
        rest = comparable[:, order[rank:]].max(axis=1)
        largest = max(largest, float((rest >= comparable[0, member]).mean()))
        p[member] = largest
    return p


def combined(p: Array) -> Array:
    """Returns one p-value from several of the same hypothesis over the first axis (Cauchy's combination)."""
    p = np.asarray(p, dtype=float)
    if len(p) == 1:
        return p[0]
    cauchy = np.tan((0.5 - np.clip(p, 1e-3, 0.999)) * np.pi).mean(axis=0)
    return 0.5 - np.arctan(cauchy) / np.pi

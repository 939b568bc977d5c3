r"""A bank of named local distortions of x, each a set of directions in which data leave their predictions.

For residuals r of d values with covariance :math:`\Sigma` under the simulator, a distortion with directions
:math:`B` (d, m) has the score :math:`s = B^T \Sigma^{-1} r`, the information
:math:`I = B^T \Sigma^{-1} B`, and the gain in log-likelihood at its best amplitudes

.. math:: G = \tfrac12 s^T I^{-1} s

For an offset of independent values with known noise, :math:`\sqrt{2 G}` is the z-test. Of observations that
share amplitudes, scores and informations add up. More noise scales :math:`\Sigma` by :math:`v`, estimated
from the mean of squares: :math:`G = \tfrac{d}{2} (v - 1 - \log v)`.

A family may hold several candidates (periods, places); what a candidate costs is
:math:`\tfrac m2 \log d + \log K` for m amplitudes and K candidates, as in Schwarz's criterion.

Shapes: P rows of a pool, n values along the series in C channels, d = n C.

References:
    | Rao, 1948: Large sample tests of statistical hypotheses
    | Schwarz, 1978: Estimating the dimension of a model
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from veridical.checks import missing
from veridical.checks.battery import SERIES, last_lag, standardised
from veridical.checks.inputs import Array

DISTORTIONS: Mapping[str, str] = {  # each in words; trainings on distorted x use the same names
    "offset": "an offset of all values",
    "gain": "a gain of all values",
    "noise": "another amount of noise",
    "block": "a block of values that is off, or missing",
    "drift": "a drift along the series",
    "period": "a pattern that repeats",
    "outlier": "one value far off",
}
_BLOCKS = (2, 3, 5, 8, 12, 18, 27, 40, 60)  # lengths of blocks that are looked for
_CLIP = 4.0  # of residuals, where their covariance is estimated
_TINY = 1e-9


class Candidate(NamedTuple):
    """One member of a family: its directions (d, m), and where it lies (a period, or a first and a last)."""

    directions: Array
    at: tuple[int, ...] = ()


class Scored(NamedTuple):
    """Scores (P, m) and information (m, m) of one candidate."""

    score: Array
    information: Array

    def gain(self) -> Array:
        """Returns the gain in log-likelihood of each row, shape (P,)."""
        inverse = np.linalg.pinv(self.information, rcond=_TINY, hermitian=True)
        return np.asarray(0.5 * np.einsum("pm,mk,pk->p", self.score, inverse, self.score))


class Residuals(NamedTuple):
    """Residuals of a pool, their covariance and what is predicted.

    Attributes:
        r: Distances from the median in units of the predictive spread, 0 where missing, shape (P, d).
        precision: Inverse of their covariance, shape (d, d).
        predicted: Medians in the same units, shape (n, C): the direction of a gain.
    """

    r: Array
    precision: Array
    predicted: Array

    @classmethod
    def of(cls, pool: Array) -> Residuals:
        """Returns the residuals of a pool (P, n, C), by medians and quantiles of the whole pool.

        The covariance is shrunk towards its diagonal by d / (d + P), for a pool has few rows.
        """
        rows, d = len(pool), int(np.prod(pool.shape[1:]))
        r = np.nan_to_num(standardised(pool).reshape(rows, d), nan=0.0, posinf=0.0, neginf=0.0)
        low, median, high = missing.quantiles(pool, [0.16, 0.5, 0.84])
        spread = (high - low) / 2
        predicted = np.where(spread > 0, median / np.where(spread > 0, spread, 1.0), 0.0)
        clipped = np.clip(r, -_CLIP, _CLIP)
        covariance = np.atleast_2d(np.cov(clipped, rowvar=False))
        keep = rows / (d + rows)
        diagonal = np.maximum(np.diag(covariance), _TINY)
        shrunk = keep * covariance + (1 - keep) * np.diag(diagonal) + 1e-6 * np.eye(d)
        return cls(r, np.linalg.inv(shrunk), np.nan_to_num(predicted))

    def scored(self, candidate: Candidate) -> Scored:
        """Returns scores and information of a candidate."""
        weighted = self.precision @ candidate.directions
        return Scored(self.r @ weighted, candidate.directions.T @ weighted)

    def squares(self) -> Array:
        """Returns the mean squares of whitened residuals, shape (P,); 1 on average in a Gaussian pool."""
        return np.asarray(np.einsum("pd,de,pe->p", self.r, self.precision, self.r) / self.r.shape[1])


def noise_gain(squares: Array, values: int) -> Array:
    """Returns the gain in log-likelihood by another amount of noise, from mean squares (P,) of d values."""
    v = np.maximum(squares, 1e-12)
    return np.asarray(0.5 * values * (v - 1 - np.log(v)))


def penalty(amplitudes: int, candidates: int, values: int) -> float:
    """Returns what a candidate costs: m / 2 log d + log K."""
    return 0.5 * amplitudes * float(np.log(max(values, 2))) + float(np.log(candidates))


def candidates(name: str, predicted: Array, *, ordered: bool) -> list[Candidate]:
    """Returns the candidates of a family; none where it asks for an order that is not there.

    Arguments:
        name: One of `DISTORTIONS`, but `noise`, which has no direction.
        predicted: Predictive medians in units of the predictive spread, shape (n, C).
        ordered: Whether the n values have an order.
    """
    if name in _ORDERED and not (ordered and len(predicted) >= SERIES):
        return []
    return list(_FAMILIES[name](predicted))


def _channels(predicted: Array) -> Iterator[Array]:
    """Masks (1, C) of all channels together and, of several, of each by itself."""
    channels = predicted.shape[1]
    yield np.ones((1, channels))
    if channels > 1:
        yield from np.eye(channels)[:, None]


def _flat(along: Array, mask: Array) -> Array:
    """Directions (d, m) from columns along the series (n, m), in the channels of a mask (1, C)."""
    return np.stack([(column[:, None] * mask).ravel() for column in along.T], axis=1)


def _offset(predicted: Array) -> Iterator[Candidate]:
    for mask in _channels(predicted):
        yield Candidate(_flat(np.ones((len(predicted), 1)), mask))


def _gain(predicted: Array) -> Iterator[Candidate]:
    for mask in _channels(predicted):
        if np.abs(predicted * mask).max() > 0:
            yield Candidate((predicted * mask).reshape(-1, 1))


def _drift(predicted: Array) -> Iterator[Candidate]:
    t = np.linspace(-0.5, 0.5, len(predicted))
    for mask in _channels(predicted):
        yield Candidate(_flat(t[:, None], mask))
        if np.abs(predicted * mask).max() > 0:
            yield Candidate((predicted * mask * t[:, None]).reshape(-1, 1))


def _period(predicted: Array) -> Iterator[Candidate]:
    n = len(predicted)
    for m in range(2, min(last_lag(n), n // 3) + 1):
        phases = (np.arange(n)[:, None] % m == np.arange(m)).astype(float)
        for mask in _channels(predicted):
            yield Candidate(_flat(phases, mask), (m,))
            scaled = _flat(phases, mask) * (predicted * mask).reshape(-1, 1)
            if (np.abs(scaled).max(axis=0) > 0).all():
                yield Candidate(scaled, (m,))


def _block(predicted: Array) -> Iterator[Candidate]:
    n = len(predicted)
    for length in (k for k in _BLOCKS if k <= n // 2):
        for first in range(0, n - length + 1, max(1, length // 4)):
            along = np.zeros((n, 1))
            along[first : first + length] = 1.0
            for mask in _channels(predicted):
                yield Candidate(_flat(along, mask), (first, first + length - 1))


def _outlier(predicted: Array) -> Iterator[Candidate]:
    values = predicted.size
    for i in range(values):
        yield Candidate(np.eye(values)[:, i : i + 1], (i,))


_FAMILIES = {
    "offset": _offset,
    "gain": _gain,
    "block": _block,
    "drift": _drift,
    "period": _period,
    "outlier": _outlier,
}
_ORDERED = frozenset({"block", "drift", "period"})

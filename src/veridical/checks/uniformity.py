r"""Are numbers uniform? The gamma statistic of an ECDF and its simultaneous bands.

For n numbers :math:`u_m` and grid points :math:`z_i` let :math:`R_i = \#\{m : u_m < z_i\}`. Then

.. math:: \gamma = 2 \min_i \min\{ P(B_i \leq R_i), P(B_i \geq R_i) \}, \quad B_i \sim \mathrm{Bin}(n, z_i) .

Its null distribution is simulated on the same grid, so that it is exact for ranks too: a rank r among S
draws enters as u = (r + V) / (S + 1) with V uniform, and then :math:`u < i / (S + 1)` just when r < i. All
tails are kept as logarithms: gamma of a bad posterior is far below the smallest double.

References:
    | Graphical Test for Discrete Uniformity and Its Applications (Säilynoja et al., 2022)
    | https://arxiv.org/abs/2103.10522
    | Simulation-Based Calibration Checking for Bayesian Computation (Modrák et al., 2025)
    | https://arxiv.org/abs/2211.02383
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from veridical import seeds
from veridical.checks.inputs import Array
from veridical.errors import DataError

Grid = tuple[float, ...]
LEVELS: Grid = tuple(round(0.01 * i, 2) for i in range(1, 100))
_CHUNK = 2_000_000  # numbers simulated at once


class Band(NamedTuple):
    """A band that the whole ECDF of uniform numbers leaves with a given probability; shapes (K,)."""

    grid: Array
    lower: Array
    upper: Array


def fractional_ranks(draws: Array, truth: Array, rng: np.random.Generator) -> Array:
    """Returns u = (r + V) / (S + 1) with r the rank of the truth and V uniform; ties are broken at random.

    Exactly uniform on [0, 1) when truth and draws are exchangeable, for any S and for discrete values.

    Arguments:
        draws: Shape (S, ...).
        truth: Shape (...).
        rng: Breaks ties.
    """
    below = (draws < truth).sum(axis=0)
    ties = (draws == truth).sum(axis=0)
    return (below + rng.random(truth.shape) * (ties + 1)) / (len(draws) + 1)


@lru_cache(maxsize=64)
def rank_grid(draws: int, points: int) -> Grid:
    """Returns i / (S + 1), i = 1..S, thinned evenly to at most `points`."""
    ranks = np.unique(np.linspace(1, draws, min(draws, points)).round().astype(int))
    return tuple((ranks / (draws + 1)).tolist())


def counts_below(u: Array, grid: Grid) -> Array:
    """Returns R, how many of u (n, D) lie below each grid point, shape (D, K)."""
    cells = np.searchsorted(np.asarray(grid), u, side="right")
    k, d = len(grid), u.shape[1]
    flat = np.bincount((cells + (k + 1) * np.arange(d)).ravel(), minlength=d * (k + 1))
    return flat.reshape(d, k + 1)[:, :k].cumsum(axis=1)


def log_gamma(counts: Array, n: int, grid: Grid) -> Array:
    """Returns log gamma of counts (..., K) out of n, shape (...)."""
    table = _log_tails(n, grid)
    return table[counts, np.arange(len(grid))].min(axis=-1)


def log_threshold(n: int, grid: Grid, alpha: float, null_draws: int) -> float:
    """Returns the log gamma below which uniformity is rejected at level alpha.

    Raises:
        DataError: If the null has too few draws for so small a level.
    """
    rank = int(alpha * (null_draws + 1) + 1e-9)
    if rank < 1:
        raise DataError(
            f"null_draws: a level of {alpha:.2g} needs at least {int(np.ceil(1 / alpha))}, got {null_draws}."
        )
    return float(_null(n, grid, null_draws)[rank - 1])


def p_value(log_gammas: Array, n: int, grid: Grid, null_draws: int) -> Array:
    """Returns Monte Carlo p-values; p <= alpha just when log gamma is below `log_threshold` of alpha."""
    at_most = np.searchsorted(_null(n, grid, null_draws), log_gammas, side="right")
    return np.asarray((1 + at_most) / (1 + null_draws))


def band(n: int, grid: Grid, alpha: float, null_draws: int) -> Band:
    """Returns the band that an ECDF leaves just when its gamma is below the threshold of alpha."""
    inside = _log_tails(n, grid) >= log_threshold(n, grid, alpha, null_draws)
    lower = inside.argmax(axis=0) / n
    upper = (n - inside[::-1].argmax(axis=0)) / n
    return Band(np.asarray(grid), lower, upper)


@lru_cache(maxsize=8)
def _log_tails(n: int, grid: Grid) -> Array:
    """Log of 2 min(P(B <= k), P(B >= k)) for k = 0..n at each grid point, shape (n + 1, K)."""
    from scipy.special import gammaln, xlog1py, xlogy

    k, z = np.arange(n + 1)[:, None], np.asarray(grid)
    log_pmf = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) + xlogy(k, z) + xlog1py(n - k, -z)
    at_most = np.logaddexp.accumulate(log_pmf, axis=0)
    at_least = np.logaddexp.accumulate(log_pmf[::-1], axis=0)[::-1]
    table: Array = np.log(2) + np.minimum(at_most, at_least)
    table.flags.writeable = False
    return table


@lru_cache(maxsize=32)
def _null(n: int, grid: Grid, null_draws: int) -> Array:
    """Sorted log gammas of simulated uniform samples of size n, shape (null_draws,)."""
    rng = seeds.generator(0, "check", "uniformity", n, len(grid), null_draws)
    cells = np.diff([0.0, *grid, 1.0])
    chunk = max(1, _CHUNK // len(cells))
    parts = []
    for first in range(0, null_draws, chunk):
        sizes = rng.multinomial(n, cells, size=min(chunk, null_draws - first))
        parts.append(log_gamma(sizes[:, :-1].cumsum(axis=1), n, grid))
    null: Array = np.sort(np.concatenate(parts))
    null.flags.writeable = False
    return null

r"""What coverage studies of estimates and of posteriors share: sums over batches, and the test of a curve.

All that is judged is a sum over experiments: counts of deviations (or levels) between the points of a grid,
moments of errors. So batches are read one at a time, and memory does not grow with the experiments.

Curves that the ideal level makes uniform are tested and banded as in `veridical.checks.uniformity` (gamma of
the binomial ECDF, simultaneous, Bonferroni over the curves of a family); beyond 10,000 experiments by
Kolmogorov-Smirnov and the Dvoretzky-Kiefer-Wolfowitz band :math:`\sqrt{\log(2/\alpha) / 2n}`, which on a grid
are conservative.

References:
    | Graphical Test for Discrete Uniformity and Its Applications (Säilynoja et al., 2022)
    | https://arxiv.org/abs/2103.10522
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log, sqrt
from typing import Any, NamedTuple

import numpy as np

from veridical.bank.shards import PathLike
from veridical.checks import uniformity
from veridical.checks.inputs import Array
from veridical.checks.uniformity import Grid
from veridical.saved import experiments

NAME = "experiments"

AT_A_TIME = 64  # batches that are opened together, and whose sums are held at once
_EXACT_BAND = 10_000  # experiments up to which the band is that of gamma

Sums = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """How experiments are judged.

    Attributes:
        alpha: Family-wise level of the bands.
        null_draws: Uniform samples behind a band.
        bootstrap: Resamplings behind the errors of the gaps.
        threads: Batches read at a time.
    """

    alpha: float = 0.05
    null_draws: int = 9_999
    bootstrap: int = 200
    threads: int = 1


class Moments(NamedTuple):
    """How many finite numbers, their sum, and the sum of their squares, one entry per column."""

    n: Array
    total: Array
    squares: Array

    @classmethod
    def of(cls, values: Array) -> Moments:
        """Returns the moments over the first axis, without what is not finite."""
        finite = np.isfinite(values)
        kept = np.where(finite, values, 0.0)
        return cls(finite.sum(axis=0), kept.sum(axis=0), (kept**2).sum(axis=0))

    @property
    def mean(self) -> Array:
        """Means; NaN where there is no number."""
        return np.where(self.n > 0, self.total / np.maximum(self.n, 1), np.nan)

    @property
    def variance(self) -> Array:
        """Variances (ddof 1); NaN below two numbers."""
        centred = np.maximum(self.squares - self.total**2 / np.maximum(self.n, 1), 0)
        return np.where(self.n > 1, centred / np.maximum(self.n - 1, 1), np.nan)

    @property
    def stderr(self) -> Array:
        """Standard errors of the means."""
        return np.sqrt(self.variance / np.maximum(self.n, 1))


class Groups:
    """Batches as lazy arrays, some files at a time, so that memory does not grow with their number.

    Arguments:
        paths: The batches.

    Attributes:
        first: The arrays of the first group, as `veridical.saved.experiments.lazy` gives them.

    Raises:
        ArtifactError: If there is no batch, or they do not belong together.
    """

    def __init__(self, paths: Sequence[PathLike]) -> None:
        self.paths = paths
        self.first = experiments.lazy(paths[:AT_A_TIME])

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        yield self.first
        for start in range(AT_A_TIME, len(self.paths), AT_A_TIME):
            yield experiments.lazy(self.paths[start : start + AT_A_TIME], like=self.paths[0])


def added(groups: Groups, summed: Callable[..., Sums], options: Options, *more: Any) -> Sums:
    """Returns the sums over all batches; each is read, summed and dropped in one thread.

    Arguments:
        groups: The batches.
        summed: Gives the sums of one batch, from its arrays, of estimates but `truth`, and from `more`.
        options: How many batches are read at a time.
        more: Further arguments of `summed`.
    """
    import dask

    total: Any = None
    for arrays in groups:
        blocks = {
            name: array.to_delayed().ravel()
            for name, array in arrays.items()
            if array.ndim > 1 or name != "truth"
        }
        parts = [
            dask.delayed(summed)({name: block[i] for name, block in blocks.items()}, *more)
            for i in range(len(next(iter(blocks.values()))))
        ]
        for part in dask.compute(*parts, scheduler="threads", num_workers=options.threads):
            total = part if total is None else _plus(total, part)
    return total


def _plus(a: Any, b: Any) -> Any:
    """The sum of two nested records of numbers."""
    if isinstance(a, dict):
        return {key: _plus(a[key], b[key]) for key in a}
    if isinstance(a, Moments):
        return Moments(*map(np.add, a, b))
    return a + b


def cells(values: Array, grid: Array) -> Array:
    """Returns how many of values (E, C) lie between grid points, above the last too, shape (C, K + 1)."""
    found = np.searchsorted(grid, values, side="right")
    k, c = len(grid), values.shape[1]
    flat = np.bincount((found + (k + 1) * np.arange(c)).ravel(), minlength=c * (k + 1))
    return flat.reshape(c, k + 1)


def curve(counts: Array) -> Array:
    """Returns the share of values below each grid point from cells (..., K + 1), shape (..., K)."""
    return counts[..., :-1].cumsum(axis=-1) / counts.sum(axis=-1)[..., None]


def resampled(counts: Array, repeats: int, rng: np.random.Generator) -> Array:
    """Returns cells of resampled experiments from cells (K + 1,), shape (repeats, K + 1)."""
    n = int(counts.sum())
    return rng.multinomial(n, counts / n, size=repeats)


def judge(counts: Array, n: int, grid: Grid, options: Options) -> tuple[bool, float, uniformity.Band]:
    """Returns whether counts below a grid (C, K) are those of n uniform numbers, a p-value, and the band."""
    c = len(counts)
    alpha = options.alpha / c
    if n <= _EXACT_BAND:
        log_gamma = uniformity.log_gamma(counts, n, grid)
        p = uniformity.p_value(log_gamma, n, grid, options.null_draws)
        band = uniformity.band(n, grid, alpha, options.null_draws)
    else:
        from scipy.stats import kstwo

        at = np.asarray(grid)
        p = kstwo.sf(np.abs(counts / n - at).max(axis=1), n)
        width = sqrt(log(2 / alpha) / (2 * n))
        band = uniformity.Band(at, np.maximum(at - width, 0), np.minimum(at + width, 1))
    return bool(p.min() > alpha), float(min(1.0, c * p.min())), band

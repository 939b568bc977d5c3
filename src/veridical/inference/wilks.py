r"""Frequentist inference from log likelihoods or log ratios on a grid: estimates, tests, sets of parameters.

With :math:`\hat\theta` the most likely parameters the likelihood-ratio statistic and Wilks' set are

.. math:: \Lambda(x, \theta) = 2 [\ell(\hat\theta) - \ell(\theta)] , \qquad
    C(x) = \{\theta : \Lambda(x, \theta) \leq \chi^2_{D, \gamma}\} ,

which holds the truth with the probability :math:`\gamma` where there are many data. Of a ratio
:math:`\log p(x | \theta) / p(x)` the evidence cancels, so that a classifier serves as a likelihood does. The
profile likelihood of one parameter is the largest over the others, with one degree of freedom. Between cells
:math:`\ell` is the parabola through the nearest ones, and :math:`\pm \sqrt \Lambda` of a profile is linear:
both are exact for a Gaussian likelihood.

References:
    | The large-sample distribution of the likelihood ratio for testing composite hypotheses (Wilks, 1938)
    | https://doi.org/10.1214/aoms/1177732360
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Self

import numpy as np

from veridical.errors import DataError, require_shape
from veridical.tasks.base import Array

_NEAR = 20.0  # statistics of cells that count when two likelihoods are compared
_REACH = 2.0  # cells by which a maximum may lie off the best cell, along a narrow ridge


@dataclass(frozen=True)
class LikelihoodSurfaces:
    """Log likelihoods of N data sets on one grid, with their maxima.

    Attributes:
        axes: Centres of the cells of each of D parameters, ascending and equally far apart, (A_k,) each.
        log_l: Log likelihoods up to a constant of each data set, (N, A_1, ..., A_D); -inf where it is zero.
        estimate: Most likely parameters, (N, D), refined between cells but not beyond the outermost.
        top: Log likelihoods there, (N,).
    """

    axes: tuple[Array, ...]
    log_l: Array
    estimate: Array
    top: Array

    @classmethod
    def of(cls, axes: Sequence[Array], log_l: Array) -> Self:
        """Returns the surfaces with their maxima.

        Raises:
            DataError: If cells are not equally far apart, or a surface has no finite maximum.
        """
        axes = tuple(np.asarray(axis, float) for axis in axes)
        require_shape("log_l", log_l, None, *map(len, axes))
        for k, axis in enumerate(axes):
            gaps = np.diff(axis)
            if not (len(axis) > 1 and gaps[0] > 0 and np.allclose(gaps, gaps[0], rtol=1e-6)):
                raise DataError(f"axis {k}: expected centres of equal cells, ascending; got gaps {gaps}.")
        if (bad := ~np.isfinite(log_l.reshape(len(log_l), -1).max(axis=1))).any():
            raise DataError(f"log_l: expected a finite maximum of each data set, not so in {bad.sum()}.")
        estimate, top = _peaks(axes, log_l)
        return cls(axes, log_l, estimate, top)

    @property
    def statistics(self) -> Array:
        """Likelihood-ratio statistics of the centres of all cells, shape of `log_l`."""
        return np.asarray(2 * np.maximum(_beside(self.top, self.log_l) - self.log_l, 0.0))

    def statistic(self, theta: Array) -> Array:
        """Returns the likelihood-ratio statistic of parameters (N, D), one for each data set, (N,).

        Raises:
            DataError: If parameters lie beyond the outermost cells.
        """
        require_shape("theta", theta, len(self.log_l), len(self.axes))
        places = (theta - [axis[0] for axis in self.axes]) / self._widths
        sizes = np.array(self.log_l.shape[1:])
        if (np.abs(places - (sizes - 1) / 2) > sizes / 2 + 1e-9).any():
            raise DataError(
                "theta: expected parameters within the cells, got some beyond; make the grid wider."
            )
        nearest = np.clip(np.rint(places), 1, np.maximum(sizes - 2, 1)).astype(int)
        value, slope, bend = _expanded(self.log_l, nearest)
        return np.asarray(2 * np.maximum(self.top - _parabola(value, slope, bend, places - nearest), 0.0))

    def covers(self, theta: Array, level: float) -> Array:
        """Returns whether the set of each data set holds its parameters theta (N, D), boolean (N,)."""
        return self.statistic(theta) <= threshold(level, len(self.axes))

    def sets(self, level: float) -> Array:
        """Returns which cells belong to Wilks' set of each data set, boolean, shape of `log_l`."""
        return self.statistics <= threshold(level, len(self.axes))

    def areas(self, level: float) -> Array:
        """Returns the share of all cells that belong to the set of each data set, (N,)."""
        return np.asarray(self.sets(level).reshape(len(self.log_l), -1).mean(axis=1))

    def profile(self, k: int) -> Array:
        """Returns the profile log likelihood of parameter k, (N, A_k)."""
        first = np.moveaxis(self.log_l, k + 1, 1)
        others = self.axes[:k] + self.axes[k + 1 :]
        if not others:
            return first
        flat = first.reshape(-1, *first.shape[2:])
        there = np.isfinite(flat.reshape(len(flat), -1).max(axis=1))
        found = np.full(len(flat), -np.inf)
        found[there] = _peaks(others, flat[there])[1]
        return found.reshape(first.shape[:2])

    def intervals(self, level: float) -> Array:
        """Returns the ends of the profile sets of each parameter, (N, D, 2).

        Ends at the border of the grid are that border; a set in several pieces is given by its outermost
        ends, one that lies between two cells by NaN.
        """
        found = np.empty((len(self.log_l), len(self.axes), 2))
        for k, axis in enumerate(self.axes):
            gap = np.maximum(self.top[:, None] - self.profile(k), 0.0)
            roots = np.sign(axis - self.estimate[:, k, None]) * np.sqrt(2 * gap)
            reach = np.sqrt(threshold(level, 1))
            found[:, k, 0] = _first(axis, roots, reach)
            found[:, k, 1] = -_first(-axis[::-1], -roots[:, ::-1], reach)
        return found

    @property
    def _widths(self) -> Array:
        return np.array([axis[1] - axis[0] for axis in self.axes])


def threshold(level: float, freedom: int) -> float:
    """Returns the quantile of chi-squared with some degrees of freedom.

    >>> round(threshold(0.95, 2), 3)
    5.991

    Raises:
        DataError: If the level is no number between 0 and 1.
    """
    from scipy.special import chdtri

    if not 0 < level < 1:
        raise DataError(f"level: expected a number between 0 and 1, got {level}.")
    return float(chdtri(freedom, 1 - level))


def coverage(covered: Array) -> tuple[float, float]:
    """Returns the share of data sets (N,) whose set holds the truth, with its binomial error.

    The error is that of two more of either kind, so that it is not zero where all or none are covered.

    >>> [round(number, 3) for number in coverage(np.array([True, True, True, False]))]
    [0.75, 0.171]
    """
    n, inner = len(covered), (covered.sum() + 2) / (len(covered) + 4)
    return float(covered.mean()), float(np.sqrt(inner * (1 - inner) / (n + 4)))


@dataclass(frozen=True)
class Agreement:
    """How far inference from a surrogate is from that of the exact likelihood, over N data sets.

    Attributes:
        coverage: Share of the surrogate's sets that hold the truth, and that of the exact likelihood's.
        coverage_error: Binomial error of the first, and the error of their difference on the same data.
        area: Mean share of the cells in the surrogate's set, and that of the exact likelihood's.
        statistic_mse: Mean squared difference of the statistics of the truth.
        statistic_mse_of_cells: That of all cells where the exact statistic is below 20.
        estimate_difference: Median squared difference of the estimates of each parameter, (D,).
    """

    coverage: tuple[float, float]
    coverage_error: tuple[float, float]
    area: tuple[float, float]
    statistic_mse: float
    statistic_mse_of_cells: float
    estimate_difference: Array


def agreement(
    surrogate: LikelihoodSurfaces, exact: LikelihoodSurfaces, truth: Array, level: float = 0.95
) -> Agreement:
    """Returns how two likelihoods of the same data on the same cells agree at the truth (N, D) and beyond.

    Raises:
        DataError: If data sets or cells differ.
    """
    if surrogate.log_l.shape != exact.log_l.shape or not all(map(np.allclose, surrogate.axes, exact.axes)):
        raise DataError(
            f"surrogate and exact: expected the same data sets and cells, got {surrogate.log_l.shape} and "
            f"{exact.log_l.shape}, or axes that differ."
        )
    both = surrogate, exact
    covered, at = [one.covers(truth, level) for one in both], [one.statistic(truth) for one in both]
    shares, cells = [coverage(one) for one in covered], [one.statistics for one in both]
    differ = covered[0].astype(float) - covered[1]
    return Agreement(
        coverage=(shares[0][0], shares[1][0]),
        coverage_error=(shares[0][1], float(np.std(differ) / np.sqrt(len(differ)))),
        area=(float(surrogate.areas(level).mean()), float(exact.areas(level).mean())),
        statistic_mse=float(((at[0] - at[1]) ** 2).mean()),
        statistic_mse_of_cells=float(((cells[0] - cells[1])[cells[1] < _NEAR] ** 2).mean()),
        estimate_difference=np.median((surrogate.estimate - exact.estimate) ** 2, axis=0),
    )


def _beside(values: Array, log_l: Array) -> Array:
    """Values (N,) that broadcast along the cells of log_l (N, ...)."""
    return values.reshape(-1, *[1] * (log_l.ndim - 1))


def _peaks(axes: Sequence[Array], log_l: Array) -> tuple[Array, Array]:
    """Where surfaces (N, ...) are largest, (N, D), and how large, (N,), by the parabola at the best cell."""
    sizes, eye = log_l.shape[1:], np.eye(len(axes))
    best = np.stack(np.unravel_index(log_l.reshape(len(log_l), -1).argmax(axis=1), sizes), axis=1)
    value, slope, bend = _expanded(log_l, best)
    still = np.diagonal(bend, axis1=1, axis2=2) >= 0  # at the border, or flat
    hessian = np.where(still[:, :, None] | still[:, None], -eye, bend)
    peaked = np.linalg.eigvalsh(hessian)[:, -1] < 0
    hessian[~peaked] *= eye
    step = np.linalg.solve(hessian, -np.where(still, 0.0, slope)[..., None])[..., 0]
    step = np.clip(step, -np.minimum(_REACH, best), np.minimum(_REACH, np.array(sizes) - 1 - best))
    top = _parabola(value, slope, bend, step)
    step[top < value] = 0.0
    first, widths = np.array([(axis[0], axis[1] - axis[0]) for axis in axes]).T
    return first + widths * (best + step), np.maximum(top, value)


def _expanded(log_l: Array, cell: Array) -> tuple[Array, Array, Array]:
    """Values (N,), slopes (N, D) and second derivatives (N, D, D) at a cell (N, D) of each surface, in cells;
    zero along what has no finite neighbours on both sides.
    """
    sizes, rows = np.array(log_l.shape[1:]), np.arange(len(log_l))
    eye = np.eye(len(sizes), dtype=int)

    def at(move: Array) -> Array:
        place = cell + move
        inside = ((place >= 0) & (place < sizes)).all(axis=1)
        return np.where(inside, log_l[(rows, *np.clip(place, 0, sizes - 1).T)], -np.inf)

    value = at(0 * eye[0])
    slope, bend = np.zeros(cell.shape), np.zeros((*cell.shape, len(sizes)))
    with np.errstate(invalid="ignore"):
        for k, move in enumerate(eye):
            after, before = at(move), at(-move)
            slope[:, k], bend[:, k, k] = (after - before) / 2, after + before - 2 * value
        for k, j in combinations(range(len(sizes)), 2):
            same, other = eye[k] + eye[j], eye[k] - eye[j]
            bend[:, k, j] = bend[:, j, k] = (at(same) + at(-same) - at(other) - at(-other)) / 4
    alone = ~np.isfinite(np.diagonal(bend, axis1=1, axis2=2))
    slope[alone] = 0.0
    bend[alone[:, :, None] | alone[:, None] | ~np.isfinite(bend)] = 0.0
    return value, slope, bend


def _parabola(value: Array, slope: Array, bend: Array, step: Array) -> Array:
    """Values (N,) of parabolas a step (N, D) from where they are expanded."""
    return np.asarray(value + (slope * step).sum(axis=1) + 0.5 * np.einsum("nk,nkj,nj->n", step, bend, step))


def _first(axis: Array, roots: Array, reach: float) -> Array:
    """Where signed roots (N, A) along an axis first come within a reach of zero, (N,)."""
    inside = np.abs(roots) <= reach
    i, rows = inside.argmax(axis=1), np.arange(len(roots))
    before, here, width = roots[rows, np.maximum(i - 1, 0)], roots[rows, i], axis[1] - axis[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(np.isfinite(before), (here + reach) / (here - before), 0.0)
    ends = axis[i] - width * np.where(i == 0, 0.5, share)
    return np.where(inside.any(axis=1), ends, np.nan)

r"""Whether an adapted mixture fits the data at all: numbers of events in bins, with their exact covariance.

In bin j there are n_j data, of which the fit expects :math:`m_j = (N / N_r) \sum_{\mathrm{ref} \in j} \rho`.
To first order the residual :math:`n - m` is a sum over the events of the three samples, for the fitted
parameters are: with :math:`D = \partial m / \partial \theta` and the scores :math:`\psi` of each sample,

.. math:: \mathrm{data:} \; e_j + D A^{-1} \psi, \quad
    \mathrm{ref:} \; -\tfrac{N}{N_r} \rho \, e_j + D A^{-1} \psi, \quad \mathrm{pen:} \; D A^{-1} \psi ,

so that its covariance S is a sum of three, and the reference may have as few events as the data. With v_j
the variance that the bin has where nothing is fitted,

.. math:: T = \sum_j (n_j - m_j)^2 / v_j, \qquad v_j = m_j + (N / N_r)^2 \sum_{\mathrm{ref} \in j} \rho^2

is distributed as a weighted sum of chi-squared variables; scaled to its mean and variance (Satterthwaite),
:math:`T \, \mathrm{tr} M / \mathrm{tr} M^2` has :math:`(\mathrm{tr} M)^2 / \mathrm{tr} M^2` degrees of
freedom, with :math:`M = v^{-1/2} S v^{-1/2}`.

References:
    | Unified large-sample theory of general chi-squared statistics for tests of fit (Moore, Spruill, 1975)
    | An approximate distribution of estimates of variance components (Satterthwaite, 1946)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from veridical.errors import DataError, require_shape
from veridical.inference.adapted_fits import AdaptedFit
from veridical.tasks.base import Array

P_VALUE = 0.003  # of the fit in bins
NORM = 2.0  # of the weights of a class
RIDGE_SHARE = 0.95  # of the variance, taken away by the ridge
LEAST_EXPECTED = 10.0  # events of the fit in a bin


@dataclass(frozen=True)
class BinnedFit:
    """How well an adapted mixture describes the numbers of data in bins.

    Attributes:
        statistic: T.
        freedom: Degrees of freedom of the scaled statistic; about the bins less the parameters.
        p_value: Probability of a larger one if the mixture is right.
        residuals: (n - m) / sqrt(v), shape (J,).
    """

    statistic: float
    freedom: float
    p_value: float
    residuals: Array


def binned_fit(fit: AdaptedFit, data: Array, reference: Array) -> BinnedFit:
    """Returns how the data compare with the fit in bins; those that expect fewer than 10 events are one bin.

    Arguments:
        fit: The mixture.
        data: Bin of each of the distinct data, integers of at least 0, shape (N,).
        reference: Bin of each event of the reference, shape (N_r,).

    Raises:
        DataError: If no two bins are left.
    """
    objective, (shapes, pool, _) = fit.objective, fit.objective.shapes
    require_shape("bins of the data", data, len(shapes.counts))
    require_shape("bins of the reference", reference, len(pool.counts))
    rho = objective.scale * pool.at(fit.theta).total
    bins = int(max(data.max(), reference.max())) + 1
    expected = np.bincount(reference, pool.counts * rho, bins)
    label = _merged(expected)
    data, reference, bins = label[data], label[reference], int(label.max()) + 1
    if bins < 2:
        raise DataError(
            f"binned fit: expected at least two bins of {LEAST_EXPECTED:g} events, got {bins}; use fewer and "
            "wider bins, or more data."
        )
    found = np.bincount(data, shapes.counts, bins)
    expected = np.bincount(reference, pool.counts * rho, bins)
    covariance = residual_covariance(fit, data, reference, rho, bins)
    variance = expected + np.bincount(reference, pool.counts * rho**2, bins)
    residuals = (found - expected) / np.sqrt(variance)
    scaled = covariance / np.sqrt(np.outer(variance, variance))
    first, second = float(np.trace(scaled)), float(np.sum(scaled**2))
    statistic, freedom = float(residuals @ residuals), first**2 / second
    p_value = float(stats.chi2.sf(statistic * first / second, freedom))
    return BinnedFit(statistic, freedom, p_value, residuals)


def quantile_bins(reference: Array, x: Array, per_axis: int) -> tuple[Array, Array]:
    """Returns the bins of events of the reference (R, d) and of data (N, d): quantiles of every axis."""
    require_shape("x", x, None, reference.shape[1])
    found = [np.zeros(len(sample), int) for sample in (reference, x)]
    for axis in range(reference.shape[1]):
        edges = np.quantile(reference[:, axis], np.arange(1, per_axis) / per_axis)
        for label, sample in zip(found, (reference, x), strict=True):
            label *= per_axis
            label += np.searchsorted(edges, sample[:, axis])
    return found[0], found[1]


def _merged(expected: Array) -> Array:
    """New numbers of bins: those that expect too little become the last."""
    kept = expected >= LEAST_EXPECTED
    label: Array = np.where(kept, np.cumsum(kept) - 1, kept.sum())
    return (
        label if kept.sum() and expected[~kept].sum() >= LEAST_EXPECTED else np.minimum(label, kept.sum() - 1)
    )


def residual_covariance(fit: AdaptedFit, data: Array, reference: Array, rho: Array, bins: int) -> Array:
    """Returns S, the covariance of n - m, shape (J, J).

    Arguments:
        fit: The mixture.
        data: Bin of each of the distinct data, shape (N,).
        reference: Bin of each event of the reference, shape (N_r,).
        rho: Expected data that each event of the reference stands for, shape (N_r,).
        bins: Their number J.
    """
    objective = fit.objective
    scores = objective.scores(fit.theta)
    nowhere = np.zeros(0, int)  # events of the penalty sample are in no bin
    sides = (data, np.ones(len(data))), (reference, -rho), (nowhere, np.zeros(0))
    slope = _binned(reference, scores[1] * objective.shapes[1].counts[:, None], bins)
    lever = slope @ fit.inverse  # (J, P); the scores of the reference are the gradients of m
    total = np.zeros((bins, bins))
    for shapes, psi, (label, height) in zip(objective.shapes, scores, sides, strict=True):
        weighted = psi * shapes.counts[:, None]
        mean = lever @ weighted.sum(axis=0)
        part = lever @ (psi.T @ weighted) @ lever.T
        if len(label):
            cross = _binned(label, weighted * height[:, None], bins) @ lever.T
            part += cross + cross.T + np.diag(np.bincount(label, shapes.counts * height**2, bins))
            mean = mean + np.bincount(label, shapes.counts * height, bins)
        total += part - np.outer(mean, mean) / shapes.number
    return total


def _binned(label: Array, values: Array, bins: int) -> Array:
    """Sums of values (N, P) in each bin, shape (J, P)."""
    return np.stack([np.bincount(label, column, bins) for column in values.T], axis=1)


def alarms(fit: AdaptedFit, binned: BinnedFit | None = None) -> list[str]:
    """Returns what speaks against a fit, in words; nothing where nothing does."""
    found = []
    if binned is not None and binned.p_value < P_VALUE:
        found.append(f"data in bins do not follow the mixture (p = {binned.p_value:.2g})")
    for name, weights in zip(("signal", "background"), fit.weights, strict=True):
        if (norm := float(np.linalg.norm(weights))) > NORM:
            found.append(f"weights of the {name} extrapolate far beyond its templates (norm {norm:.2g})")
    if fit.ridge_share > RIDGE_SHARE:
        found.append(f"the ridge decides the fraction (it takes {fit.ridge_share:.0%} of its variance away)")
    if fit.ambiguous:
        found.append("searches from different fractions end at different minima")
    return found

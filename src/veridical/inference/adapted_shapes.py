r"""The classes of an adapted mixture as histograms of one number of each event; numpy, float64.

With u the ratio of a class to the reference, the share of the class in bin j and its error are

.. math:: h_j = \frac{\sum_{\mathrm{ref} \in j} u}{\sum_\mathrm{ref} u}, \qquad
    \sigma_j^2 = (\nabla h_j)^T V \, \nabla h_j + \frac{\sum_\mathrm{ref} u^2 (e_j - h_j)^2}
    {(\sum_\mathrm{ref} u)^2},

from the covariance V of the fitted parameters and from the finite reference. The data in a bin are compared
with :math:`m_j = (N / N_r) \sum_{\mathrm{ref} \in j} \rho` in units of the error of their difference, which
knows that the parameters were fitted to them (see `veridical.inference.adapted_alarm`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from veridical.errors import DataError, require_shape
from veridical.inference.adapted import Shapes
from veridical.inference.adapted_alarm import residual_covariance
from veridical.inference.adapted_fits import AdaptedFit
from veridical.tasks.base import Array

BINS, EVENTS_PER_BIN = 24, 50  # at most so many bins, with so many data each on average
BEYOND = 0.002  # share of the data and of the reference beyond either end, which the outer bins take


class ClassShape(NamedTuple):
    """One class in J bins.

    Attributes:
        shares: h, of sum 1, shape (J,).
        errors: Their standard errors, shape (J,).
        templates: Those of each template as it is, shape (K, J).
        template_errors: Their standard errors from the finite reference, shape (K, J).
    """

    shares: Array
    errors: Array
    templates: Array
    template_errors: Array


class Projection(NamedTuple):
    """An adapted mixture and its data in J bins of one number.

    Attributes:
        edges: Of the bins, shape (J + 1,).
        data: How many data lie in each, shape (J,).
        expected: m, of both classes, shape (J,).
        error: Standard errors of data - m, shape (J,).
        classes: Signal and background.
    """

    edges: Array
    data: Array
    expected: Array
    error: Array
    classes: tuple[ClassShape, ClassShape]


def project(fit: AdaptedFit, data: Array, reference: Array) -> Projection:
    """Returns the mixture in bins of equal width of a number that is known of data and reference.

    Arguments:
        fit: The mixture.
        data: The number at each of the distinct data, shape (N,).
        reference: At each event of the reference, shape (N_r,).

    Raises:
        DataError: If the number is the same everywhere, or not finite.
    """
    objective, (shapes, pool, _) = fit.objective, fit.objective.shapes
    require_shape("data", data, len(shapes.counts))
    require_shape("reference", reference, len(pool.counts))
    edges = bin_edges(data, reference, shapes.number)
    bins, (label, of_pool) = len(edges) - 1, (place(edges, data), place(edges, reference))
    at = pool.at(fit.theta)
    rho = objective.scale * at.total
    covariance = residual_covariance(fit, label, of_pool, rho, bins)
    sides = zip((objective.reference.signal, objective.reference.background), (0, 1), strict=True)
    signal, background = (_class_shape(fit, pool, side, g, of_pool, bins) for g, side in sides)
    return Projection(
        edges=edges,
        data=np.bincount(label, shapes.counts, bins),
        expected=np.bincount(of_pool, pool.counts * rho, bins),
        error=np.sqrt(np.maximum(np.diag(covariance), 0)),
        classes=(signal, background),
    )


def bin_edges(data: Array, reference: Array, number: float) -> Array:
    """Returns edges of bins of equal width in which most of two samples (N,) and (R,) lie, shape (J + 1,).

    Arguments:
        data: One sample.
        reference: The other one.
        number: How many data there are, of which some may coincide; few make fewer bins.

    Raises:
        DataError: If the numbers are all the same, or not finite.
    """
    ends = [np.quantile(sample, (BEYOND, 1 - BEYOND)) for sample in (data, reference)]
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    if not (np.isfinite([low, high]).all() and high > low):
        raise DataError(
            f"bins: expected numbers that differ from event to event, got {low:g} to {high:g}; show another."
        )
    bins = int(np.clip(number // EVENTS_PER_BIN, 4, BINS))
    return np.linspace(low, high, bins + 1)


def place(edges: Array, values: Array) -> Array:
    """Returns the bin of each value (N,); the outer bins hold what lies beyond them."""
    return np.searchsorted(edges[1:-1], values, side="right")


def _class_shape(
    fit: AdaptedFit, pool: Shapes, side: int, log_ratios: Array, label: Array, bins: int
) -> ClassShape:
    """One class at the events of the reference, and its templates with these log ratios (R, K)."""
    u, part = pool.counts * pool.at(fit.theta)[1 + side], pool.slices[side]
    shares, finite = _shares(u, pool.counts, label, bins)
    moved = u[:, None] * pool.designs[side]
    inside = np.stack([np.bincount(label, column, bins) for column in moved.T], axis=1)
    slope = (inside - np.outer(shares, moved.sum(axis=0))) / u.sum()
    variance = np.einsum("jp,pq,jq->j", slope, fit.covariance[part, part], slope) + finite
    alone = [_shares(pool.counts * np.exp(g), pool.counts, label, bins) for g in log_ratios.T]
    templates, scatter = map(np.stack, zip(*alone, strict=True))
    errors = np.sqrt(np.maximum(variance, 0)), np.sqrt(np.maximum(scatter, 0))
    return ClassShape(shares, errors[0], templates, errors[1])


def _shares(u: Array, counts: Array, label: Array, bins: int) -> tuple[Array, Array]:
    """Shares (J,) of bins in sums u (R,) over counts events each, and their variance as these are finite."""
    total = u.sum()
    shares = np.bincount(label, u, bins) / total
    squares = np.bincount(label, u**2 / counts, bins)
    return shares, (squares * (1 - 2 * shares) + shares**2 * squares.sum()) / total**2

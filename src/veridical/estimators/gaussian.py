r"""Posteriors that are normal in the unconstrained, standardised space of the parameters.

With :math:`z(\theta)` the map of `ParameterTransform`, a method states a mean and a triangular factor of the
covariance for each observation; then

.. math:: q(\theta \mid x) = N(z(\theta);\, \mu(x), L(x) L(x)^T) \, |dz / d\theta| ,

which integrates to one over the bounds. Everything is in double precision.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from veridical.errors import require_shape
from veridical.estimators.transformed import Transformed
from veridical.networks.transforms import ParameterTransform
from veridical.tasks.base import Array

ROWS = 65_536  # draws that are transformed at once


class GaussianEstimator(Transformed):
    """A posterior that is normal between `inputs` and `parameters`, the transforms around it."""

    parameters: ParameterTransform

    @abstractmethod
    def moments(self, x: Array) -> tuple[Array, Array]:
        """Returns means (N, D) and lower triangular factors (N, D, D) of the covariances, given x."""

    def sample_and_log_prob(self, x: Array, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Returns n posterior draws (n, N, D) for each x (N, *x_shape) and their log densities (n, N)."""
        means, factors = self.moments(x)
        k = means.shape[1]
        draws, log_p = np.empty((n, len(x), len(self.task.parameters))), np.empty((n, len(x)))
        step = max(1, ROWS // n)
        for first in range(0, len(x), step):
            part = slice(first, min(first + step, len(x)))
            noise = rng.standard_normal((part.stop - first, n, k))
            z = means[part, None] + np.einsum("ijk,isk->isj", factors[part], noise)
            theta = self.parameters.inverse(z)
            again, log_slope = self.parameters.forward(theta)
            density = _log_normal(again - means[part, None], factors[part]) + log_slope
            draws[:, part], log_p[:, part] = theta.swapaxes(0, 1), density.T
        return draws, log_p

    def log_prob(self, theta: Array, x: Array) -> Array:
        """Returns log densities (..., N) of theta (..., N, D) given x (N, *x_shape); -inf out of bounds."""
        theta = np.asarray(theta, float)
        require_shape("theta", theta, *[None] * (theta.ndim - 2), len(x), len(self.task.parameters))
        means, factors = self.moments(x)
        z, log_slope = self.parameters.forward(theta)
        rows = (z - means).reshape(-1, *means.shape).swapaxes(0, 1)
        return _log_normal(rows, factors).T.reshape(log_slope.shape) + log_slope


def _log_normal(residuals: Array, factors: Array) -> Array:
    """Log densities (N, S) of residuals (N, S, D) under N(0, L L^T), factors (N, D, D)."""
    white = np.linalg.solve(factors, residuals.swapaxes(1, 2))
    log_diagonal = np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)
    constant = log_diagonal + 0.5 * factors.shape[-1] * np.log(2 * np.pi)
    return -0.5 * (white**2).sum(axis=1) - constant[:, None]

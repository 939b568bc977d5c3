r"""Densities of answers that are known by draws: a Gaussian around each of them, and a broad one.

.. math:: q(z) = (1 - w) \frac1S \sum_s N(z; z_s, h^2 \Sigma) + w \, N(z; 0, I) , \qquad
    h = \Big( \frac{4}{(D + 2) S} \Big)^{1/(D+4)} ,

with the covariance :math:`\Sigma` of the draws. It is wider than what the draws come from: a Gaussian of
covariance :math:`\Sigma` is answered by one of :math:`(1 + h^2) \Sigma`, and :math:`\log q` of it is too low
by about :math:`D (\log(1 + h^2) - h^2 / (1 + h^2)) / 2` on average, which is `smoothing_error`.

References:
    | Density Estimation for Statistics and Data Analysis (Silverman, 1986), section 4.3.2
"""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from veridical.tasks.base import Array

REACH = 8.0  # largest coordinate of a draw in z
_FLOOR = 1e-3  # least standard deviation of draws in z
_CHUNK = 1 << 20  # distances at once


def bandwidth(n: int, d: int) -> float:
    """Returns h for n draws of d numbers."""
    return float((4 / ((d + 2) * n)) ** (1 / (d + 4)))


def smoothing_error(n: int, d: int) -> float:
    """Returns about how many nats the mean log density loses to the width of the kernels."""
    square = bandwidth(n, d) ** 2
    return float(0.5 * d * (np.log1p(square) - square / (1 + square)))


class Kernels:
    """The density of one answer.

    Arguments:
        draws: Draws in z, shape (S, D).
        broad: The weight w of the standard normal.
    """

    def __init__(self, draws: Array, broad: float) -> None:
        self.centres, self.broad = np.clip(draws, -REACH, REACH), broad
        s, d = self.centres.shape
        covariance = np.cov(self.centres, rowvar=False).reshape(d, d) + _FLOOR**2 * np.eye(d)
        self.factor = np.linalg.cholesky(covariance) * bandwidth(s, d)

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Returns n draws (n, D)."""
        chosen, wide = rng.integers(len(self.centres), size=n), rng.random(n) < self.broad
        noise = rng.standard_normal((n, self.centres.shape[1]))
        return np.where(wide[:, None], noise, self.centres[chosen] + noise @ self.factor.T)

    def log_prob(self, z: Array) -> Array:
        """Returns log densities (n,) of z (n, D)."""
        s, d = self.centres.shape
        inverse = np.linalg.inv(self.factor).T
        points, centres = z @ inverse, self.centres @ inverse
        constant = 0.5 * d * np.log(2 * np.pi)
        narrow: Array = np.empty(len(z))
        rows = max(1, _CHUNK // (s * d))
        for first in range(0, len(z), rows):
            part = slice(first, first + rows)
            squares = ((points[part, None] - centres) ** 2).sum(axis=-1)
            narrow[part] = logsumexp(-0.5 * squares, axis=1)
        narrow -= np.log(s) + np.log(np.diag(self.factor)).sum() + constant
        wide = -0.5 * (z**2).sum(axis=1) - constant
        return np.asarray(np.logaddexp(np.log1p(-self.broad) + narrow, np.log(self.broad) + wide))

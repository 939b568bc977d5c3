r"""The map between bounded parameters and all of :math:`R^D`, in numpy.

Each parameter has its own map z -> theta: the identity where it has no bounds, ``lower + exp(z)`` or
``upper - exp(z)`` where it has one, and ``lower + (upper - lower) sigmoid(z)`` where it has two.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from veridical.errors import require_shape
from veridical.tasks.base import Array


class Bijection:
    """Maps unconstrained values to parameters within bounds, and back.

    Arguments:
        bounds: Lower and upper bounds, shape (D, 2); infinite where there is none.
    """

    def __init__(self, bounds: Array) -> None:
        require_shape("bounds", bounds, None, 2)
        self.lower, self.upper = bounds.T
        below, above = np.isfinite(self.lower), np.isfinite(self.upper)
        self._box = np.flatnonzero(below & above)
        self._half = np.flatnonzero(below ^ above)
        self._sign = np.where(below, 1.0, -1.0)[self._half]
        self._edge = np.where(below, self.lower, self.upper)[self._half]
        self._width = (self.upper - self.lower)[self._box]

    def to_parameters(self, z: Array) -> Array:
        """Returns theta of unconstrained z, both (..., D)."""
        theta = z.copy()
        with np.errstate(over="ignore", under="ignore"):
            theta[..., self._half] = self._edge + self._sign * np.exp(z[..., self._half])
            theta[..., self._box] = self.lower[self._box] + self._width * expit(z[..., self._box])
        return theta

    def to_unconstrained(self, theta: Array) -> Array:
        """Returns z of parameters theta, both (..., D); infinite on a bound and NaN outside."""
        z = theta.copy()
        with np.errstate(divide="ignore", invalid="ignore"):
            z[..., self._half] = np.log(self._sign * (theta[..., self._half] - self._edge))
            box = theta[..., self._box]
            z[..., self._box] = np.log(box - self.lower[self._box]) - np.log(self.upper[self._box] - box)
        return z

    def log_jacobian(self, z: Array) -> Array:
        r"""Returns :math:`\log |d\theta / dz|` at z (..., D), shape (...)."""
        box = z[..., self._box]
        slopes = np.log(self._width) - np.logaddexp(0, box) - np.logaddexp(0, -box)
        return z[..., self._half].sum(axis=-1) + slopes.sum(axis=-1)

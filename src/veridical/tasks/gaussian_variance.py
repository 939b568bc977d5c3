r"""A Gaussian with unknown mean and variance, n independent draws, with its exact posterior.

With the normal-inverse-gamma prior

.. math:: v \sim \mathrm{InvGamma}(\alpha, \beta), \qquad \mu \mid v \sim N(m, v / \kappa),
    \qquad x_i \mid \mu, v \sim N(\mu, v),

the posterior is of the same family, with

.. math:: \kappa' = \kappa + n, \quad m' = \frac{\kappa m + n \bar x}{\kappa'}, \quad
    \alpha' = \alpha + \frac{n}{2}, \quad
    \beta' = \beta + \frac12 \sum_i (x_i - \bar x)^2 + \frac{\kappa n (\bar x - m)^2}{2 \kappa'} .

References:
    | Conjugate Bayesian analysis of the Gaussian distribution (Murphy, 2007), section 6
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import gammaln

from veridical.errors import TaskError, require_shape
from veridical.tasks.base import Array, Dimension, Parameter, Task


@dataclass(frozen=True)
class NormalInverseGamma:
    """The distribution of a mean and a variance; its four numbers may be arrays (N,).

    Attributes:
        location: m, the centre of the mean.
        strength: kappa, how many draws the knowledge of the mean is worth.
        shape: alpha, of the inverse gamma distribution of the variance.
        scale: beta, of the same.
    """

    location: Any
    strength: Any
    shape: Any
    scale: Any

    def sample(self, rng: np.random.Generator, n: int) -> Array:
        """Returns n draws of (mean, variance), shape (n, 2), or (n, N, 2) where the numbers are arrays."""
        size = (n, *np.shape(self.location))
        variance = self.scale / rng.standard_gamma(self.shape, size)
        mean = self.location + np.sqrt(variance / self.strength) * rng.standard_normal(size)
        return np.stack([mean, variance], axis=-1)

    def log_prob(self, theta: Array) -> Array:
        """Returns log densities of theta (..., 2), shape (...); -inf where the variance is not positive."""
        mean, given = theta[..., 0], theta[..., 1]
        variance = np.where(given > 0, given, 1.0)
        log_gamma = self.shape * np.log(self.scale) - gammaln(self.shape)
        log_gamma = log_gamma - (self.shape + 1) * np.log(variance) - self.scale / variance
        squares = self.strength * (mean - self.location) ** 2 / variance
        log_normal = -0.5 * (squares + np.log(2 * np.pi * variance / self.strength))
        return np.where(given > 0, log_gamma + log_normal, -np.inf)

    def given(self, x: Array) -> NormalInverseGamma:
        """Returns the posterior of each row of x (N, n)."""
        n, centre = x.shape[1], x.mean(axis=1)
        strength = self.strength + n
        squares = ((x - centre[:, None]) ** 2).sum(axis=1)
        shift = self.strength * n * (centre - self.location) ** 2 / strength
        return NormalInverseGamma(
            location=(self.strength * self.location + n * centre) / strength,
            strength=strength,
            shape=self.shape + 0.5 * n,
            scale=self.scale + 0.5 * (squares + shift),
        )


class GaussianVariance(Task):
    """Independent draws of a Gaussian with unknown mean and variance.

    Arguments:
        repeats: n, the draws in one row of data.
        strength: kappa of the prior.
        shape: alpha of the prior.
        scale: beta of the prior.
    """

    name = "gaussian_variance"
    fidelities = {"model": 1.0}  # noqa: RUF012
    parameters = (Parameter("mean"), Parameter("variance", lower=0.0))

    def __init__(
        self, repeats: int = 20, strength: float = 0.5, shape: float = 3.0, scale: float = 3.0
    ) -> None:
        if not (repeats >= 1 and strength > 0 and shape > 0 and scale > 0):
            raise TaskError(
                f"task {self.name}: expected repeats >= 1 and positive strength, shape and scale, got "
                f"{repeats}, {strength}, {shape} and {scale}."
            )
        self.prior: NormalInverseGamma = NormalInverseGamma(0.0, strength, shape, scale)
        self.dimensions = (Dimension("repeat", tuple(range(repeats))),)

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns the standardised draws, (n, repeats)."""
        return {"observation": rng.standard_normal((n, *self.x_shape))}

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Simulates theta (N, 2), shape (N, repeats)."""
        if fidelity != "model":
            raise TaskError(f"task {self.name} has no fidelity {fidelity!r}; expected model.")
        require_shape("theta", theta, None, 2)
        return theta[:, :1] + np.sqrt(theta[:, 1:]) * noise["observation"]

    def log_likelihood(self, theta: Array, x: Array) -> Array:
        """Returns log p(x | theta) for one x (repeats,) at theta (N, 2), shape (N,)."""
        require_shape("x", x, *self.x_shape)
        squares = (x - theta[:, :1]) ** 2 / theta[:, 1:]
        return -0.5 * (squares + np.log(2 * np.pi * theta[:, 1:])).sum(axis=1)

    def posterior_sample(
        self, x: Array, rng: np.random.Generator, n: int, fidelity: str | None = None
    ) -> Array:
        """Returns exact posterior draws for x (N, repeats), shape (n, N, 2)."""
        require_shape("x", x, None, *self.x_shape)
        return self.prior.given(x).sample(rng, n)

    def posterior_log_prob(self, theta: Array, x: Array, fidelity: str | None = None) -> Array:
        """Returns exact log posterior densities of theta (..., N, 2) given x (N, repeats), shape (..., N)."""
        require_shape("x", x, None, *self.x_shape)
        return self.prior.given(x).log_prob(theta)

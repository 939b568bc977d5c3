r"""The location of a Gaussian in D dimensions, with its exact posterior.

.. math:: \theta \sim N(0, \tau^2 I), \qquad x = \theta + \sigma \epsilon, \qquad
    \theta \mid x \sim N(r x, r \sigma^2 I), \qquad r = \frac{\tau^2}{\tau^2 + \sigma^2} .

References:
    | Benchmarking Simulation-Based Inference (Lueckmann et al., 2021)
    | https://arxiv.org/abs/2101.04653
"""

from __future__ import annotations

import numpy as np

from veridical.errors import TaskError, require_shape
from veridical.tasks.base import Array, Dimension, Task
from veridical.tasks.priors import Normal, Product


class GaussianLinear(Task):
    """A Gaussian with unknown location.

    Arguments:
        dimension: D, the number of parameters and of data.
        prior_sd: Standard deviation of each parameter.
        noise_sd: Standard deviation of each datum around its parameter.
    """

    name = "gaussian_linear"
    fidelities = {"model": 1.0}  # noqa: RUF012

    def __init__(self, dimension: int = 2, prior_sd: float = 1.0, noise_sd: float = 1.0) -> None:
        if not (dimension >= 1 and prior_sd > 0 and noise_sd > 0):
            raise TaskError(
                f"task {self.name}: expected dimension >= 1 and positive prior_sd and noise_sd, got "
                f"{dimension}, {prior_sd} and {noise_sd}."
            )
        names = [f"theta_{j}" for j in range(dimension)]
        self.prior = Product({name: Normal(0.0, prior_sd) for name in names})
        self.parameters = self.prior.parameters()
        self.dimensions = (Dimension("feature", tuple(range(dimension))),)
        self.noise_sd = noise_sd
        self.posterior_shrinkage = prior_sd**2 / (prior_sd**2 + noise_sd**2)
        self.posterior_sd = noise_sd * self.posterior_shrinkage**0.5

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns the standard normal observation noise, (n, D)."""
        return {"observation": rng.standard_normal((n, *self.x_shape))}

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Simulates theta (N, D), shape (N, D)."""
        if fidelity != "model":
            raise TaskError(f"task {self.name} has no fidelity {fidelity!r}; expected model.")
        require_shape("theta", theta, None, *self.x_shape)
        return theta + self.noise_sd * noise["observation"]

    def log_likelihood(self, theta: Array, x: Array) -> Array:
        """Returns log p(x | theta) for one x (D,) at theta (N, D), shape (N,)."""
        require_shape("x", x, *self.x_shape)
        return _log_normal(x - theta, self.noise_sd)

    def posterior_sample(self, x: Array, rng: np.random.Generator, n: int) -> Array:
        """Returns exact posterior draws for x (N, D), shape (n, N, D)."""
        require_shape("x", x, None, *self.x_shape)
        return self.posterior_shrinkage * x + self.posterior_sd * rng.standard_normal((n, *x.shape))

    def posterior_log_prob(self, theta: Array, x: Array) -> Array:
        """Returns exact log posterior densities of theta (..., N, D) given x (N, D), shape (..., N)."""
        require_shape("x", x, None, *self.x_shape)
        return _log_normal(theta - self.posterior_shrinkage * x, self.posterior_sd)


def _log_normal(residuals: Array, sd: float) -> Array:
    """Log density of independent normal residuals (..., D), shape (...)."""
    terms = -0.5 * (residuals / sd) ** 2 - np.log(sd * np.sqrt(2 * np.pi))
    return terms.sum(axis=-1)

r"""The location of a Gaussian in D dimensions, with its exact posterior; optionally nature is noisier.

.. math:: \theta \sim N(0, \tau^2 I), \qquad x = \theta + \sigma \epsilon, \qquad
    \theta \mid x \sim N(r x, r \sigma^2 I), \qquad r = \frac{\tau^2}{\tau^2 + \sigma^2} .

Where `real_noise_sd` is set there is a level `real` with that standard deviation in place of sigma, or at a
severity s other than 1 with (1 - s) sigma + s `real_noise_sd`, and the same noise otherwise. With
:math:`\tau^2 = \sigma^2 = 0.1` and a real variance of 0.2 in ten dimensions,
x / 2 estimates theta under the assumed model, with mean squared error 0.75 in units of :math:`\tau^2`, and
x / 3 under the real one, with 0.667.

References:
    | Benchmarking Simulation-Based Inference (Lueckmann et al., 2021)
    | https://arxiv.org/abs/2101.04653
    | Robust Neural Posterior Estimation and Statistical Model Criticism (Ward et al., 2022)
    | https://arxiv.org/abs/2210.06564
"""

from __future__ import annotations

import numpy as np

from veridical.errors import TaskError, require_shape
from veridical.tasks.base import Array, Dimension, Task, require_severity
from veridical.tasks.priors import Normal, Product


class GaussianLinear(Task):
    """A Gaussian with unknown location.

    Arguments:
        dimension: D, the number of parameters and of data.
        prior_sd: Standard deviation of each parameter.
        noise_sd: Standard deviation of each datum around its parameter.
        real_noise_sd: The same for the level `real`, which is there only where this is given.
        severity: How far the level `real` departs from `noise_sd` towards `real_noise_sd`, from 0 to 1.
    """

    name = "gaussian_linear"
    of_nature = ("severity",)

    def __init__(
        self,
        dimension: int = 2,
        prior_sd: float = 1.0,
        noise_sd: float = 1.0,
        real_noise_sd: float | None = None,
        severity: float = 1.0,
    ) -> None:
        if not (dimension >= 1 and prior_sd > 0 and noise_sd > 0):
            raise TaskError(
                f"task {self.name}: expected dimension >= 1 and positive prior_sd and noise_sd, got "
                f"{dimension}, {prior_sd} and {noise_sd}."
            )
        if real_noise_sd is not None and not real_noise_sd > 0:
            raise TaskError(f"task {self.name}: expected a positive real_noise_sd, got {real_noise_sd}.")
        if real_noise_sd is None and severity != 1:
            raise TaskError(
                f"task {self.name}: a severity needs a real_noise_sd, without which nature is right."
            )
        self.severity = s = require_severity(self.name, severity)
        names = [f"theta_{j}" for j in range(dimension)]
        self.prior = Product({name: Normal(0.0, prior_sd) for name in names})
        self.parameters = self.prior.parameters()
        self.dimensions = (Dimension("feature", tuple(range(dimension))),)
        self.prior_sd, self.noise_sd = prior_sd, noise_sd
        self.posterior_shrinkage, self.posterior_sd = self._shrink(noise_sd)
        self.noise_sds = {"model": noise_sd}
        self.fidelities = {"model": 1.0}
        if real_noise_sd is not None:
            self.noise_sds["real"] = (1 - s) * noise_sd + s * real_noise_sd
            self.fidelities["real"] = 100.0

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns the standard normal observation noise, (n, D)."""
        return {"observation": rng.standard_normal((n, *self.x_shape))}

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Simulates theta (N, D), shape (N, D)."""
        noise_sd = self._noise_sd(fidelity)
        require_shape("theta", theta, None, *self.x_shape)
        return theta + noise_sd * noise["observation"]

    def _noise_sd(self, fidelity: str | None) -> float:
        """The standard deviation of the noise of a level; the simulator's where None."""
        if (fidelity or "model") not in self.noise_sds:
            known = ", ".join(self.noise_sds)
            raise TaskError(f"task {self.name} has no fidelity {fidelity!r}; expected {known}.")
        return self.noise_sds[fidelity or "model"]

    def log_likelihood(self, theta: Array, x: Array) -> Array:
        """Returns the simulator's log p(x | theta) for one x (D,) at theta (N, D), shape (N,)."""
        require_shape("x", x, *self.x_shape)
        return _log_normal(x - theta, self.noise_sd)

    def posterior_sample(
        self, x: Array, rng: np.random.Generator, n: int, fidelity: str | None = None
    ) -> Array:
        """Returns exact posterior draws for x (N, D) of one level, shape (n, N, D)."""
        shrinkage, sd = self._posterior(x, fidelity)
        return shrinkage * x + sd * rng.standard_normal((n, *x.shape))

    def posterior_log_prob(self, theta: Array, x: Array, fidelity: str | None = None) -> Array:
        """Returns exact log posterior densities of theta (..., N, D) given x (N, D), shape (..., N)."""
        shrinkage, sd = self._posterior(x, fidelity)
        return _log_normal(theta - shrinkage * x, sd)

    def _posterior(self, x: Array, fidelity: str | None) -> tuple[float, float]:
        """The share r of x in the posterior mean, and the standard deviation of the posterior."""
        require_shape("x", x, None, *self.x_shape)
        return self._shrink(self._noise_sd(fidelity))

    def _shrink(self, noise_sd: float) -> tuple[float, float]:
        shrinkage = self.prior_sd**2 / (self.prior_sd**2 + noise_sd**2)
        return shrinkage, noise_sd * shrinkage**0.5


def _log_normal(residuals: Array, sd: float) -> Array:
    """Log density of independent normal residuals (..., D), shape (...)."""
    terms = -0.5 * (residuals / sd) ** 2 - np.log(sd * np.sqrt(2 * np.pi))
    return terms.sum(axis=-1)

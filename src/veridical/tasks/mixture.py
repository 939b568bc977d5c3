r"""A location seen through one of two offsets, in one dimension: a bimodal posterior in closed form.

.. math:: \theta \sim N(0, \tau^2), \qquad x \mid \theta \sim w N(\theta - \delta, \sigma^2)
    + (1 - w) N(\theta + \delta, \sigma^2) .

Each component is conjugate, so with :math:`r = \tau^2 / (\tau^2 + \sigma^2)` the posterior is

.. math:: \theta \mid x \sim w' N(r (x + \delta), r \sigma^2) + (1 - w') N(r (x - \delta), r \sigma^2),
    \qquad w' \propto w N(x; -\delta, \tau^2 + \sigma^2) .
"""

from __future__ import annotations

import numpy as np

from veridical.errors import TaskError, require_shape
from veridical.tasks.base import Array, Dimension, Task
from veridical.tasks.priors import Normal, Product


class Mixture(Task):
    """One number from a mixture of two Gaussians with a common unknown location.

    Arguments:
        prior_sd: tau, standard deviation of the location.
        offset: delta, distance of either component from the location.
        noise_sd: sigma, standard deviation of either component.
        weight: w, share of the component below the location.
    """

    name = "mixture"
    fidelities = {"model": 1.0}  # noqa: RUF012
    dimensions = (Dimension("feature", (0,)),)

    def __init__(
        self, prior_sd: float = 2.0, offset: float = 1.5, noise_sd: float = 0.5, weight: float = 0.4
    ) -> None:
        if not (prior_sd > 0 and noise_sd > 0 and 0 < weight < 1):
            raise TaskError(
                f"task {self.name}: expected positive prior_sd and noise_sd and a weight in (0, 1), got "
                f"{prior_sd}, {noise_sd} and {weight}."
            )
        self.prior = Product({"location": Normal(0.0, prior_sd)})
        self.parameters = self.prior.parameters()
        self.prior_sd, self.offset, self.noise_sd, self.weight = prior_sd, offset, noise_sd, weight
        self.offsets = np.array([-offset, offset])
        self.weights = np.array([weight, 1 - weight])

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns uniform numbers that choose the component and its standard normal noise, (n, 1) each."""
        return {"component": rng.random((n, 1)), "observation": rng.standard_normal((n, 1))}

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Simulates theta (N, 1), shape (N, 1)."""
        if fidelity != "model":
            raise TaskError(f"task {self.name} has no fidelity {fidelity!r}; expected model.")
        require_shape("theta", theta, None, 1)
        offset = np.where(noise["component"] < self.weight, -self.offset, self.offset)
        return theta + offset + self.noise_sd * noise["observation"]

    def log_likelihood(self, theta: Array, x: Array) -> Array:
        """Returns log p(x | theta) for one x (1,) at theta (N, 1), shape (N,)."""
        require_shape("x", x, 1)
        return _log_mixture(x, theta + self.offsets, self.noise_sd, np.log(self.weights))

    def posterior_sample(
        self, x: Array, rng: np.random.Generator, n: int, fidelity: str | None = None
    ) -> Array:
        """Returns exact posterior draws for x (N, 1), shape (n, N, 1)."""
        means, sd, log_weights = self._posterior(x)
        below = rng.random((n, len(x))) < np.exp(log_weights[:, 0])
        draws = np.where(below, means[:, 0], means[:, 1]) + sd * rng.standard_normal((n, len(x)))
        return draws[..., None]

    def posterior_log_prob(self, theta: Array, x: Array, fidelity: str | None = None) -> Array:
        """Returns exact log posterior densities of theta (..., N, 1) given x (N, 1), shape (..., N)."""
        means, sd, log_weights = self._posterior(x)
        return _log_mixture(theta, means, sd, log_weights)

    def _posterior(self, x: Array) -> tuple[Array, float, Array]:
        """Means (N, 2), common standard deviation and log weights (N, 2) of the two components."""
        require_shape("x", x, None, 1)
        variance = self.prior_sd**2 + self.noise_sd**2
        shrinkage = self.prior_sd**2 / variance
        log_weights = np.log(self.weights) - 0.5 * (x - self.offsets) ** 2 / variance
        log_weights -= np.logaddexp(log_weights[:, :1], log_weights[:, 1:])
        return shrinkage * (x - self.offsets), self.noise_sd * shrinkage**0.5, log_weights


def _log_mixture(value: Array, means: Array, sd: float, log_weights: Array) -> Array:
    """Log density at value (..., 1) of two components, `means` and `log_weights` (..., 2); shape (...)."""
    terms = log_weights - 0.5 * ((value - means) / sd) ** 2 - np.log(sd * np.sqrt(2 * np.pi))
    return np.logaddexp(terms[..., 0], terms[..., 1])

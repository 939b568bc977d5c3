r"""The Lotka-Volterra case study of the BayesFlow 2 paper: four rates, ten noisy points of both species.

.. math:: u' = \alpha u - \beta u v, \qquad v' = -\gamma v + \delta u v, \qquad u(0) = v(0) = 1,

observed at t = 5 (10 k) / 99, k = 0, ..., 9, with additive Gaussian noise of standard deviation 0.1. Each
rate is 0.1 + 3.9 sigmoid(z) with standard normal z.
"""

from __future__ import annotations

import numpy as np

from veridical.errors import TaskError, require_shape
from veridical.tasks.base import Array, Dimension, Task
from veridical.tasks.lotka_volterra import rk4_log_counts
from veridical.tasks.priors import LogitNormal, Product

_TIMES = tuple(5 * 10 * k / 99 for k in range(10))
_NOISE_SD = 0.1
_STEPS = 50  # Runge-Kutta steps between two points: the largest error in 5,000 prior draws is 1.5e-5


class LotkaVolterraBF(Task):
    """Two species from a known start; four parameters, exact likelihood."""

    name = "lotka_volterra_bf"
    fidelities = {"ode": 1.0}  # noqa: RUF012
    dimensions = (Dimension("time", _TIMES), Dimension("species", ("prey", "predator")))

    def __init__(self) -> None:
        rate = LogitNormal(0.1, 4.0)
        self.prior = Product({"alpha": rate, "beta": rate, "gamma": rate, "delta": rate})
        self.parameters = self.prior.parameters()

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns the standard normal observation noise, (n, 10, 2)."""
        return {"observation": rng.standard_normal((n, *self.x_shape))}

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Simulates theta (N, 4), shape (N, 10, 2)."""
        if fidelity != "ode":
            raise TaskError(f"task {self.name} has no fidelity {fidelity!r}; expected ode.")
        epsilon = noise["observation"]
        require_shape("noise['observation']", epsilon, len(theta), *self.x_shape)
        return self._counts(theta) + _NOISE_SD * epsilon

    def log_likelihood(self, theta: Array, x: Array) -> Array:
        """Returns log p(x | theta) for one x (10, 2) at theta (N, 4), shape (N,)."""
        require_shape("x", x, *self.x_shape)
        squares = (((x - self._counts(theta)) / _NOISE_SD) ** 2).sum(axis=(1, 2))
        return -0.5 * squares - x.size * np.log(_NOISE_SD * np.sqrt(2 * np.pi))

    def _counts(self, theta: Array) -> Array:
        require_shape("theta", theta, None, 4)
        rates = np.ascontiguousarray(theta.T)
        gap = _TIMES[1] - _TIMES[0]
        path = rk4_log_counts(rates, np.zeros((2, len(theta))), gap / _STEPS, _STEPS, len(_TIMES) - 1)
        return np.exp(np.ascontiguousarray(path.transpose(2, 0, 1)))

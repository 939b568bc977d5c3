r"""The Lotka-Volterra task of the published benchmark: four rates, ten noisy counts of both species.

.. math:: u' = \alpha u - \beta u v, \qquad v' = -\gamma v + \delta u v, \qquad u(0) = 30, \; v(0) = 1 ,

each count log-normal around the state at t = 2.1 k, k = 0, ..., 9, with standard deviation 0.1. Logarithms of
:math:`\alpha, \gamma` are normal with mean -0.125 and standard deviation 0.5, those of :math:`\beta, \delta`
with mean -3.

References:
    | Benchmarking Simulation-Based Inference (Lueckmann et al., 2021)
    | https://arxiv.org/abs/2101.04653
"""

from __future__ import annotations

import numpy as np

from veridical.errors import DataError, TaskError, require_shape
from veridical.tasks.base import Array, Dimension, Task
from veridical.tasks.lotka_volterra import rk4_log_counts
from veridical.tasks.priors import LogNormal, Product

_TIMES = tuple(round(2.1 * k, 1) for k in range(10))
_NOISE_SD = 0.1
_STEPS = 105  # Runge-Kutta steps between two times
_LEAST_LOG = -690.0  # what float64 would round to zero is 1e-300


class LotkaVolterraCounts(Task):
    """Two species from a known start; four parameters, exact likelihood."""

    name = "lotka_volterra_counts"
    fidelities = {"ode": 1.0}  # noqa: RUF012
    dimensions = (Dimension("time", _TIMES), Dimension("species", ("prey", "predator")))
    x_dtype = "float64"

    def __init__(self) -> None:
        own, contact = LogNormal(-0.125, 0.5), LogNormal(-3.0, 0.5)
        self.prior = Product({"alpha": own, "beta": contact, "gamma": own, "delta": contact})
        self.parameters = self.prior.parameters()

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns the standard normal observation noise, (n, 10, 2)."""
        return {"observation": rng.standard_normal((n, *self.x_shape))}

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Simulates theta (N, 4), shape (N, 10, 2)."""
        if fidelity != "ode":
            raise TaskError(f"task {self.name} has no fidelity {fidelity!r}; expected ode.")
        return np.exp(np.maximum(self._log_counts(theta) + _NOISE_SD * noise["observation"], _LEAST_LOG))

    def log_likelihood(self, theta: Array, x: Array) -> Array:
        """Returns log p(x | theta) for one x (10, 2) at theta (N, 4), shape (N,).

        Raises:
            DataError: If x is not positive and finite: a log-normal density knows no other values.
        """
        require_shape("x", x, *self.x_shape)
        if not (np.isfinite(x).all() and (x > 0).all()):
            raise DataError(f"task {self.name}: expected positive finite counts, got values from {x.min()}.")
        log_x = np.log(x)
        squares = (((log_x - self._log_counts(theta)) / _NOISE_SD) ** 2).sum(axis=(1, 2))
        return -0.5 * squares - log_x.sum() - x.size * np.log(_NOISE_SD * np.sqrt(2 * np.pi))

    def _log_counts(self, theta: Array) -> Array:
        require_shape("theta", theta, None, 4)
        start = np.log(np.broadcast_to([[30.0], [1.0]], (2, len(theta))))
        gap = _TIMES[1]
        path = rk4_log_counts(np.ascontiguousarray(theta.T), start, gap / _STEPS, _STEPS, len(_TIMES) - 1)
        return np.ascontiguousarray(path.transpose(2, 0, 1))

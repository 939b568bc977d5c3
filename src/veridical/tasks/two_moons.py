r"""Two moons: a crescent of noise moved by the parameters up to a sign, so that two crescents are possible.

.. math:: x = (r \cos a + \tfrac14, \; r \sin a)
    + \tfrac{1}{\sqrt 2} (-|\theta_1 + \theta_2|, \; \theta_2 - \theta_1), \qquad
    a \sim U(-\tfrac{\pi}{2}, \tfrac{\pi}{2}), \quad r \sim N(0.1, 0.01^2), \quad \theta \sim U(-1, 1)^2 .

References:
    | Benchmarking Simulation-Based Inference (Lueckmann et al., 2021)
    | https://arxiv.org/abs/2101.04653
"""

from __future__ import annotations

import numpy as np

from veridical.errors import TaskError, require_shape
from veridical.tasks.base import Array, Dimension, Task
from veridical.tasks.priors import Product, Uniform

RADIUS, WIDTH, OFFSET = 0.1, 0.01, 0.25


class TwoMoons(Task):
    """Two parameters, two numbers, two crescents."""

    name = "two_moons"
    fidelities = {"model": 1.0}  # noqa: RUF012
    dimensions = (Dimension("feature", (0, 1)),)

    def __init__(self) -> None:
        self.prior = Product({"theta_1": Uniform(-1, 1), "theta_2": Uniform(-1, 1)})
        self.parameters = self.prior.parameters()

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns angle and radius of the place on the crescent, (n,) each."""
        return {
            "angle": rng.uniform(-np.pi / 2, np.pi / 2, n),
            "radius": RADIUS + WIDTH * rng.standard_normal(n),
        }

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Simulates theta (N, 2), shape (N, 2)."""
        if fidelity != "model":
            raise TaskError(f"task {self.name} has no fidelity {fidelity!r}; expected model.")
        require_shape("theta", theta, None, 2)
        angle, radius = noise["angle"], noise["radius"]
        place = np.stack([radius * np.cos(angle) + OFFSET, radius * np.sin(angle)], axis=1)
        return place + _moved(theta)

    def log_likelihood(self, theta: Array, x: Array) -> Array:
        """Returns log p(x | theta) for one x (2,) at theta (N, 2), shape (N,)."""
        require_shape("x", x, 2)
        away = x - _moved(theta) - np.array([OFFSET, 0.0])
        length = np.hypot(*away.T)
        with np.errstate(divide="ignore"):
            log_p = -0.5 * ((length - RADIUS) / WIDTH) ** 2 - np.log(
                length * WIDTH * np.pi * np.sqrt(2 * np.pi)
            )
        return np.where(away[:, 0] > 0, log_p, -np.inf)


def _moved(theta: Array) -> Array:
    """By how much parameters (N, 2) move the crescent, (N, 2)."""
    return np.stack([-np.abs(theta[:, 0] + theta[:, 1]), theta[:, 1] - theta[:, 0]], axis=1) / np.sqrt(2)

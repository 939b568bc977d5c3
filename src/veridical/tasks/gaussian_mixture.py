r"""A location in two dimensions under noise that is wide or narrow,

.. math:: x \sim \tfrac12 N(\theta, I) + \tfrac12 N(\theta, 0.01 \, I), \qquad \theta \sim U(-10, 10)^2 .

References:
    | Benchmarking Simulation-Based Inference (Lueckmann et al., 2021)
    | https://arxiv.org/abs/2101.04653
"""

from __future__ import annotations

import numpy as np

from veridical.errors import TaskError, require_shape
from veridical.tasks.base import Array, Dimension, Task
from veridical.tasks.priors import Product, Uniform

SDS = np.array([1.0, 0.1])


class GaussianMixture(Task):
    """Two parameters, two numbers; of posteriors a narrow peak on a wide one."""

    name = "gaussian_mixture"
    fidelities = {"model": 1.0}  # noqa: RUF012
    dimensions = (Dimension("feature", (0, 1)),)

    def __init__(self) -> None:
        self.prior = Product({"theta_1": Uniform(-10, 10), "theta_2": Uniform(-10, 10)})
        self.parameters = self.prior.parameters()

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns the component (n,) and standard normal noise (n, 2)."""
        return {"component": rng.integers(2, size=n), "observation": rng.standard_normal((n, 2))}

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Simulates theta (N, 2), shape (N, 2)."""
        if fidelity != "model":
            raise TaskError(f"task {self.name} has no fidelity {fidelity!r}; expected model.")
        require_shape("theta", theta, None, 2)
        return theta + SDS[noise["component"]][:, None] * noise["observation"]

    def log_likelihood(self, theta: Array, x: Array) -> Array:
        """Returns log p(x | theta) for one x (2,) at theta (N, 2), shape (N,)."""
        require_shape("x", x, 2)
        squares = ((x - theta) ** 2).sum(axis=1)[:, None]
        terms = -0.5 * squares / SDS**2 - np.log(2 * 2 * np.pi * SDS**2)
        return np.logaddexp(*terms.T)

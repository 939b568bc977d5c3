r"""Simple likelihood, complex posterior: four points of a normal distribution in the plane,

.. math:: m = (\theta_1, \theta_2), \quad s_1 = \theta_3^2, \quad s_2 = \theta_4^2, \quad
    \rho = \tanh \theta_5, \qquad \theta \sim U(-3, 3)^5 ,

with standard deviations s and correlation rho. Signs of :math:`\theta_3, \theta_4` leave no trace, so that
posteriors have four modes.

References:
    | Sequential Neural Likelihood (Papamakarios et al., 2019), https://arxiv.org/abs/1805.07226
    | Benchmarking Simulation-Based Inference (Lueckmann et al., 2021), https://arxiv.org/abs/2101.04653
"""

from __future__ import annotations

import numpy as np

from veridical.errors import TaskError, require_shape
from veridical.tasks.base import Array, Dimension, Task
from veridical.tasks.priors import Product, Uniform

POINTS = 4
_LEAST = 1e-6  # standard deviation: so that a density stays finite


class SLCP(Task):
    """Five parameters, eight numbers: both coordinates of one point after the other."""

    name = "slcp"
    fidelities = {"model": 1.0}  # noqa: RUF012
    dimensions = (Dimension("feature", tuple(range(2 * POINTS))),)

    def __init__(self) -> None:
        self.prior = Product({f"theta_{j}": Uniform(-3, 3) for j in range(1, 6)})
        self.parameters = self.prior.parameters()

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns standard normal noise of each point, (n, 4, 2)."""
        return {"observation": rng.standard_normal((n, POINTS, 2))}

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Simulates theta (N, 5), shape (N, 8)."""
        if fidelity != "model":
            raise TaskError(f"task {self.name} has no fidelity {fidelity!r}; expected model.")
        mean, sd, correlation, rest = _moments(theta)
        first, second = noise["observation"][..., 0], noise["observation"][..., 1]
        second = correlation[:, None] * first + rest[:, None] * second
        x = mean[:, None] + sd[:, None] * np.stack([first, second], axis=-1)
        return x.reshape(len(theta), -1)

    def log_likelihood(self, theta: Array, x: Array) -> Array:
        """Returns log p(x | theta) for one x (8,) at theta (N, 5), shape (N,)."""
        require_shape("x", x, 2 * POINTS)
        mean, sd, correlation, rest = _moments(theta)
        white = (x.reshape(POINTS, 2) - mean[:, None]) / sd[:, None]
        first, second = white[..., 0], (white[..., 1] - correlation[:, None] * white[..., 0]) / rest[:, None]
        log_volume = np.log(2 * np.pi * sd[:, 0] * sd[:, 1] * rest)
        return -0.5 * (first**2 + second**2).sum(axis=1) - POINTS * log_volume


def _moments(theta: Array) -> tuple[Array, Array, Array, Array]:
    """Mean and standard deviations (N, 2), correlation rho and sqrt(1 - rho^2) (N,) of theta (N, 5)."""
    require_shape("theta", theta, None, 5)
    return (
        theta[:, :2],
        np.maximum(theta[:, 2:4] ** 2, _LEAST),
        np.tanh(theta[:, 4]),
        1 / np.cosh(theta[:, 4]),
    )

r"""Simple likelihood, complex posterior: four points of a normal distribution in the plane,

.. math:: m = (\theta_1, \theta_2), \quad s_1 = \theta_3^2, \quad s_2 = \theta_4^2, \quad
    \rho = \tanh \theta_5, \qquad \theta \sim U(-3, 3)^5 ,

with standard deviations s and correlation rho. Signs of :math:`\theta_3, \theta_4` leave no trace, so that
posteriors have four modes. Where `real_noise_sd` is set there is a level `real`, at which the last point has
independent noise of that standard deviation beside its own: with five points and 100 the contaminated task.

References:
    | Sequential Neural Likelihood (Papamakarios et al., 2019), https://arxiv.org/abs/1805.07226
    | Benchmarking Simulation-Based Inference (Lueckmann et al., 2021), https://arxiv.org/abs/2101.04653
    | Misspecification-robust Sequential Neural Likelihood (Kelly et al., 2023)
    | https://arxiv.org/abs/2301.13368
"""

from __future__ import annotations

import numpy as np

from veridical.errors import TaskError, require_shape
from veridical.tasks.base import Array, Dimension, Task, require_severity
from veridical.tasks.priors import Product, Uniform

POINTS = 4
_LEAST = 1e-6  # standard deviation: so that a density stays finite


class SLCP(Task):
    """Five parameters, two numbers for each point: both coordinates of one point after the other.

    Arguments:
        points: How many points.
        real_noise_sd: Standard deviation of further noise of the last point at the level `real`, which is
            there only where this is given.
        severity: The share of it, from 0 (the simulator is right) to 1.
    """

    name = "slcp"
    of_nature = ("severity",)

    def __init__(
        self, points: int = POINTS, real_noise_sd: float | None = None, severity: float = 1.0
    ) -> None:
        if points < 1 or (real_noise_sd is not None and not real_noise_sd > 0):
            raise TaskError(
                f"task {self.name}: expected points >= 1 and a positive real_noise_sd, got {points} and "
                f"{real_noise_sd}."
            )
        if real_noise_sd is None and severity != 1:
            raise TaskError(
                f"task {self.name}: a severity needs a real_noise_sd, without which nature is right."
            )
        self.points, self.severity = points, require_severity(self.name, severity)
        self.real_noise_sd = self.severity * (real_noise_sd or 0.0)
        self.fidelities = {"model": 1.0} if real_noise_sd is None else {"model": 1.0, "real": 100.0}
        self.dimensions = (Dimension("feature", tuple(range(2 * points))),)
        self.prior = Product({f"theta_{j}": Uniform(-3, 3) for j in range(1, 6)})
        self.parameters = self.prior.parameters()

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns standard normal noise of each point, (n, points, 2), and where there is a level `real` more
        for the last, (n, 2).
        """
        noise = {"observation": rng.standard_normal((n, self.points, 2))}
        if "real" in self.fidelities:
            noise["contamination"] = rng.standard_normal((n, 2))
        return noise

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Simulates theta (N, 5), shape (N, 2 points)."""
        if fidelity not in self.fidelities:
            known = ", ".join(self.fidelities)
            raise TaskError(f"task {self.name} has no fidelity {fidelity!r}; expected {known}.")
        mean, sd, correlation, rest = _moments(theta)
        first, second = noise["observation"][..., 0], noise["observation"][..., 1]
        second = correlation[:, None] * first + rest[:, None] * second
        x = mean[:, None] + sd[:, None] * np.stack([first, second], axis=-1)
        if fidelity == "real":
            x[:, -1] += self.real_noise_sd * noise["contamination"]
        return x.reshape(len(theta), -1)

    def log_likelihood(self, theta: Array, x: Array) -> Array:
        """Returns the simulator's log p(x | theta) for one x (2 points,) at theta (N, 5), shape (N,)."""
        require_shape("x", x, *self.x_shape)
        mean, sd, correlation, rest = _moments(theta)
        white = (x.reshape(self.points, 2) - mean[:, None]) / sd[:, None]
        first, second = white[..., 0], (white[..., 1] - correlation[:, None] * white[..., 0]) / rest[:, None]
        log_volume = np.log(2 * np.pi * sd[:, 0] * sd[:, 1] * rest)
        return -0.5 * (first**2 + second**2).sum(axis=1) - self.points * log_volume


def _moments(theta: Array) -> tuple[Array, Array, Array, Array]:
    """Mean and standard deviations (N, 2), correlation rho and sqrt(1 - rho^2) (N,) of theta (N, 5)."""
    require_shape("theta", theta, None, 5)
    return (
        theta[:, :2],
        np.maximum(theta[:, 2:4] ** 2, _LEAST),
        np.tanh(theta[:, 4]),
        1 / np.cosh(theta[:, 4]),
    )

r"""The centre of a cloud of points in the plane; nature's points scatter more, or some have no centre.

.. math:: \mu \sim N(0, I_2), \qquad x_k \sim N(\mu, I_2), \; k = 1, \dots, n, \qquad
    \mu \mid x \sim N\!\left(\frac{n \bar x}{n + 1}, \frac{1}{n + 1} I_2\right) .

At the level `real` and severity s

- the points have the covariance (1 + 9 s) I (`wrong: scale`); with the variance v of the points the posterior
  has the mean :math:`n \bar x / (n + v)` and the variance v / (n + v);
- or a share 0.5 s of them, at random places, is :math:`3 (B - 2 / 7)` with independent coordinates
  :math:`B \sim \mathrm{Beta}(2, 5)`, whatever the centre is (`wrong: noise`); no posterior is known.

References:
    | Detecting Model Misspecification in Amortized Bayesian Inference with Neural Networks (Schmitt et al.,
    | 2023), https://arxiv.org/abs/2112.08866: the means of its Gaussian, without its misspecified priors
"""

from __future__ import annotations

import numpy as np

from veridical.errors import TaskError, require_shape
from veridical.tasks.base import Array, Dimension, require_severity
from veridical.tasks.known_variance import KnownVariance, log_normal
from veridical.tasks.priors import Normal, Product

WRONG = ("scale", "noise")
REPLACED = 0.5
_BETA = (2.0, 5.0)


class GaussianCloud(KnownVariance):
    """Two coordinates of a centre from n exchangeable points.

    Arguments:
        points: n, the points in one row of data.
        wrong: What the level `real` departs in: `scale` or `noise`.
        severity: How far it does so, from 0 (the simulator is right) to 1.
    """

    name = "gaussian_cloud"
    of_nature = ("severity",)
    wrong_variance, real_variance = "scale", 10.0

    def __init__(self, points: int = 100, wrong: str = "scale", severity: float = 1.0) -> None:
        if points < 1:
            raise TaskError(f"task {self.name}: expected points >= 1, got {points}.")
        if wrong not in WRONG:
            raise TaskError(
                f"task {self.name}: expected wrong to be one of {', '.join(WRONG)}, got {wrong!r}."
            )
        self.prior = Product({"mean_x": Normal(0.0, 1.0), "mean_y": Normal(0.0, 1.0)})
        self.parameters = self.prior.parameters()
        self.points, self.wrong = points, wrong
        self.severity = require_severity(self.name, severity)
        self.dimensions = (
            Dimension("point", tuple(range(points)), kind="exchangeable"),
            Dimension("axis", ("x", "y")),
        )

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns the standardised points and what may replace them, (n, points, 2), and in which order that
        happens, (n, points).
        """
        shape = (n, self.points, 2)
        return {
            "observation": rng.standard_normal(shape),
            "replacement": 3 * (rng.beta(*_BETA, shape) - _BETA[0] / sum(_BETA)),
            "order": rng.random(shape[:2]).argsort(axis=1),
        }

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Simulates theta (N, 2), shape (N, points, 2)."""
        self._level(fidelity)
        require_shape("theta", theta, None, 2)
        if fidelity == "real" and self.wrong == "scale":
            return theta[:, None] + np.sqrt(self._variance(fidelity)) * noise["observation"]
        x = theta[:, None] + noise["observation"]
        if fidelity == "model":
            return x
        replaced = noise["order"] < round(REPLACED * self.severity * self.points)
        return np.where(replaced[..., None], noise["replacement"], x)

    def log_likelihood(self, theta: Array, x: Array) -> Array:
        """Returns the simulator's log p(x | theta) for one x (points, 2) at theta (N, 2), shape (N,)."""
        require_shape("x", x, *self.x_shape)
        return log_normal(x - theta[:, None], 1.0).sum(axis=1)

    def _posterior(self, x: Array, variance: float) -> tuple[Array, float]:
        require_shape("x", x, None, *self.x_shape)
        return x.sum(axis=1) / (self.points + variance), variance / (self.points + variance)

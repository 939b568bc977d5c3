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
from veridical.tasks.base import Array, Dimension, Task, require_severity
from veridical.tasks.priors import Normal, Product

WRONG = ("scale", "noise")
REAL_VARIANCE = 10.0
REPLACED = 0.5
_BETA = (2.0, 5.0)


class GaussianCloud(Task):
    """Two coordinates of a centre from n exchangeable points.

    Arguments:
        points: n, the points in one row of data.
        wrong: What the level `real` departs in: `scale` or `noise`.
        severity: How far it does so, from 0 (the simulator is right) to 1.
    """

    name = "gaussian_cloud"
    fidelities = {"model": 1.0, "real": 100.0}  # noqa: RUF012

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
        return _log_normal(x - theta[:, None], 1.0).sum(axis=1)

    @property
    def has_posterior(self) -> bool:
        """Whether the posterior is known at both levels: where no point is replaced."""
        return self.wrong == "scale"

    def posterior_sample(
        self, x: Array, rng: np.random.Generator, n: int, fidelity: str | None = None
    ) -> Array:
        """Returns exact posterior draws for x (N, points, 2) of one level, shape (n, N, 2)."""
        means, variance = self._posterior(x, fidelity)
        return means + np.sqrt(variance) * rng.standard_normal((n, *means.shape))

    def posterior_log_prob(self, theta: Array, x: Array, fidelity: str | None = None) -> Array:
        """Returns exact log densities of theta (..., N, 2) given x (N, points, 2) of one level, (..., N)."""
        means, variance = self._posterior(x, fidelity)
        return _log_normal(theta - means, variance)

    def _posterior(self, x: Array, fidelity: str | None) -> tuple[Array, float]:
        """Means (N, 2) and variance of the posteriors given x (N, points, 2)."""
        require_shape("x", x, None, *self.x_shape)
        variance = self._variance(self._level(fidelity))
        return x.sum(axis=1) / (self.points + variance), variance / (self.points + variance)

    def _variance(self, fidelity: str) -> float:
        """The variance of the points at a level.

        Raises:
            NotImplementedError: If some of them are others.
        """
        if fidelity == "model":
            return 1.0
        if not self.has_posterior:
            raise NotImplementedError(f"task {self.name} has no exact posterior at the level real.")
        return 1 + self.severity * (REAL_VARIANCE - 1)

    def _level(self, fidelity: str | None) -> str:
        if (fidelity or "model") not in self.fidelities:
            raise TaskError(f"task {self.name} has no fidelity {fidelity!r}; expected model, real.")
        return fidelity or "model"


def _log_normal(residuals: Array, variance: float) -> Array:
    """Log densities of independent normal residuals (..., 2), shape (...)."""
    return -0.5 * (residuals**2).sum(axis=-1) / variance - np.log(2 * np.pi * variance)

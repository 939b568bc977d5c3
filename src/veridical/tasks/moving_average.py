r"""A moving average of order one, from two summaries; nature has a volatility of its own and no memory.

.. math:: y_t = w_t + \theta w_{t-1}, \qquad w_t \sim N(0, 1), \qquad \theta \sim U(-1, 1), \qquad
    t = 1, \dots, 100 .

Data are the mean square :math:`\frac1n \sum_t y_t^2` and the autocovariance
:math:`\frac1n \sum_t y_t y_{t-1}` at lag one, with the expectations :math:`1 + \theta^2` and
:math:`\theta (n - 1) / n`. At the level `real` and severity s

.. math:: y_t = e_t + (1 - s) \, \theta \, e_{t-1}, \qquad e_t = e^{s h_t / 2} w_t, \qquad
    h_t = -0.736 + 0.9 \, h_{t-1} + 0.36 \, v_t, \qquad v_t \sim N(0, 1),

with h in its stationary state: at severity 1 the stochastic volatility model, whose data do not depend on
theta, so that the value of theta that explains them best is 0.

References:
    | Misspecification-robust Sequential Neural Likelihood (Kelly et al., 2023)
    | https://arxiv.org/abs/2301.13368
"""

from __future__ import annotations

import numpy as np

from veridical.errors import TaskError, require_shape
from veridical.tasks.base import Array, Dimension, Task, require_severity
from veridical.tasks.priors import Product, Uniform

LENGTH = 100
SUMMARIES = ("mean_square", "autocovariance")
LEVEL, PERSISTENCE, VOLATILITY = -0.736, 0.9, 0.36  # of the logarithm of the variance


class MovingAverage(Task):
    """One parameter, two summaries of a series.

    Arguments:
        severity: s, from 0 (the simulator is right) to 1.
    """

    name = "moving_average"
    of_nature = ("severity",)
    fidelities = {"model": 1.0, "real": 100.0}  # noqa: RUF012
    prior = Product({"theta": Uniform(-1.0, 1.0)})
    parameters = prior.parameters()
    dimensions = (Dimension("summary", SUMMARIES),)

    def __init__(self, severity: float = 1.0) -> None:
        self.severity = require_severity(self.name, severity)

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns the standard normal numbers w and v, each with one before the series, (n, 101)."""
        shape = (n, LENGTH + 1)
        return {"observation": rng.standard_normal(shape), "volatility": rng.standard_normal(shape)}

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Simulates theta (N, 1), shape (N, 2)."""
        if fidelity not in self.fidelities:
            raise TaskError(f"task {self.name} has no fidelity {fidelity!r}; expected model, real.")
        require_shape("theta", theta, None, 1)
        shocks = noise["observation"]
        if fidelity == "real":
            shocks = np.exp(0.5 * self.severity * _log_variance(noise["volatility"])) * shocks
            theta = (1 - self.severity) * theta
        series = shocks[:, 1:] + theta * shocks[:, :-1]
        return (
            np.stack([(series**2).sum(axis=1), (series[:, 1:] * series[:, :-1]).sum(axis=1)], axis=1) / LENGTH
        )


def _log_variance(v: Array) -> Array:
    """The logarithm h of the variance at each time, (N, T), for standard normal v (N, T)."""
    h = np.empty_like(v)
    h[:, 0] = LEVEL / (1 - PERSISTENCE) + VOLATILITY / np.sqrt(1 - PERSISTENCE**2) * v[:, 0]
    for t in range(1, v.shape[1]):
        h[:, t] = LEVEL + PERSISTENCE * h[:, t - 1] + VOLATILITY * v[:, t]
    return h

r"""A process that returns to a mean, in many realisations; some of nature's run away from it.

.. math:: x_{t+1} = x_t + \theta_1 (e^{\theta_2} - x_t) \, \delta + 0.5 \sqrt{\delta} \, w_t, \qquad
    w_t \sim N(0, 1), \quad x_0 = 10, \qquad \theta \sim U(0, 2) \times U(-2, 2) ,

an Ornstein-Uhlenbeck process in steps of Euler and Maruyama. One row of data holds 100 independent
realisations of 25 values, the first of which is 10. At the level `real` and severity s the share 0.2 s of
these, the last ones, has :math:`\theta = (-0.5, 1)`, whatever the parameters of the others are.

References:
    | Learning Robust Statistics for Simulation-based Inference under Model Misspecification
    | (Huang et al., 2023), https://arxiv.org/abs/2305.15871 (whose programs have a step of 5/26)
"""

from __future__ import annotations

import numpy as np

from veridical.errors import TaskError, require_shape
from veridical.tasks.base import Array, Dimension, Task, require_severity
from veridical.tasks.priors import Product, Uniform

VALUES, START = 25, 10.0
NOISE = 0.5
CONTAMINATED, CONTAMINANT = 0.2, (-0.5, 1.0)


class MeanReversion(Task):
    """Rate and log mean of an Ornstein-Uhlenbeck process from realisations, with an exact likelihood.

    Arguments:
        realisations: How many series one row of data holds.
        step: Time from one value to the next.
        severity: s, from 0 (the simulator is right) to 1.
    """

    name = "mean_reversion"
    of_nature = ("severity",)
    fidelities = {"model": 1.0, "real": 100.0}  # noqa: RUF012
    prior = Product({"rate": Uniform(0.0, 2.0), "log_mean": Uniform(-2.0, 2.0)})
    parameters = prior.parameters()

    def __init__(self, realisations: int = 100, step: float = 0.2, severity: float = 1.0) -> None:
        if not (realisations >= 1 and step > 0):
            raise TaskError(
                f"task {self.name}: expected realisations >= 1 and a positive step, got {realisations} and "
                f"{step}."
            )
        self.step, self.severity = step, require_severity(self.name, severity)
        self.dimensions = (
            Dimension("realisation", tuple(range(realisations)), kind="exchangeable"),
            Dimension("time", tuple((step * np.arange(VALUES)).tolist()), kind="series"),
        )

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns a standard normal number for each step, (n, realisations, 24)."""
        return {"steps": rng.standard_normal((n, self.x_shape[0], VALUES - 1))}

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Simulates theta (N, 2), shape (N, realisations, 25)."""
        if fidelity not in self.fidelities:
            raise TaskError(f"task {self.name} has no fidelity {fidelity!r}; expected model, real.")
        require_shape("theta", theta, None, 2)
        each = np.repeat(theta[:, None], self.x_shape[0], axis=1)
        if fidelity == "real":
            each[:, self.x_shape[0] - round(CONTAMINATED * self.severity * self.x_shape[0]) :] = CONTAMINANT
        rate, mean = each[..., 0], np.exp(each[..., 1])
        x = np.empty((len(theta), *self.x_shape))
        x[..., 0] = START
        for t in range(1, VALUES):
            drift = rate * (mean - x[..., t - 1]) * self.step
            x[..., t] = x[..., t - 1] + drift + NOISE * np.sqrt(self.step) * noise["steps"][..., t - 1]
        return x

    def log_likelihood(self, theta: Array, x: Array) -> Array:
        """Returns the simulator's log p(x | theta), given the first values, for one x (realisations, 25) at
        theta (N, 2), shape (N,).

        With mean m, rate k and step d the steps :math:`x_{t+1} - x_t` are normal with mean k d (m - x_t).
        """
        require_shape("x", x, *self.x_shape)
        require_shape("theta", theta, None, 2)
        before, steps = x[:, :-1].ravel(), np.diff(x, axis=1).ravel()
        gain, mean, variance = theta[:, 0] * self.step, np.exp(theta[:, 1]), NOISE**2 * self.step
        squares = (steps**2).sum() - 2 * gain * (mean * steps.sum() - (before * steps).sum())
        squares = squares + gain**2 * (steps.size * mean**2 - 2 * mean * before.sum() + (before**2).sum())
        return -0.5 * (squares / variance + steps.size * np.log(2 * np.pi * variance))

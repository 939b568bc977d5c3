r"""A population with overcompensation, counted in many realisations; some of nature's have other parameters.

.. math:: N_t = \exp(r + \log N_{t-1} - N_{t-1} + 0.3 \, e_t), \quad e_t \sim N(0, 1), \quad N_0 = 1, \qquad
    Y_t \sim \mathrm{Poisson}(\varphi N_t), \quad t = 1, \dots, 100 ,

with log growth rate :math:`r \sim U(2, 8)` and scale :math:`\varphi \sim U(0, 20)`. One row of data holds 100
independent realisations. At the level `real` and severity s the share 0.2 s of these, the last ones, has
:math:`r = 4, \varphi = 100`, whatever the parameters of the others are.

Counts are quantiles of uniform numbers, so that both levels share their randomness.

References:
    | Learning Robust Statistics for Simulation-based Inference under Model Misspecification
    | (Huang et al., 2023), https://arxiv.org/abs/2305.15871
"""

from __future__ import annotations

import numpy as np

from veridical.errors import TaskError, require_shape
from veridical.tasks.base import Array, Dimension, Task, require_severity
from veridical.tasks.cancer_stromal import poisson_quantile
from veridical.tasks.priors import Product, Uniform

TIMES = 100
PROCESS_SD = 0.3
CONTAMINATED, CONTAMINANT = 0.2, (4.0, 100.0)


class Ricker(Task):
    """Growth rate and scale of counts from realisations of a Ricker map.

    Arguments:
        realisations: How many series one row of data holds.
        severity: s, from 0 (the simulator is right) to 1.
    """

    name = "ricker"
    of_nature = ("severity",)
    fidelities = {"model": 1.0, "real": 100.0}  # noqa: RUF012
    prior = Product({"growth": Uniform(2.0, 8.0), "scale": Uniform(0.0, 20.0)})
    parameters = prior.parameters()
    block_rows = 100

    def __init__(self, realisations: int = 100, severity: float = 1.0) -> None:
        if realisations < 1:
            raise TaskError(f"task {self.name}: expected realisations >= 1, got {realisations}.")
        self.severity = require_severity(self.name, severity)
        self.dimensions = (
            Dimension("realisation", tuple(range(realisations)), kind="exchangeable"),
            Dimension("time", tuple(range(1, TIMES + 1)), kind="series"),
        )

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns normal numbers of the process and uniform ones of the counts, (n, realisations, 100)."""
        shape = (n, *self.x_shape)
        return {"process": rng.standard_normal(shape), "counts": rng.random(shape)}

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Simulates theta (N, 2), shape (N, realisations, 100)."""
        if fidelity not in self.fidelities:
            raise TaskError(f"task {self.name} has no fidelity {fidelity!r}; expected model, real.")
        require_shape("theta", theta, None, 2)
        each = np.repeat(theta[:, None], self.x_shape[0], axis=1)
        if fidelity == "real":
            each[:, self.x_shape[0] - round(CONTAMINATED * self.severity * self.x_shape[0]) :] = CONTAMINANT
        log_size, sizes = np.zeros(each.shape[:2]), np.empty_like(noise["process"])
        for t in range(TIMES):
            log_size = each[..., 0] + log_size - np.exp(log_size) + PROCESS_SD * noise["process"][..., t]
            sizes[..., t] = np.exp(log_size)
        means, u = each[..., 1:] * sizes, noise["counts"]
        counts = np.zeros_like(u)
        some = u > np.exp(-means)
        counts[some] = poisson_quantile(u[some], means[some])
        return counts

r"""An epidemic of susceptible, infected and recovered people, seen in samples of 1,000 on ten days.

.. math:: S' = - \beta S I / N, \qquad I' = \beta S I / N - \gamma I, \qquad
    x_k \sim \mathrm{Binomial}(1000, I(17 k) / N), \quad k = 0, ..., 9 ,

with N = 1,000,000, one infected at the start, log-normal contact rate beta (median 0.4 a day, 0.5) and
recovery rate gamma (median 1/8, 0.2).

References:
    | Benchmarking Simulation-Based Inference (Lueckmann et al., 2021)
    | https://arxiv.org/abs/2101.04653
"""

from __future__ import annotations

import numpy as np
from scipy.special import bdtr, bdtrik, gammaln

from veridical.errors import TaskError, require_shape
from veridical.tasks.base import Array, Dimension, Task
from veridical.tasks.priors import LogNormal, Product

PEOPLE, TESTED, DAYS = 1e6, 1000, tuple(range(0, 154, 17))
_STEPS = 34  # Runge-Kutta steps between two days of tests
_LEAST = 1e-15  # share of infected people: far below what 1,000 tests see


class SIR(Task):
    """Two parameters, ten counts."""

    name = "sir"
    fidelities = {"ode": 1.0}  # noqa: RUF012
    dimensions = (Dimension("day", DAYS, "d"),)
    x_unit = "of 1,000"

    def __init__(self) -> None:
        contact, recovery = LogNormal(float(np.log(0.4)), 0.5), LogNormal(float(np.log(1 / 8)), 0.2)
        self.prior = Product({"beta": contact, "gamma": recovery})
        self.parameters = self.prior.parameters({"beta": "1/d", "gamma": "1/d"})

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns a uniform number for each count, (n, 10)."""
        return {"counts": rng.random((n, len(DAYS)))}

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Simulates theta (N, 2), shape (N, 10)."""
        if fidelity != "ode":
            raise TaskError(f"task {self.name} has no fidelity {fidelity!r}; expected ode.")
        u, share = noise["counts"], self._infected(theta)
        counts = np.ceil(bdtrik(u, TESTED, share))  # the quantile, up to rounding
        below = np.maximum(counts - 1, 0)
        return np.where(bdtr(below, TESTED, share) >= u, below, counts)

    def log_likelihood(self, theta: Array, x: Array) -> Array:
        """Returns log p(x | theta) for one x (10,) at theta (N, 2), shape (N,)."""
        require_shape("x", x, len(DAYS))
        share = self._infected(theta)
        ways = gammaln(TESTED + 1) - gammaln(x + 1) - gammaln(TESTED - x + 1)
        return (ways + x * np.log(share) + (TESTED - x) * np.log1p(-share)).sum(axis=1)

    def _infected(self, theta: Array) -> Array:
        """Shares of infected people on the days of tests, (N, 10)."""
        require_shape("theta", theta, None, 2)
        beta, gamma = np.ascontiguousarray(theta.T)
        step = (DAYS[1] - DAYS[0]) / _STEPS

        def rates(state: Array) -> Array:
            new = beta * state[0] * state[1]
            return np.stack([-new, new - gamma * state[1]])

        state = np.stack([np.full_like(beta, 1 - 1 / PEOPLE), np.full_like(beta, 1 / PEOPLE)])
        found = [state[1]]
        for _ in DAYS[1:]:
            for _ in range(_STEPS):
                k1 = rates(state)
                k2 = rates(state + step / 2 * k1)
                k3 = rates(state + step / 2 * k2)
                k4 = rates(state + step * k3)
                state = state + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
            found.append(state[1])
        return np.clip(np.stack(found, axis=1), _LEAST, 1 - 1e-12)

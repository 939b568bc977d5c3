r"""A genetic toggle switch: two genes that repress each other, one of them measured in some cells.

In each cell u = v = 10 at the start, and in each of T steps

.. math:: u' \sim \mathrm{TN}\Big(u + \frac{\alpha_1}{1 + v^{\beta_1}} - (1 + 0.03 u), \; 0.5\Big) , \qquad
    v' \sim \mathrm{TN}\Big(v + \frac{\alpha_2}{1 + u^{\beta_2}} - (1 + 0.03 v), \; 0.5\Big) ,

where :math:`\mathrm{TN}(m, s)` is a normal distribution of mean m and standard deviation s, truncated to
positive values. What is seen of a cell is

.. math:: x \sim \mathrm{TN}(\mu + u_T, \; \mu \sigma / u_T^\gamma) .

Priors are uniform: :math:`\alpha_1, \alpha_2 \in [0.01, 50]`, :math:`\beta_1, \beta_2 \in [0.01, 5]`,
:math:`\mu \in [250, 450]`, :math:`\sigma \in [0.01, 0.5]`, :math:`\gamma \in [0.01, 0.4]`.

Fidelities are T = 50, 80 and 300, at costs in proportion. A draw of TN(m, s) is
:math:`m - s \Phi^{-1}(w \Phi(m / s))` of a uniform number w. Levels share those of the last steps, for what
was before is forgotten at the rate of 0.03 a step, and those of what is seen.

References:
    | Bayesian learning from marginal data in bionetwork models (Bonassi, You, West, 2011)
    | https://doi.org/10.2202/1544-6115.1684
    | Multilevel neural simulation-based inference (Hikida et al., 2025)
    | https://arxiv.org/abs/2506.06087
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

from veridical.errors import TaskError, require_shape
from veridical.tasks.base import Array, Dimension, Task
from veridical.tasks.priors import Product, Uniform

RANGES = {
    "alpha_1": (0.01, 50.0),
    "alpha_2": (0.01, 50.0),
    "beta_1": (0.01, 5.0),
    "beta_2": (0.01, 5.0),
    "mu": (250.0, 450.0),
    "sigma": (0.01, 0.5),
    "gamma": (0.01, 0.4),
}
STEPS = {"t50": 50, "t80": 80, "t300": 300}
START, DECAY, LOSS, SPREAD = 10.0, 0.03, 1.0, 0.5
_MOST = max(STEPS.values())


class ToggleSwitch(Task):
    """Seven parameters of a toggle switch from measurements of some cells.

    Arguments:
        cells: How many are measured, in any order.
    """

    name = "toggle_switch"
    fidelities = {level: steps / STEPS["t50"] for level, steps in STEPS.items()}  # noqa: RUF012
    block_rows = 200  # 10 MB of random numbers

    def __init__(self, cells: int = 10) -> None:
        if isinstance(cells, bool) or not isinstance(cells, int) or cells < 1:
            raise TaskError(f"task {self.name}: expected a whole number cells >= 1, got {cells!r}.")
        self.dimensions = (Dimension("cell", tuple(range(cells)), kind="exchangeable"),)
        self.prior = Product({name: Uniform(*ends) for name, ends in RANGES.items()})
        self.parameters = self.prior.parameters()

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns uniform numbers of both genes in each step of each cell, (n, C, 300, 2), and of what is
        seen of it, (n, C).
        """
        (cells,) = self.x_shape
        return {"steps": rng.random((n, cells, _MOST, 2)), "seen": rng.random((n, cells))}

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Simulates theta (N, 7), shape (N, C)."""
        u = self.states(theta, noise, fidelity)[..., 0]
        mu, sigma, gamma = (theta[:, k, None] for k in (4, 5, 6))
        return truncated_normal(mu + u, mu * sigma / u**gamma, 1 - noise["seen"])

    def states(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Returns u and v of each cell after the steps of one level at theta (N, 7), shape (N, C, 2)."""
        if fidelity not in STEPS:
            raise TaskError(f"task {self.name} has no fidelity {fidelity!r}; expected {', '.join(STEPS)}.")
        require_shape("theta", theta, None, len(RANGES))
        require_shape("noise['steps']", noise["steps"], len(theta), *self.x_shape, _MOST, 2)
        steps = noise["steps"][:, :, _MOST - STEPS[fidelity] :].transpose(2, 3, 0, 1)
        numbers = 1 - np.ascontiguousarray(steps)  # above zero
        alphas, betas = np.ascontiguousarray(theta.T)[:4, :, None].reshape(2, 2, -1, 1)
        powers = [np.repeat(beta, numbers.shape[3], axis=1) for beta in betas]
        u, v = np.full(numbers.shape[1:], START)
        for w_u, w_v in numbers:
            u, v = (
                _next(u, alphas[0] / (1 + v ** powers[0]), w_u),
                _next(v, alphas[1] / (1 + u ** powers[1]), w_v),
            )
        return np.stack([u, v], axis=-1)


def _next(state: Array, supply: Array, w: Array) -> Array:
    """One gene after a step."""
    return truncated_normal(state + supply - (LOSS + DECAY * state), SPREAD, w)


def truncated_normal(mean: Array, sd: Array | float, w: Array) -> Array:
    """Returns the values above which a share w in (0, 1] of a normal distribution, truncated to positive
    values, lies.
    """
    found = mean - sd * ndtri(w * ndtr(mean / sd))
    return np.maximum(found, np.finfo(float).tiny)

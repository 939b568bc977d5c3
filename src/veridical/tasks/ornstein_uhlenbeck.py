r"""The Ornstein-Uhlenbeck process at ten times, with a crude level that forgets the order of time.

.. math:: dX = \gamma (\mu - X) dt + \sigma dW, \qquad X_1 \sim N(\mu + 3, 1), \qquad t = 1, \dots, 10 .

Fidelities: `hf` draws the exact transitions

.. math:: X_{t+1} \mid X_t \sim N(\mu + a (X_t - \mu), s^2), \qquad
    a = e^{-\gamma}, \quad s^2 = \sigma^2 \frac{1 - a^2}{2 \gamma} ,

and `lf` ten independent draws of :math:`N(\mu, v)`: with two parameters (gamma = 1/2) :math:`v = \sigma^2`,
with three the stationary :math:`v = \sigma^2 / (2 \gamma)`. The same ten standard normal numbers drive
both, one for each time. Priors are uniform.

Exact posterior: at given sigma and gamma both likelihoods are Gaussian in mu,
:math:`\log L = -\frac12 (C - 2 B \mu + A \mu^2) + c`, so that with the box :math:`[l, u]` of mu

.. math:: \int_l^u L \, d\mu = e^{c - (C - B^2 / A) / 2} \sqrt{2 \pi / A}
    \, [\Phi(\sqrt A (u - B / A)) - \Phi(\sqrt A (l - B / A))] ,

and only sigma and gamma are left to sum over: by Gauss-Legendre quadrature for the evidence, by cells of
a fine grid for draws.

References:
    | Multifidelity Simulation-based Inference for Expensive Simulators (Krouglova et al., 2026)
    | https://arxiv.org/abs/2502.08416
    | Multilevel neural simulation-based inference (Hikida et al., 2025)
    | https://arxiv.org/abs/2506.06087
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from scipy.special import log_ndtr, logsumexp, ndtri_exp

from veridical.errors import TaskError, require_shape
from veridical.tasks.base import Array, Dimension, Task
from veridical.tasks.priors import Product, Uniform

TIMES = 10
START = 3.0  # how far above mu the process starts on average
GAMMA = 0.5  # where gamma is no parameter
RANGES = {"mu": (0.1, 3.0), "sigma": (0.1, 0.6), "gamma": (0.1, 1.0)}
GRID = {"mu": 120, "sigma": 80}  # cells of `grid`
CELLS = {"sigma": 400, "gamma": 120}  # cells of the grid behind exact draws
NODES = 64  # of the quadrature for the evidence, per parameter

_LOG_TAU = np.log(2 * np.pi)


class OrnsteinUhlenbeck(Task):
    """Mean, noise and, with three parameters, rate of an Ornstein-Uhlenbeck process.

    Arguments:
        parameters: 2 for mu and sigma, gamma being 1/2; 3 for all of them.
    """

    name = "ornstein_uhlenbeck"
    fidelities = {"lf": 1.0, "hf": 100.0}  # noqa: RUF012
    dimensions = (Dimension("time", tuple(range(1, TIMES + 1))),)

    def __init__(self, parameters: int = 2) -> None:
        if parameters not in (2, 3):
            raise TaskError(f"task {self.name}: expected parameters 2 or 3, got {parameters!r}.")
        names = list(RANGES)[:parameters]
        self.prior = Product({name: Uniform(*RANGES[name]) for name in names})
        self.parameters = self.prior.parameters()

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns one standard normal number for each time, (n, 10)."""
        return {"steps": rng.standard_normal((n, TIMES))}

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Simulates theta (N, D), shape (N, 10)."""
        require_shape("theta", theta, None, len(self.parameters))
        z = noise["steps"]
        require_shape("noise['steps']", z, len(theta), TIMES)
        mu, sigma, gamma = self._columns(theta)
        if self._level(fidelity) == "lf":
            return mu[:, None] + np.sqrt(self._low_variance(sigma, gamma))[:, None] * z
        keep, variance = _transition(sigma, gamma)
        sd = np.sqrt(variance)
        x = np.empty_like(z)
        x[:, 0] = mu + START + z[:, 0]
        for t in range(1, TIMES):
            x[:, t] = mu + keep * (x[:, t - 1] - mu) + sd * z[:, t]
        return x

    def log_likelihood(self, theta: Array, x: Array) -> Array:
        """Returns log p(x | theta) at fidelity `hf` for one x (10,) at theta (N, D), shape (N,)."""
        require_shape("theta", theta, None, len(self.parameters))
        require_shape("x", x, TIMES)
        return self._log_likelihood(theta, np.asarray(x, float)[None], "hf")

    def posterior_log_prob(self, theta: Array, x: Array, fidelity: str | None = None) -> Array:
        """Returns exact log posterior densities of theta (..., N, D) given x (N, 10) of one level, shape
        (..., N); -inf outside the prior's box.
        """
        x = np.asarray(x, float)
        require_shape("x", x, None, TIMES)
        theta = np.asarray(theta, float)
        require_shape("theta", theta, *[None] * (theta.ndim - 2), len(x), len(self.parameters))
        log_prior = self.prior.log_prob(theta.reshape(-1, theta.shape[-1])).reshape(theta.shape[:-1])
        inside = np.isfinite(log_prior)
        level = self._level(fidelity)
        log_p = self._log_likelihood(np.where(inside[..., None], theta, self.bounds.mean(axis=1)), x, level)
        return np.where(inside, log_p + log_prior - self.log_evidence(x, level), -np.inf)

    def posterior_sample(
        self, x: Array, rng: np.random.Generator, n: int, fidelity: str | None = None
    ) -> Array:
        """Returns exact posterior draws for x (N, 10) of one level, shape (n, N, D).

        Sigma and gamma are uniform within a cell of a fine grid that is drawn by its mass; mu given both
        is exact.
        """
        x = np.asarray(x, float)
        require_shape("x", x, None, TIMES)
        level, draws = self._level(fidelity), np.empty((n, len(x), len(self.parameters)))
        centres, widths = self._cells
        for i, row in enumerate(x):
            log_mass, *_ = self._without_mu(row[None], centres, level)
            cumulative = np.cumsum(np.exp(log_mass - log_mass.max()))
            chosen = np.searchsorted(cumulative, rng.random(n) * cumulative[-1], side="right")
            rest = centres[chosen] + widths * (rng.random((n, len(widths))) - 0.5)
            draws[:, i, 1:] = rest
            draws[:, i, 0] = self._draw_mu(row, rest, level, rng.random(n))
        return draws

    def log_evidence(self, x: Array, fidelity: str | None = None) -> Array:
        """Returns log p(x) of each row of x (N, 10) at one level, shape (N,)."""
        nodes, log_weights = self._quadrature
        level = self._level(fidelity)
        width = self.bounds[0, 1] - self.bounds[0, 0]
        masses = [self._without_mu(row[None], nodes, level)[0] for row in np.asarray(x, float)]
        return logsumexp(np.reshape(masses, (len(x), len(nodes))) + log_weights, axis=1) - np.log(width)

    @property
    def grid(self) -> Callable[[], tuple[Array, float]]:
        """Returns a function for the centres (C, 2) of the 120 x 80 cells into which the box of two
        parameters is cut, and their area; three parameters have none.
        """
        if len(self.parameters) != len(GRID):
            raise AttributeError(f"task {self.name} has a grid of its parameters for two of them only.")
        return _grid

    def _level(self, fidelity: str | None) -> str:
        level = "hf" if fidelity is None else fidelity
        if level not in self.fidelities:
            raise TaskError(f"task {self.name} has no fidelity {level!r}; expected lf or hf.")
        return level

    def _columns(self, theta: Array) -> tuple[Array, Array, Array]:
        """Returns mu, sigma and gamma, shape (...), of theta (..., D)."""
        gamma = theta[..., 2] if len(self.parameters) == 3 else np.full(theta.shape[:-1], GAMMA)
        return theta[..., 0], theta[..., 1], gamma

    def _low_variance(self, sigma: Array, gamma: Array) -> Array:
        """The variance of level `lf`."""
        return sigma**2 / (2 * gamma) if len(self.parameters) == 3 else sigma**2

    def _log_likelihood(self, theta: Array, x: Array, level: str) -> Array:
        """Log p(x | theta) for theta (..., N, D) and x (N, 10); shape (..., N)."""
        mu, sigma, gamma = self._columns(theta)
        square, linear, constant, log_scale = self._quadratic(sigma, gamma, x, level)
        return -0.5 * (constant - 2 * linear * mu + square * mu**2) + log_scale

    def _quadratic(
        self, sigma: Array, gamma: Array, x: Array, level: str
    ) -> tuple[Array, Array, Array, Array]:
        """A, B, C and c of the log likelihood as a function of mu; sigma, gamma (..., N) and x (N, 10)."""
        log_scale = -0.5 * TIMES * _LOG_TAU
        if level == "lf":
            variance = self._low_variance(sigma, gamma)
            total, squares = x.sum(axis=1), (x**2).sum(axis=1)
            constant = squares / variance
            return TIMES / variance, total / variance, constant, log_scale - 0.5 * TIMES * np.log(variance)
        keep, variance = _transition(sigma, gamma)
        before, after, start = x[:, :-1], x[:, 1:], x[:, 0] - START
        total = after.sum(axis=1) - keep * before.sum(axis=1)
        squares = (after**2).sum(axis=1) - 2 * keep * (after * before).sum(axis=1)
        squares = squares + keep**2 * (before**2).sum(axis=1)
        return (
            1 + (TIMES - 1) * (1 - keep) ** 2 / variance,
            start + (1 - keep) * total / variance,
            start**2 + squares / variance,
            log_scale - 0.5 * (TIMES - 1) * np.log(variance),
        )

    def _without_mu(self, x: Array, rest: Array, level: str) -> tuple[Array, Array, Array]:
        """Log of the likelihood of one x (1, 10), integrated over mu, at sigma (and gamma) `rest` (C, D - 1);
        and where mu is then: its mean and its standard deviation before truncation to the box, (C,).
        """
        _, sigma, gamma = self._columns(np.insert(rest, 0, 0.0, axis=1))
        square, linear, constant, log_scale = self._quadratic(sigma, gamma, x, level)
        mean, sd = linear / square, 1 / np.sqrt(square)
        peak = log_scale - 0.5 * (constant - linear * mean)
        lower, upper = self.bounds[0]
        log_mass = _log_normal_mass((lower - mean) / sd, (upper - mean) / sd)
        return peak + 0.5 * _LOG_TAU + np.log(sd) + log_mass, mean, sd

    def _draw_mu(self, x: Array, rest: Array, level: str, u: Array) -> Array:
        """Draws mu given `rest` (n, D - 1) from uniform numbers u (n,): a Gaussian, truncated to the box."""
        _, mean, sd = self._without_mu(x[None], rest, level)
        lower, upper = self.bounds[0]
        a, b = (lower - mean) / sd, (upper - mean) / sd
        sign = np.where(a + b > 0, -1.0, 1.0)  # in the lower tail, where logarithms of Phi are exact
        a, b = np.minimum(sign * a, sign * b), np.maximum(sign * a, sign * b)
        with np.errstate(divide="ignore"):
            log_share = np.logaddexp(log_ndtr(a) + np.log1p(-u), log_ndtr(b) + np.log(u))
        return np.clip(mean + sd * sign * ndtri_exp(log_share), lower, upper)

    @cached_property
    def _quadrature(self) -> tuple[Array, Array]:
        """Nodes (C, D - 1) over sigma (and gamma), and log weights (C,) with their prior density."""
        points, weights = np.polynomial.legendre.leggauss(NODES)
        bounds = self.bounds[1:]
        nodes = _product([0.5 * (lower + upper + (upper - lower) * points) for lower, upper in bounds])
        return nodes, np.log(_product([weights / 2] * len(bounds))).sum(axis=1)

    @cached_property
    def _cells(self) -> tuple[Array, Array]:
        """Centres (C, D - 1) of the cells over sigma (and gamma), and their widths (D - 1,)."""
        names = self.parameter_names[1:]
        axes = [_centres(*RANGES[name], CELLS[name]) for name in names]
        return _product(axes), np.array([(RANGES[n][1] - RANGES[n][0]) / CELLS[n] for n in names])


def _grid() -> tuple[Array, float]:
    """Returns centres and area of the cells of two parameters."""
    axes = [_centres(*RANGES[name], cells) for name, cells in GRID.items()]
    area = np.prod([(RANGES[name][1] - RANGES[name][0]) / cells for name, cells in GRID.items()])
    return _product(axes), float(area)


def _transition(sigma: Array, gamma: Array) -> tuple[Array, Array]:
    """What is kept of the distance to mu after a unit of time, and the variance that comes in."""
    return np.exp(-gamma), sigma**2 * -np.expm1(-2 * gamma) / (2 * gamma)


def _log_normal_mass(a: Array, b: Array) -> Array:
    """Log of the standard normal mass of [a, b]."""
    mirrored = a + b > 0
    a, b = np.where(mirrored, -b, a), np.where(mirrored, -a, b)
    high, low = log_ndtr(b), log_ndtr(a)
    return high + np.log1p(-np.exp(low - high))


def _centres(lower: float, upper: float, cells: int) -> Array:
    """Centres of equal cells."""
    return lower + (upper - lower) * (np.arange(cells) + 0.5) / cells


def _product(axes: list[Array]) -> Array:
    """All combinations of the values on the axes, shape (C, number of axes)."""
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))

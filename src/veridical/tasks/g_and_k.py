r"""Draws of a g-and-k distribution, whose quantile function alone has a closed form; at two levels.

.. math:: x = a + b \, q(z) , \qquad q(z) = \Big(1 + 0.8 \tanh \frac{g z}{2}\Big) (1 + z^2)^{\log c} \, z ,

with a, b and g uniform on [0, 3] and c, the exponential of what is mostly called k, on
:math:`[e^{1/2}, 3]`. Fidelities: `exact` has standard normal z, that is
:math:`z = \Phi^{-1}(u) = \sqrt 2 \operatorname{erf}^{-1} v` with uniform u and :math:`v = 2 u - 1`; `cubic`
takes the first two terms of its Taylor series,

.. math:: z = \sqrt{\pi / 2} \, (v + \pi v^3 / 12) ,

which have no tails. Both share u. With the density h of z, numbers have the density

.. math:: p(x | \theta) = \frac{h(z)}{b \, q'(z)} , \qquad q(z) = \frac{x - a}{b} ,

in which Newton's method finds z: :math:`\log |q|` is nearly linear in :math:`\log |z|`.

Exact posterior of level `exact`: in (a - median of x) / b, log b, g and c the smallest box outside of which
the posterior is negligible is found by ever finer grids, and the evidence by Gauss-Legendre quadrature over
it, with densities read off a table for each g and c. Draws come from the cells around its nodes, weighted by
the posterior and drawn again.

References:
    | Numerical maximum likelihood estimation for the g-and-k and generalized g-and-h distributions
    | (Rayner, MacGillivray, 2002) https://doi.org/10.1023/A:1013120305780
    | Multilevel neural simulation-based inference (Hikida et al., 2025)
    | https://arxiv.org/abs/2506.06087
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import logsumexp, ndtri

from veridical.errors import TaskError, require_shape
from veridical.tasks.base import Array, Dimension, Task
from veridical.tasks.priors import Product, Uniform

RANGES = {"a": (0.0, 3.0), "b": (0.0, 3.0), "g": (0.0, 3.0), "c": (float(np.exp(0.5)), 3.0)}
DRAWS = (10, 100)  # for which the quadrature is good to 0.01
NODES = (56, 24, 14, 7)  # of the quadrature
COARSE, ZOOMS = (15, 15, 6, 4), 5  # nodes of the grids that look for the region, and how often
FARTHEST, LEAST = 25.0, np.exp(-8.0)  # of the median from a in units of b; of b in units of the spread
NEGLIGIBLE = 20.0  # below the largest log density
CANDIDATES = 10  # for one draw of the posterior

_TABLE = np.linspace(-9.0, 9.0, 4001)  # values of z
_NEWTON = 60
_LOG_SQRT_TAU = 0.5 * np.log(2 * np.pi)
_CUBIC = np.sqrt(np.pi / 2)


class GAndK(Task):
    """Location, scale, skewness and tails of a g-and-k distribution.

    Arguments:
        draws: How many draws of it are seen, in any order.
    """

    name = "g_and_k"
    fidelities = {"cubic": 1.0, "exact": 10.0}  # noqa: RUF012

    def __init__(self, draws: int = 20) -> None:
        if isinstance(draws, bool) or not isinstance(draws, int) or not DRAWS[0] <= draws <= DRAWS[1]:
            raise TaskError(
                f"task {self.name}: expected a whole number draws from {DRAWS[0]} to {DRAWS[1]}, got "
                f"{draws!r}."
            )
        self.dimensions = (Dimension("number", tuple(range(draws)), kind="exchangeable"),)
        self.prior = Product({name: Uniform(*ends) for name, ends in RANGES.items()})
        self.parameters = self.prior.parameters()

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns uniform numbers, (n, draws)."""
        return {"uniform": rng.random((n, *self.x_shape))}

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Simulates theta (N, 4), shape (N, draws)."""
        level, u = self._level(fidelity), np.maximum(noise["uniform"], 2.0**-54)
        require_shape("theta", theta, None, 4)
        require_shape("noise['uniform']", u, len(theta), *self.x_shape)
        a, b, g, c = _columns(theta, u.shape)
        z = ndtri(u) if level == "exact" else _cubic(2 * u - 1)
        return a + b * _curve(z, g, np.log(c))[0]

    def log_likelihood(self, theta: Array, x: Array) -> Array:
        """Returns log p(x | theta) at level `exact` for one x (draws,) at theta (N, 4), shape (N,)."""
        require_shape("x", x, *self.x_shape)
        return self.log_likelihoods(theta, np.broadcast_to(x, (len(theta), *self.x_shape)), "exact")

    def log_likelihoods(self, theta: Array, x: Array, fidelity: str) -> Array:
        """Returns log p(x | theta) of theta (N, 4) and x (N, draws) of one level, row by row, shape (N,)."""
        require_shape("theta", theta, None, 4)
        require_shape("x", x, len(theta), *self.x_shape)
        a, b, g, c = _columns(theta, np.shape(x))
        with np.errstate(divide="ignore", invalid="ignore"):
            z = _inverse((x - a) / b, g, np.log(c))
            log_p = _log_density(z, self._level(fidelity)) - np.log(b * _curve(z, g, np.log(c))[1])
        return np.where(np.isnan(log_p), -np.inf, log_p).sum(axis=1)

    def posterior_log_prob(self, theta: Array, x: Array, fidelity: str | None = None) -> Array:
        """Returns exact log posterior densities of theta (..., N, 4) given x (N, draws) of level `exact`,
        shape (..., N); -inf outside the prior's box.
        """
        x, theta = np.asarray(x, float), np.asarray(theta, float)
        require_shape("x", x, None, *self.x_shape)
        require_shape("theta", theta, *[None] * (theta.ndim - 2), len(x), 4)
        flat = theta.reshape(-1, 4)
        found = self.prior.log_prob(flat)
        inside = np.isfinite(found)
        rows = np.broadcast_to(x, (*theta.shape[:-1], x.shape[1])).reshape(len(flat), -1)
        found[inside] += self.log_likelihoods(flat[inside], rows[inside], "exact")
        return found.reshape(theta.shape[:-1]) - self.log_evidence(x, fidelity)

    def posterior_sample(
        self, x: Array, rng: np.random.Generator, n: int, fidelity: str | None = None
    ) -> Array:
        """Returns exact posterior draws for x (N, draws) of level `exact`, shape (n, N, 4)."""
        x, draws = self._of_exact(x, fidelity), np.empty((n, len(x), 4))
        for i, row in enumerate(x):
            quadrature = Quadrature.of(row, self.bounds)
            theta, log_q = quadrature.candidates(rng, CANDIDATES * n)
            log_w = self.log_likelihood(theta, row) - log_q
            cumulative = np.cumsum(np.exp(log_w - log_w.max()))
            draws[:, i] = theta[np.searchsorted(cumulative, rng.random(n) * cumulative[-1], side="right")]
        return draws

    def log_evidence(self, x: Array, fidelity: str | None = None) -> Array:
        """Returns log p(x) of each row of x (N, draws) of level `exact`, shape (N,)."""
        volume = np.prod(np.diff(self.bounds, axis=1))
        sums = [Quadrature.of(row, self.bounds).log_sum for row in self._of_exact(x, fidelity)]
        return np.array(sums) - np.log(volume)

    def _of_exact(self, x: Array, fidelity: str | None) -> Array:
        """The rows x, of level `exact`.

        Raises:
            TaskError: If they are of another level.
        """
        if self._level(fidelity) != "exact":
            raise TaskError(
                f"task {self.name}: the exact posterior is known of level exact, not of {fidelity!r}, whose "
                "density has edges; leave this check out, or use log_likelihoods."
            )
        x = np.asarray(x, float)
        require_shape("x", x, None, *self.x_shape)
        return x

    def _level(self, fidelity: str | None) -> str:
        level = "exact" if fidelity is None else fidelity
        if level not in self.fidelities:
            raise TaskError(f"task {self.name} has no fidelity {level!r}; expected cubic or exact.")
        return level


@dataclass(frozen=True)
class Quadrature:
    """The likelihood of one x at the nodes of a Gauss-Legendre rule over the region that it fills.

    Coordinates are t, log b, g and c, with t from 0 to 1 between the ends of a at that b.

    Attributes:
        middle: The median of x.
        limits: Lower and upper bound of a, (2,).
        windows: At some log b (first row, ascending) the ends of (a - middle) / b, (3, W).
        box: Ends of log b, g and c, (3, 2).
        log_terms: Log likelihoods with the weights of the rule, `NODES`.
    """

    middle: float
    limits: Array
    windows: Array
    box: Array
    log_terms: Array

    @classmethod
    def of(cls, x: Array, bounds: Array) -> Quadrature:
        """Returns it for x (draws,) within the bounds (4, 2) of the prior."""
        middle, most = float(np.median(x)), bounds[1, 1]
        spread = max(float(np.median(np.abs(x - middle))), 1e-12)
        box = np.array([np.log([min(spread, most) * LEAST, most]), *bounds[2:]])
        region = cls(middle, bounds[0], np.array([[0.0], [-FARTHEST], [FARTHEST]]), box, np.empty(0))
        for _ in range(ZOOMS):
            region = region._smaller(x)
        rules = [np.polynomial.legendre.leggauss(n) for n in NODES]
        log_w = sum(np.ix_(*[np.log(weights / 2) for _, weights in rules]))
        return replace(region, log_terms=region._terms(x, [(at + 1) / 2 for at, _ in rules])[1] + log_w)

    @property
    def log_sum(self) -> float:
        """The log of the integral of the likelihood."""
        return float(logsumexp(self.log_terms))

    def candidates(self, rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        """Returns parameters (n, 4), uniform within cells of the coordinates that are drawn by their terms,
        one in twenty anywhere, and the log of their density up to a constant, (n,).

        The cell of a node is as wide as its weight: cells lie side by side and fill the region.
        """
        widths = [np.polynomial.legendre.leggauss(k)[1] / 2 for k in self.log_terms.shape]
        t, log_b, g, c = np.ix_(*widths)
        volumes = (t * log_b * g * c).ravel()
        p = 0.95 * np.exp(self.log_terms - self.log_sum).ravel() + 0.05 * volumes
        cumulative = np.cumsum(p)
        chosen = np.searchsorted(cumulative, rng.random(n) * cumulative[-1], side="right")
        u = rng.random((4, n))
        places = [
            (np.cumsum(width) - width)[at] + width[at] * v
            for width, at, v in zip(widths, np.unravel_index(chosen, self.log_terms.shape), u, strict=True)
        ]
        (b, g, c), (low, high) = (rest := self._rest(places[1:])), self._ends(rest[0])
        theta = np.stack([low + (high - low) * places[0], b, g, c], axis=1)
        with np.errstate(divide="ignore"):  # of no width: where a is certain
            return theta, np.log(p[chosen] / volumes[chosen] / (high - low) / b)

    def _smaller(self, x: Array) -> Quadrature:
        """The region around the nodes at which the likelihood is not negligible, and one more each way."""
        nodes = [(np.arange(n) + 1) / (n + 1) for n in COARSE]
        a, log_p = self._terms(x, nodes)
        near, box = log_p > log_p.max() - NEGLIGIBLE, self.box.copy()
        for j, (low, high) in enumerate(self.box):
            at = np.flatnonzero(near.any(axis=tuple({0, 1, 2, 3} - {j + 1})))
            box[j] = low + (high - low) * nodes[j + 1][0] * (at[[0, -1]] + [0, 2])
        (b,), there = self._rest(nodes[1:2]), near.any(axis=(2, 3))
        low, high = self._ends(b)
        far, gap = (a - self.middle) / b, (high - low) / b * nodes[0][0]
        ends = np.where(there, far - gap, np.inf).min(axis=0), np.where(there, far + gap, -np.inf).max(axis=0)
        some = there.any(axis=0)
        return replace(self, windows=np.stack([np.log(b), *ends])[:, some], box=box)

    def _terms(self, x: Array, nodes: list[Array]) -> tuple[Array, Array]:
        """Returns a at the nodes (A, B), and log likelihoods (A, B, G, C) with the volume of the region."""
        b, g, c = self._rest(nodes[1:])
        low, high = self._ends(b)
        a = low + (high - low) * nodes[0][:, None]
        with np.errstate(divide="ignore"):
            log_width = np.log(np.maximum(high - low, 0)) + np.log(b)
        sides = np.log(np.diff(self.box, axis=1)).sum()
        return a, _on_grid(x, a, b, g, c) + log_width[:, None, None] + sides

    def _rest(self, nodes: list[Array]) -> list[Array]:
        """b, g and c, as many as there are, at nodes from 0 to 1."""
        found = [low + (high - low) * t for (low, high), t in zip(self.box, nodes, strict=False)]
        return [np.exp(found[0]), *found[1:]]

    def _ends(self, b: Array) -> Array:
        """Lower and upper end of a at each b, (2, B)."""
        at, *ends = self.windows
        far = np.stack([np.interp(np.log(b), at, end) for end in ends])
        return np.clip(self.middle + far * b, *self.limits)


def _on_grid(x: Array, a: Array, b: Array, skewness: Array, tails: Array) -> Array:
    """Log likelihoods at level `exact` of one x (draws,) at a (A, B) of all b, with all g and c."""
    y = (x - a[..., None]) / b[:, None]  # (A, B, draws)
    found = np.empty((*a.shape, len(skewness), len(tails)))
    for j, g in enumerate(skewness):
        for i, c in enumerate(tails):
            curve, slope = _curve(_TABLE, g, np.log(c))
            log_p = np.interp(y, curve, _log_density(_TABLE, "exact") - np.log(slope))
            found[:, :, j, i] = log_p.sum(axis=2)
    return found - x.size * np.log(b)[:, None, None]


def _columns(theta: Array, shape: tuple[int, ...]) -> Array:
    """The four parameters of theta (N, 4), for each of the draws, (4, N, draws)."""
    return np.repeat(np.asarray(theta, float).T[:, :, None], shape[1], axis=2)


def _cubic(v: Array) -> Array:
    """Returns z of level `cubic`."""
    return _CUBIC * (v + np.pi / 12 * v**3)


def _curve(z: Array, g: Array | float, k: Array | float) -> tuple[Array, Array]:
    """q(z) and its slope."""
    square = 1 + z**2
    power, skew = square**k, np.tanh(g * z / 2)
    lean = 1 + 0.8 * skew
    slope = power * (0.4 * g * z * (1 - skew**2) + lean * (1 + 2 * k * (1 - 1 / square)))
    return lean * power * z, slope


def _inverse(y: Array, g: Array, k: Array) -> Array:
    """Returns z of q(z) = y, to rounding."""
    sign, size = np.sign(y), np.log(np.abs(y))
    s = size.copy()
    for _ in range(_NEWTON):
        z = sign * np.exp(s)
        curve, slope = _curve(z, g, k)
        step = np.clip((np.log(np.abs(curve)) - size) * curve / (z * slope), -1.0, 1.0)
        s = s - np.where(np.isfinite(step), step, 0.0)
        if not (np.abs(step) > 1e-13).any():
            break
    return np.where(y == 0, 0.0, sign * np.exp(s))


def _log_density(z: Array, level: str) -> Array:
    """Returns log h(z)."""
    if level == "exact":
        return -0.5 * z**2 - _LOG_SQRT_TAU
    p, half = 4 / np.pi, 6 * z / (np.pi * _CUBIC)  # v^3 + 3 p v = 2 half, by Cardano
    root = np.sqrt(half**2 + p**3)
    v = np.cbrt(half + root) + np.cbrt(half - root)
    return np.where(np.abs(v) <= 1, -np.log(2 * _CUBIC * (1 + np.pi / 4 * v**2)), -np.inf)

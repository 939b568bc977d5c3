r"""A Gaussian field on a square grid: its length scale and its nugget, with exact likelihood and scores.

.. math:: x \sim N(0, K), \qquad K = e^{-D / l} + \tau^2 I , \qquad \theta = (\log l, \log \tau^2) ,

with the distances D of the sites of a G x G grid on the unit square; both parameters are uniform,
:math:`l \in [0.05, 1]` and :math:`\tau^2 \in [0.02, 1]`. Fidelities: `field` is the whole, `blocks` cuts the
grid into squares of four by four sites that know nothing of each other. The same white noise of each site
drives both.

With :math:`a = K^{-1} x` the score of each parameter is

.. math:: \partial_k \log p(x | \theta) = \tfrac12 a^\top K_k a - \tfrac12 \operatorname{tr} K^{-1} K_k ,
    \qquad K_{\log l} = e^{-D / l} D / l , \quad K_{\log \tau^2} = \tau^2 I ,

summed over blocks. On a grid of parameters an eigendecomposition of :math:`e^{-D / l}` serves all nuggets.

References:
    | Neural likelihood surfaces for spatial processes (Walchessen, Lenzi, Kuusela, 2024)
    | https://arxiv.org/abs/2305.04634
"""

from __future__ import annotations

from functools import cache

import numpy as np

from veridical.errors import TaskError, require_shape
from veridical.tasks.base import Array, Dimension, Simulated
from veridical.tasks.priors import Product, Uniform
from veridical.tasks.surfaces import OnCells

BLOCK = 4  # sites along an edge of a block
LENGTHS, NUGGETS = (0.05, 1.0), (0.02, 1.0)
_AT_ONCE = 4_000_000  # numbers of covariance matrices in memory
_LOG_TAU = np.log(2 * np.pi)


class GaussianField(OnCells):
    """Length scale and nugget of a Gaussian field.

    Arguments:
        side: G, the sites along an edge: a multiple of four.
        scores: Whether simulated rows come with their scores, (N, 2), which the bank keeps.
    """

    name = "gaussian_field"
    fidelities = {"blocks": 1.0, "field": 250.0}  # noqa: RUF012
    block_rows = 250

    def __init__(self, side: int = 16, scores: bool = False) -> None:
        if isinstance(side, bool) or not isinstance(side, int) or side < BLOCK or side % BLOCK:
            raise TaskError(f"task {self.name}: expected side to be a multiple of {BLOCK}, got {side!r}.")
        self.prior = Product(
            {"log_length": Uniform(*np.log(LENGTHS)), "log_nugget": Uniform(*np.log(NUGGETS))}
        )
        self.parameters = self.prior.parameters()
        self.side, self.scores = side, bool(scores)
        places = tuple(np.round(np.arange(side) / (side - 1), 6).tolist())
        self.dimensions = (Dimension("north", places, kind="image"), Dimension("east", places, kind="image"))

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns one standard normal number for each site, (n, G, G)."""
        return {"sites": rng.standard_normal((n, self.side, self.side))}

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Simulated:
        """Simulates theta (N, 2), shape (N, G, G), with the scores (N, 2) where asked for."""
        level, sites = self.level(fidelity), noise["sites"]
        require_shape("theta", theta, None, 2)
        require_shape("noise['sites']", sites, len(theta), *self.x_shape)
        x = np.empty(sites.shape)
        for rows in self._pieces(len(theta), level):
            factor = np.linalg.cholesky(self._covariance(theta[rows], level))
            x[rows] = self._joined(self._cut(sites[rows], level) @ factor.transpose(0, 2, 1), level)
        return {"x": x, "score": self.score(theta, x, level)} if self.scores else x

    def score(self, theta: Array, x: Array, fidelity: str | None = None) -> Array:
        """Returns the gradient of log p(x | theta) at theta (N, 2) and x (N, G, G) of one level, row by row,
        shape (N, 2).
        """
        level, found = self.level(fidelity), np.empty((len(theta), 2))
        require_shape("theta", theta, None, 2)
        require_shape("x", x, len(theta), *self.x_shape)
        for rows in self._pieces(len(theta), level):
            inverse = np.linalg.inv(self._covariance(theta[rows], level))
            y = self._cut(np.asarray(x[rows], float), level)
            a = y @ inverse
            length, nugget = np.exp(theta[rows]).T[:, :, None, None]
            scaled = _distances(self._edge(level), self.side) / length
            for k, slope in enumerate((np.exp(-scaled) * scaled, nugget * np.eye(y.shape[2]))):
                trace = (inverse * slope).sum(axis=(1, 2))
                found[rows, k] = 0.5 * ((a @ slope) * a).sum(axis=(1, 2)) - 0.5 * y.shape[1] * trace
        return found

    def log_likelihoods(self, theta: Array, x: Array, fidelity: str) -> Array:
        """Returns log p(x | theta) of theta (N, 2) and x (N, G, G), row by row, shape (N,)."""
        found = np.empty(len(theta))
        for rows in self._pieces(len(theta), fidelity):
            covariance, y = self._covariance(theta[rows], fidelity), self._cut(x[rows], fidelity)
            squares = (np.linalg.solve(covariance, y.transpose(0, 2, 1)).transpose(0, 2, 1) * y).sum(
                axis=(1, 2)
            )
            found[rows] = -0.5 * (squares + y.shape[1] * np.linalg.slogdet(covariance)[1])
        return found - 0.5 * self.side**2 * _LOG_TAU

    def surface(self, x: Array, fidelity: str) -> Array:
        """Returns log p(x | theta) of one x (G, G) at the centres of all cells, shape (120, 80)."""
        log_lengths, log_nuggets = self.centres()
        edge = self._edge(fidelity)
        values, vectors = _spectra(edge, self.side, tuple(np.exp(log_lengths)))
        y = self._cut(np.asarray(x, float)[None], fidelity)[0]
        squares = ((y @ vectors) ** 2).sum(axis=1)  # (A, m)
        variances = values[:, None] + np.exp(log_nuggets)[:, None]  # (A, B, m)
        logs = len(y) * np.log(variances).sum(axis=2) + self.side**2 * _LOG_TAU
        return -0.5 * ((squares[:, None] / variances).sum(axis=2) + logs)

    def level(self, fidelity: str | None) -> str:
        """Returns the level itself, `field` for None."""
        level = "field" if fidelity is None else fidelity
        if level not in self.fidelities:
            raise TaskError(f"task {self.name} has no fidelity {level!r}; expected blocks or field.")
        return level

    def _edge(self, level: str) -> int:
        """Sites along an edge of what is correlated."""
        return self.side if level == "field" else BLOCK

    def _pieces(self, n: int, level: str) -> list[slice]:
        size = max(1, _AT_ONCE // self._edge(level) ** 4)
        return [slice(first, first + size) for first in range(0, n, size)]

    def _covariance(self, theta: Array, level: str) -> Array:
        """K of each theta (N, 2), (N, m, m)."""
        length, nugget = np.exp(theta).T[:, :, None, None]
        edge = self._edge(level)
        return np.exp(-_distances(edge, self.side) / length) + nugget * np.eye(edge**2)

    def _cut(self, x: Array, level: str) -> Array:
        """Fields (N, G, G) as blocks (N, number of blocks, m)."""
        edge = self._edge(level)
        parts = x.reshape(len(x), self.side // edge, edge, self.side // edge, edge)
        return parts.transpose(0, 1, 3, 2, 4).reshape(len(x), -1, edge**2)

    def _joined(self, blocks: Array, level: str) -> Array:
        """The inverse of `_cut`."""
        edge, n = self._edge(level), len(blocks)
        parts = blocks.reshape(n, self.side // edge, self.side // edge, edge, edge)
        return parts.transpose(0, 1, 3, 2, 4).reshape(n, self.side, self.side)


@cache
def _distances(edge: int, side: int) -> Array:
    """Distances of edge x edge sites of a grid with side x side on the unit square."""
    places = np.stack(np.meshgrid(*[np.arange(edge) / (side - 1)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    return np.asarray(np.linalg.norm(places[:, None] - places, axis=-1))


@cache
def _spectra(edge: int, side: int, lengths: tuple[float, ...]) -> tuple[Array, Array]:
    """Eigenvalues (A, m) and vectors (A, m, m) of the correlations at some length scales."""
    distances = _distances(edge, side)
    found = [np.linalg.eigh(np.exp(-distances / length)) for length in lengths]
    return np.stack([values for values, _ in found]), np.stack([vectors for _, vectors in found])

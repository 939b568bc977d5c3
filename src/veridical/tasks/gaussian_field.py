r"""A Gaussian field on a square grid: its length scale and its nugget, with exact likelihood and scores.

.. math:: x \sim N(0, K), \qquad K = e^{-D / l} + \tau^2 I , \qquad \theta = (\log l, \log \tau^2) ,

with the distances D of the sites of a G x G grid on the unit square; both logarithms are uniform,
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

import numpy as np

from veridical.errors import require_shape
from veridical.tasks.base import Array, Simulated
from veridical.tasks.fields import SquareField, spectra

NUGGETS = (0.02, 1.0)
_LOG_TAU = np.log(2 * np.pi)


class GaussianField(SquareField):
    """Length scale and nugget of a Gaussian field.

    Arguments:
        side: G, the sites along an edge: a multiple of four.
        scores: Whether simulated rows come with their scores, (N, 2), which the bank keeps.
    """

    name = "gaussian_field"

    def __init__(self, side: int = 16, scores: bool = False) -> None:
        super().__init__(("log_nugget", NUGGETS), side, scores)
        self.dimensions = self.edges()

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns one standard normal number for each site, (n, G, G)."""
        return {"sites": rng.standard_normal((n, self.side, self.side))}

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Simulated:
        """Simulates theta (N, 2), shape (N, G, G), with the scores (N, 2) where asked for."""
        level, sites = self.level(fidelity), noise["sites"]
        require_shape("theta", theta, None, 2)
        require_shape("noise['sites']", sites, len(theta), *self.x_shape)
        x = np.empty(sites.shape)
        for rows in self.pieces(len(theta), level):
            factor = np.linalg.cholesky(self._covariance(theta[rows], level))
            x[rows] = self.joined(self.cut(sites[rows], level) @ factor.transpose(0, 2, 1), level)
        return {"x": x, "score": self.score(theta, x, level)} if self.scores else x

    def score(self, theta: Array, x: Array, fidelity: str | None = None) -> Array:
        """Returns the gradient of log p(x | theta) at theta (N, 2) and x (N, G, G) of one level, row by row,
        shape (N, 2).
        """
        level, found = self.level(fidelity), np.empty((len(theta), 2))
        require_shape("theta", theta, None, 2)
        require_shape("x", x, len(theta), *self.x_shape)
        for rows in self.pieces(len(theta), level):
            inverse = np.linalg.inv(self._covariance(theta[rows], level))
            y = self.cut(np.asarray(x[rows], float), level)
            a = y @ inverse
            scaled = self.scaled_distances(theta[rows, 0], level)
            nugget = np.exp(theta[rows, 1])[:, None, None]
            for k, slope in enumerate((np.exp(-scaled) * scaled, nugget * np.eye(y.shape[2]))):
                trace = (inverse * slope).sum(axis=(1, 2))
                found[rows, k] = 0.5 * ((a @ slope) * a).sum(axis=(1, 2)) - 0.5 * y.shape[1] * trace
        return found

    def log_likelihoods(self, theta: Array, x: Array, fidelity: str) -> Array:
        """Returns log p(x | theta) of theta (N, 2) and x (N, G, G), row by row, shape (N,)."""
        found = np.empty(len(theta))
        for rows in self.pieces(len(theta), fidelity):
            covariance, y = self._covariance(theta[rows], fidelity), self.cut(x[rows], fidelity)
            squares = (np.linalg.solve(covariance, y.transpose(0, 2, 1)).transpose(0, 2, 1) * y).sum(
                axis=(1, 2)
            )
            found[rows] = -0.5 * (squares + y.shape[1] * np.linalg.slogdet(covariance)[1])
        return found - 0.5 * self.side**2 * _LOG_TAU

    def surface(self, x: Array, fidelity: str) -> Array:
        """Returns log p(x | theta) of one x (G, G) at the centres of all cells, shape (120, 80)."""
        log_lengths, log_nuggets = self.centres()
        values, vectors = spectra(self.edge(fidelity), self.side, tuple(np.exp(log_lengths)))
        y = self.cut(np.asarray(x, float)[None], fidelity)[0]
        squares = ((y @ vectors) ** 2).sum(axis=1)  # (A, m)
        variances = values[:, None] + np.exp(log_nuggets)[:, None]  # (A, B, m)
        logs = len(y) * np.log(variances).sum(axis=2) + self.side**2 * _LOG_TAU
        return -0.5 * ((squares[:, None] / variances).sum(axis=2) + logs)

    def _covariance(self, theta: Array, level: str) -> Array:
        """K of each theta (N, 2), (N, m, m)."""
        nugget = np.exp(theta[:, 1])[:, None, None]
        return np.exp(-self.scaled_distances(theta[:, 0], level)) + nugget * np.eye(self.edge(level) ** 2)

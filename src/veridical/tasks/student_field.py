r"""A Student-t field on a square grid, seen several times: its length scale and its degrees of freedom.

.. math:: x_r = \sqrt{\frac{\nu - 2}{w_r}} \, L z_r , \quad w_r \sim \chi^2_\nu , \quad z_r \sim N(0, I) ,
    \qquad L L^\top = K = e^{-D / l} + 0.05 \, I , \qquad \theta = (\log l, \log(\nu - 2)) ,

for replicates r = 1, ..., R on the n = G x G sites of a grid with the distances D. K is the covariance
whatever :math:`\nu > 2` is; one replicate says little of :math:`\nu`. Both logarithms are uniform,
:math:`l \in [0.05, 1]` and :math:`\nu - 2 \in [1, 30]`. Fidelities: `field` is the whole; in `blocks`
sites of different squares of four by four are uncorrelated, while :math:`w_r` is still that of all. The same
numbers drive both.

With :math:`a = K^{-1} x_r, b = a^\top x_r` and :math:`m = \nu - 2` each replicate adds

.. math:: \log p(x_r | \theta) = \log \Gamma(\tfrac{\nu + n}2) - \log \Gamma(\tfrac\nu2)
    - \tfrac n2 \log(\pi m) - \tfrac12 \log |K| - \tfrac{\nu + n}2 \log(1 + \tfrac bm)

and to the score, with the digamma function :math:`\psi`,

.. math:: \partial_{\log l} &= \tfrac12 \tfrac{\nu + n}{m + b} \, a^\top K' a
    - \tfrac12 \operatorname{tr} K^{-1} K' , \qquad K' = e^{-D / l} D / l , \\
    \partial_{\log m} &= \tfrac m2 [\psi(\tfrac{\nu + n}2) - \psi(\tfrac\nu2) - \log(1 + \tfrac bm)]
    - \tfrac n2 + \tfrac12 \tfrac{(\nu + n) b}{m + b} .

References:
    | Student-t Processes as Alternatives to Gaussian Processes (Shah, Wilson, Ghahramani, 2014)
    | https://arxiv.org/abs/1402.4306
"""

from __future__ import annotations

import numpy as np
from scipy.special import gammaincinv, gammaln, psi

from veridical.errors import TaskError, require_shape
from veridical.tasks.base import Array, Dimension, Simulated
from veridical.tasks.fields import SquareField, spectra

NUGGET = 0.05
EXCESS = (1.0, 30.0)  # degrees of freedom beyond two


class StudentField(SquareField):
    """Length scale and degrees of freedom of a Student-t field.

    Arguments:
        side: G, the sites along an edge: a multiple of four.
        replicates: R, how often the field is seen.
        scores: Whether simulated rows come with their scores, (N, 2), which the bank keeps.
    """

    name = "student_field"

    def __init__(self, side: int = 16, replicates: int = 5, scores: bool = False) -> None:
        super().__init__(("log_excess_freedom", EXCESS), side, scores)
        if isinstance(replicates, bool) or not isinstance(replicates, int) or replicates < 1:
            raise TaskError(f"task {self.name}: expected a whole number replicates >= 1, got {replicates!r}.")
        self.dimensions = (Dimension("replicate", tuple(range(replicates))), *self.edges())

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns a standard normal number for each site, (n, R, G, G), a uniform one for each replicate."""
        return {"sites": rng.standard_normal((n, *self.x_shape)), "scale": rng.random((n, self.x_shape[0]))}

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Simulated:
        """Simulates theta (N, 2), shape (N, R, G, G), with the scores (N, 2) where asked for."""
        level, sites = self.level(fidelity), noise["sites"]
        require_shape("theta", theta, None, 2)
        require_shape("noise['sites']", sites, len(theta), *self.x_shape)
        excess = np.exp(theta[:, 1:])
        chi_squares = 2 * gammaincinv(excess / 2 + 1, noise["scale"])
        x = np.sqrt(excess / chi_squares)[:, :, None, None] * np.ones(sites.shape)
        for rows in self.pieces(len(theta), level):
            factor = np.linalg.cholesky(self._covariance(theta[rows], level)).swapaxes(1, 2)
            x[rows] *= self.joined(self.cut(sites[rows], level) @ factor[:, None], level)
        return {"x": x, "score": self.score(theta, x, level)} if self.scores else x

    def score(self, theta: Array, x: Array, fidelity: str | None = None) -> Array:
        """Returns the gradient of log p(x | theta) at theta (N, 2) and x (N, R, G, G) of one level, row by
        row, shape (N, 2).
        """
        level, found = self.level(fidelity), np.empty((len(theta), 2))
        require_shape("theta", theta, None, 2)
        require_shape("x", x, len(theta), *self.x_shape)
        for rows in self.pieces(len(theta), level):
            y = self.cut(np.asarray(x[rows], float), level)
            inverse = np.linalg.inv(self._covariance(theta[rows], level))
            scaled = self.scaled_distances(theta[rows, 0], level)
            slope = np.exp(-scaled) * scaled
            a = y @ inverse[:, None]
            bends = ((a @ slope[:, None]) * a).sum(axis=(2, 3))  # a' K' a, (rows, R)
            trace = y.shape[1] * y.shape[2] * (inverse * slope).sum(axis=(1, 2))
            of_length, of_excess = self._tails(theta[rows, 1:], (a * y).sum(axis=(2, 3)))
            found[rows, 0] = 0.5 * ((of_length * bends).sum(axis=1) - trace)
            found[rows, 1] = of_excess.sum(axis=1)
        return found

    def log_likelihoods(self, theta: Array, x: Array, fidelity: str) -> Array:
        """Returns log p(x | theta) of theta (N, 2) and x (N, R, G, G), row by row, shape (N,)."""
        found = np.empty(len(theta))
        for rows in self.pieces(len(theta), fidelity):
            covariance, y = self._covariance(theta[rows], fidelity), self.cut(x[rows], fidelity)
            flat = y.reshape(len(y), -1, y.shape[-1])
            a = np.linalg.solve(covariance, flat.swapaxes(1, 2)).swapaxes(1, 2).reshape(y.shape)
            log_determinant = y.shape[2] * np.linalg.slogdet(covariance)[1]
            found[rows] = self._log_densities(theta[rows, 1], (a * y).sum(axis=(2, 3)), log_determinant)
        return found

    def surface(self, x: Array, fidelity: str) -> Array:
        """Returns log p(x | theta) of one x (R, G, G) at the centres of all cells, shape (120, 80)."""
        log_lengths, log_excess = self.centres()
        values, vectors = spectra(self.edge(fidelity), self.side, tuple(np.exp(log_lengths)))
        values = values + NUGGET  # (A, m)
        y = self.cut(np.asarray(x, float), fidelity)  # (R, blocks, m)
        turned = (y.reshape(-1, y.shape[-1]) @ vectors).reshape(len(values), *y.shape)
        squares = (turned**2 / values[:, None, None]).sum(axis=(2, 3))  # (A, R)
        log_determinants = y.shape[1] * np.log(values).sum(axis=1)
        return self._log_densities(log_excess, squares[:, None], log_determinants[:, None])

    def _covariance(self, theta: Array, level: str) -> Array:
        """K of each theta (N, 2), (N, m, m)."""
        return np.exp(-self.scaled_distances(theta[:, 0], level)) + NUGGET * np.eye(self.edge(level) ** 2)

    def _log_densities(self, log_excess: Array, squares: Array, log_determinant: Array) -> Array:
        """Log densities (...) summed over replicates, from log m and log |K| (...), and b (..., R)."""
        excess, n = np.exp(log_excess), self.side**2
        half, replicates = (excess + 2 + n) / 2, squares.shape[-1]
        constant = gammaln(half) - gammaln(excess / 2 + 1) - 0.5 * n * (np.log(np.pi) + log_excess)
        tails = np.log1p(squares / excess[..., None]).sum(axis=-1)
        return np.asarray(replicates * (constant - 0.5 * log_determinant) - half * tails)

    def _tails(self, log_excess: Array, squares: Array) -> tuple[Array, Array]:
        """(nu + n) / (m + b) and the score of log m of each replicate, from log m (N, 1) and b (N, R)."""
        excess, n = np.exp(log_excess), self.side**2
        total = excess + 2 + n
        weight = total / (excess + squares)
        logs = psi(total / 2) - psi(excess / 2 + 1) - np.log1p(squares / excess)
        return weight, 0.5 * (excess * logs - n + weight * squares)

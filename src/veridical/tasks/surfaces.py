r"""Exact posteriors of two uniform parameters, from the likelihood on a grid of cells over their box.

With :math:`L_{ab}` the likelihood at the centre of cell (a, b) of C, the evidence is
:math:`\frac1C \sum_{ab} L_{ab}`, the midpoint rule, and a draw is uniform within a cell that is drawn by its
mass. A task of two parameters whose likelihood is cheap on a whole grid mixes `OnCells` in.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import numpy as np
from scipy.special import logsumexp

from veridical.errors import require_shape
from veridical.tasks.base import Array, Task


class OnCells(Task):
    """A task of two uniform parameters with an exact posterior.

    Attributes:
        cells: How many cells each parameter has.
    """

    cells: tuple[int, int] = (120, 80)

    @abstractmethod
    def surface(self, x: Array, fidelity: str) -> Array:
        """Returns log p(x | theta) of one x (*x_shape) at the centres of all cells, shape `cells`."""

    @abstractmethod
    def log_likelihoods(self, theta: Array, x: Array, fidelity: str) -> Array:
        """Returns log p(x | theta) of theta (N, 2) and x (N, *x_shape), row by row, shape (N,)."""

    @abstractmethod
    def level(self, fidelity: str | None) -> str:
        """Returns the level itself, the dearest simulated one for None; refuses others."""

    def centres(self) -> tuple[Array, Array]:
        """Returns where the cells of either parameter lie, shapes (A,) and (B,)."""
        return tuple(
            lower + (upper - lower) * (np.arange(n) + 0.5) / n
            for (lower, upper), n in zip(self.bounds, self.cells, strict=True)
        )

    @property
    def grid(self) -> Callable[[], tuple[Array, float]]:
        """Returns a function for the centres (C, 2) of all cells, and their area."""
        return self._grid

    def _grid(self) -> tuple[Array, float]:
        centres = np.stack(np.meshgrid(*self.centres(), indexing="ij"), axis=-1).reshape(-1, 2)
        return centres, float(np.prod(self._widths))

    @property
    def _widths(self) -> Array:
        return np.asarray(np.diff(self.bounds, axis=1)[:, 0] / self.cells)

    def log_likelihood(self, theta: Array, x: Array) -> Array:
        """Returns log p(x | theta) at the dearest level for one x (*x_shape) at theta (N, 2), shape (N,)."""
        require_shape("theta", theta, None, 2)
        require_shape("x", x, *self.x_shape)
        rows = np.broadcast_to(np.asarray(x, float), (len(theta), *self.x_shape))
        return self.log_likelihoods(theta, rows, self.level(None))

    def log_evidence(self, x: Array, fidelity: str | None = None) -> Array:
        """Returns log p(x) of each row of x (N, *x_shape) at one level, shape (N,)."""
        level = self.level(fidelity)
        return np.array([logsumexp(self.surface(row, level)) for row in x]) - np.log(np.prod(self.cells))

    def posterior_log_prob(self, theta: Array, x: Array, fidelity: str | None = None) -> Array:
        """Returns exact log posterior densities of theta (..., N, 2) given x (N, *x_shape) of one level,
        shape (..., N); -inf outside the prior's box.
        """
        x, theta = np.asarray(x, float), np.asarray(theta, float)
        require_shape("x", x, None, *self.x_shape)
        require_shape("theta", theta, *[None] * (theta.ndim - 2), len(x), 2)
        level, flat = self.level(fidelity), theta.reshape(-1, 2)
        log_prior = self.prior.log_prob(flat)
        inside = np.isfinite(log_prior)
        found = np.full(len(flat), -np.inf)
        rows = np.broadcast_to(x, (*theta.shape[:-1], *self.x_shape)).reshape(-1, *self.x_shape)
        found[inside] = self.log_likelihoods(flat[inside], rows[inside], level) + log_prior[inside]
        return found.reshape(theta.shape[:-1]) - self.log_evidence(x, level)

    def posterior_sample(
        self, x: Array, rng: np.random.Generator, n: int, fidelity: str | None = None
    ) -> Array:
        """Returns exact posterior draws for x (N, *x_shape) of one level, shape (n, N, 2)."""
        x = np.asarray(x, float)
        require_shape("x", x, None, *self.x_shape)
        centres, _ = self._grid()
        level, draws = self.level(fidelity), np.empty((n, len(x), 2))
        for i, row in enumerate(x):
            log_mass = self.surface(row, level).ravel()
            cumulative = np.cumsum(np.exp(log_mass - log_mass.max()))
            chosen = np.searchsorted(cumulative, rng.random(n) * cumulative[-1], side="right")
            draws[:, i] = centres[chosen] + self._widths * (rng.random((n, 2)) - 0.5)
        return draws

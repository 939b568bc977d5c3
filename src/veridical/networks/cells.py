r"""Particles on a grid of angles, fine around the axis: what an event has in each cell; numpy.

The grid is square, with the same width of cells in :math:`u = \operatorname{asinh}(\theta / \theta_0)` for
either angle :math:`\theta`, from :math:`-\theta_\mathrm{reach}` to :math:`\theta_\mathrm{reach}`. A
particle takes the angles of the centre of its cell, and a cell the sum of the energies of its particles. So
the sum over particles

.. math:: \sum_i z_i \Phi(\theta_i) \approx \sum_c \Big(\sum_{i \in c} z_i\Big) \Phi(\theta_c)

needs :math:`\Phi` once for each cell, however many events there are. It is as safe against soft and collinear
particles as the sum on the left: one without energy, and one split into two of the same direction, change
nothing but the rounding of the sum.

References:
    | Energy Flow Networks: Deep Sets for Particle Jets (Komiske, Metodiev, Thaler, 2019), for the sum
    | https://arxiv.org/abs/1810.05165
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from veridical.errors import DataError, require_shape
from veridical.tasks.base import Array


@dataclass(frozen=True)
class Grid:
    """A square grid of two angles.

    Attributes:
        cells: Cells along each angle, n.
        reach: Largest angle; what lies beyond counts in the cells at the edge.
        core: Angle at which cells begin to grow.
    """

    cells: int
    reach: float
    core: float

    @property
    def size(self) -> int:
        """Number of cells, n^2."""
        return self.cells**2

    @property
    def angles(self) -> Array:
        """Angles of the centres of all cells, in the order of their numbers, shape (n^2, 2)."""
        along = self.core * np.sinh(self._centres * self._edge)
        return np.stack(np.meshgrid(along, along, indexing="ij"), axis=-1).reshape(-1, 2)

    @property
    def stretched(self) -> Array:
        """The same centres in u, which networks see, shape (n^2, 2)."""
        return np.arcsinh(self.angles / self.core)

    @property
    def _edge(self) -> float:
        return float(np.arcsinh(self.reach / self.core))

    @property
    def _centres(self) -> Array:
        """Centres along one angle, as shares of the way to the edge."""
        return np.asarray((2 * np.arange(self.cells) + 1) / self.cells - 1)

    def locate(self, angles: Array) -> Array:
        """Returns the numbers of the cells of angles (..., 2), whole, shape (...)."""
        at = (np.arcsinh(angles / self.core) / self._edge + 1) * (self.cells / 2)
        along = np.clip(at.astype(np.int64), 0, self.cells - 1)
        return np.asarray(along[..., 0] * self.cells + along[..., 1])


def cells_of(grid: Grid, energy: Array, angles: Array) -> tuple[Array, Array]:
    """Returns the cells of N events with any energy, and their energies, shape (N, K) each.

    K is the largest number of such cells of an event; what follows the last one of an event is cell 0 with
    energy 0. Particles with a number that is NaN are absent, as are those without energy.

    Arguments:
        grid: The cells.
        energy: Energies of particles, shape (N, P).
        angles: Their angles, shape (N, P, 2).

    Raises:
        DataError: If an energy is negative.
    """
    require_shape("angles", angles, *energy.shape, 2)
    if (energy < 0).any():
        raise DataError(
            f"particles: expected energies of at least 0, got {float(np.nanmin(energy)):g}; name the number "
            "that is the energy as particles.energy."
        )
    there = (energy > 0) & ~np.isnan(angles).any(axis=-1)
    event, particle = np.nonzero(there)
    key = event * grid.size + grid.locate(angles[event, particle])
    order = np.argsort(key, kind="stable")
    key, first = np.unique(key[order], return_index=True)
    event, cell = np.divmod(key, grid.size)
    place = np.arange(len(event)) - np.searchsorted(event, event)
    cells, sums = (np.zeros((len(energy), place.max(initial=0) + 1), kind) for kind in (np.int64, float))
    cells[event, place] = cell
    if len(first):
        sums[event, place] = np.add.reduceat(energy[there][order], first)
    return cells, sums


def as_rows(found: Sequence[tuple[Array, Array]]) -> list[Array]:
    """Returns cells and energies of several sets of events side by side, float32, (N, 2 K) with one K."""
    most = max(cells.shape[1] for cells, _ in found)
    rows = [np.zeros((len(cells), 2 * most), np.float32) for cells, _ in found]
    for row, (cells, sums) in zip(rows, found, strict=True):
        row[:, : cells.shape[1]] = cells
        row[:, most : most + sums.shape[1]] = sums
    return rows

"""The grid of angles: where particles go, what an event has there, what soft and collinear ones change."""

from __future__ import annotations

import numpy as np
import pytest

from veridical import seeds
from veridical.errors import DataError
from veridical.networks.cells import Grid, as_rows, cells_of
from veridical.tasks.base import Array

GRID = Grid(cells=21, reach=0.6, core=0.01)


def particles(n: int = 50, most: int = 30) -> tuple[Array, Array]:
    """Energies and angles, of events of different size."""
    rng = seeds.generator(2, "test", "cells")
    energy, angles = rng.exponential(size=(n, most)), rng.normal(0, 0.05, (n, most, 2))
    absent = np.arange(most) >= rng.integers(1, most + 1, n)[:, None]
    energy[absent], angles[absent] = np.nan, np.nan
    return energy, angles


def table(found: tuple[Array, Array], grid: Grid = GRID) -> Array:
    """The energy in every cell, (N, C), added up one by one."""
    cells, sums = found
    out = np.zeros((len(cells), grid.size))
    for event, at, energies in zip(out, cells, sums, strict=True):
        np.add.at(event, at, energies)
    return out


def test_each_centre_lies_in_its_own_cell_and_cells_grow_from_the_axis() -> None:
    np.testing.assert_array_equal(GRID.locate(GRID.angles), np.arange(GRID.size))
    along = GRID.angles[: GRID.cells, 1]
    steps = np.diff(along)
    assert along[10] == 0 and (np.diff(steps[10:]) > 0).all() and steps[10] < 0.011 and along[-1] < 0.6
    widths = np.diff(GRID.stretched[: GRID.cells, 1])
    np.testing.assert_allclose(widths, 2 * np.arcsinh(60) / GRID.cells)


def test_what_lies_beyond_the_grid_counts_at_its_edge() -> None:
    corner = GRID.locate(np.array([[0.6, -0.6], [7.0, -9.0], [0.61, 0.0], [0.599, 0.0]]))
    assert corner[0] == corner[1] == (GRID.cells - 1) * GRID.cells and corner[2] == corner[3]


def test_energies_add_up_in_cells() -> None:
    energy, angles = particles()
    found = cells_of(GRID, energy, angles)
    expected = np.zeros((len(energy), GRID.size))
    for i, (z, at) in enumerate(zip(energy, angles, strict=True)):
        for share, where in zip(z, at, strict=True):
            if not np.isnan(share):
                expected[i, GRID.locate(where)] += share
    np.testing.assert_allclose(table(found), expected, rtol=1e-12)
    counts = (found[1] > 0).sum(axis=1)
    assert found[1].shape[1] == counts.max() and (found[0][found[1] == 0] == 0).all()
    assert all(len(set(cells[:k])) == k for cells, k in zip(found[0], counts, strict=True)), "distinct"


def test_soft_and_collinear_particles_change_nothing() -> None:
    """Particles split into halves and quarters, further ones without energy, gaps, and another order."""
    energy, angles = particles()
    before = cells_of(GRID, energy, angles)
    split = np.concatenate([energy / 2, energy / 4, energy / 4, np.zeros_like(energy)], axis=1)
    at = np.concatenate([angles, angles, angles, 0.3 - angles], axis=1)
    order = seeds.generator(2, "test", "cells", "order").permutation(split.shape[1])
    after = cells_of(GRID, split[:, order], at[:, order])
    np.testing.assert_array_equal(after[0], before[0])
    np.testing.assert_allclose(after[1], before[1], rtol=1e-14)
    np.testing.assert_allclose(*(as_rows([each])[0] for each in (before, after)), rtol=2e-7)


def test_planted_faults_are_seen() -> None:
    """A hard particle more, and one that is split into two of different directions."""
    energy, angles = particles()
    before = table(cells_of(GRID, energy, angles))
    more = cells_of(GRID, np.append(energy, np.ones((50, 1)), 1), np.append(angles, np.zeros((50, 1, 2)), 1))
    assert (np.abs(table(more) - before).sum(axis=1) > 0.99).all()
    moved = cells_of(GRID, np.append(energy / 2, energy / 2, 1), np.append(angles, angles + 0.1, 1))
    assert (np.abs(table(moved) - before).sum(axis=1) > 0.1).all()


def test_events_without_any_particle_and_sets_without_events() -> None:
    none = cells_of(GRID, np.full((2, 3), np.nan), np.full((2, 3, 2), np.nan))
    assert none[0].shape == (2, 1) and not none[1].any()
    assert cells_of(GRID, np.zeros((0, 3)), np.zeros((0, 3, 2)))[0].shape == (0, 1)
    rows = as_rows([none, cells_of(GRID, *particles())])
    assert rows[0].shape[1] == rows[1].shape[1] and rows[0].dtype == np.float32


def test_negative_energies_are_refused() -> None:
    with pytest.raises(DataError, match="at least 0, got -1; name the number"):
        cells_of(GRID, np.array([[1.0, -1.0]]), np.zeros((1, 2, 2)))

"""Hamiltonian Monte Carlo: distributions that are known, the same whoever is beside, longer chains."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from veridical import seeds
from veridical.inference import hamiltonian
from veridical.inference.convergence import bulk_ess, rank_rhat


class Gaussians:
    """Correlated normal distributions, of other widths in every row."""

    def __init__(self, rows: int, size: int = 4, first: int = 0) -> None:
        rng = seeds.generator(1, "test", "hamiltonian")
        factors = rng.normal(size=(rows, size, size)) * 10.0 ** rng.uniform(-2, 1, (rows, size, 1))
        self.mean, self.covariance = rng.normal(size=(rows, size)), factors @ factors.swapaxes(1, 2)
        self.precision, self.first = np.linalg.inv(self.covariance), first

    def log_density(self, z: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return 0.5 * (self.gradient(z, rows) * (z - self.mean[rows + self.first][:, None])).sum(axis=-1)

    def gradient(self, z: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return -(z - self.mean[rows + self.first][:, None]) @ self.precision[rows + self.first]


def generators(rows: int) -> list[np.random.Generator]:
    return [seeds.generator(1, "test", "hamiltonian", row) for row in range(rows)]


def test_draws_have_the_distribution_and_chains_agree() -> None:
    """Means within five of their errors, variances within five of theirs, at condition numbers of 1e6."""
    target = Gaussians(6)
    start = target.mean[:, None] + seeds.generator(1, "test", "start").normal(size=(6, 4, 4))
    z, accepted = hamiltonian.sample(target, start, generators(6), moves=500, leaps=16)
    assert z.shape == (6, 4, 500, 4) and ((accepted > 0.6) & (accepted < 0.97)).all()
    for row in range(6):
        for k in range(4):
            chains, sd = z[row, :, :, k], target.covariance[row, k, k] ** 0.5
            n = bulk_ess(chains)
            assert n > 300 and rank_rhat(chains) < 1.05
            assert abs(chains.mean() - target.mean[row, k]) < 5 * sd / n**0.5
            assert chains.var() == pytest.approx(sd**2, rel=5 * (2 / n) ** 0.5)


def test_a_row_does_not_depend_on_the_others() -> None:
    target = Gaussians(3)
    start = np.zeros((3, 4, 4))
    z, _ = hamiltonian.sample(target, start, generators(3), moves=40)
    alone, _ = hamiltonian.sample(Gaussians(3, first=2), start[2:], generators(3)[2:], moves=40)
    np.testing.assert_array_equal(alone[0], z[2])


def test_unsettled_chains_go_on_for_longer() -> None:
    """Those that are named, and no others, as often as they are."""
    target, asked = Gaussians(3), []

    def unsettled(z: np.ndarray) -> np.ndarray:
        asked.append(z.copy())
        return np.array([1]) if len(asked) < 3 else np.empty(0, int)

    z, _ = hamiltonian.sample(
        target, np.zeros((3, 4, 4)), generators(3), moves=40, unsettled=unsettled, doublings=5
    )
    assert len(asked) == 3 and z.shape == (3, 4, 40, 4)
    np.testing.assert_array_equal(z[[0, 2]], asked[0][[0, 2]])
    assert not np.array_equal(asked[1][1], asked[0][1]) and np.array_equal(z[1], asked[2][1])


class Edged:
    """An exponential distribution, whose density is nothing below zero."""

    def log_density(self, z: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return np.where(z[..., 0] > 0, -z[..., 0], -np.inf)

    def gradient(self, z: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return np.where(z > 0, -1.0, np.nan)


def test_paths_that_leave_the_support_are_refused() -> None:
    """By Kolmogorov and Smirnov, on draws thinned to be nearly independent."""
    z, _ = hamiltonian.sample(Edged(), np.ones((1, 8, 1)), generators(1), moves=1000, leaps=5)
    assert (z > 0).all()
    assert stats.kstest(z[0, :, ::20, 0].ravel(), "expon").pvalue > 1e-3

"""The gamma statistic, its null and its bands."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import stats

from veridical.checks import uniformity
from veridical.errors import DataError

NULL = 9_999


def test_tails_are_those_of_the_binomial() -> None:
    n, grid = 40, (0.1, 0.5, 0.93)
    table = uniformity._log_tails(n, grid)
    k = np.arange(n + 1)[:, None]
    expected = 2 * np.minimum(stats.binom.cdf(k, n, grid), stats.binom.sf(k - 1, n, grid))
    np.testing.assert_allclose(np.exp(table), expected, rtol=1e-9)


def test_gamma_of_a_hopeless_sample_stays_finite() -> None:
    """In double precision these tail probabilities underflow to zero; as logarithms they do not."""
    grid = uniformity.rank_grid(999, 1000)
    counts = uniformity.counts_below(np.full((1000, 1), 1e-6), grid)
    (found,) = uniformity.log_gamma(counts, 1000, grid)
    # all below the first point: P(B >= n) = z^n there
    assert found == pytest.approx(np.log(2) + 1000 * np.log(0.001))


@pytest.mark.parametrize(
    ("n", "gamma", "half_width"),
    [(100, 0.0043, 0.145), (200, 0.0022, 0.108), (500, 0.0019, 0.069), (1000, 0.0020, 0.0485)],
)
def test_threshold_and_band_against_tabulated_ones(n: int, gamma: float, half_width: float) -> None:
    """Values of an independent simulation with 1,000 samples: gamma to 15 % or so, 4 times that at most."""
    grid = tuple(np.linspace(1e-5, 1 - 1e-5, min(n, 1000)).tolist())
    found = uniformity.log_threshold(n, grid, 0.05, NULL)
    assert abs(found - np.log(gamma)) < 4 * 0.15
    band = uniformity.band(n, grid, 0.05, NULL)
    middle = len(grid) // 2
    assert abs((band.upper - band.lower)[middle] / 2 - half_width) < 2 / n


def test_an_ecdf_leaves_its_band_just_when_gamma_is_rejected(rng: np.random.Generator) -> None:
    n, alpha = 60, 0.2
    grid = uniformity.rank_grid(99, 1000)
    u = rng.random((n, 400)) ** 1.1
    counts = uniformity.counts_below(u, grid)
    band = uniformity.band(n, grid, alpha, NULL)
    outside = ((counts / n < band.lower - 1e-12) | (counts / n > band.upper + 1e-12)).any(axis=1)
    gammas = uniformity.log_gamma(counts, n, grid)
    rejected = gammas < uniformity.log_threshold(n, grid, alpha, NULL)
    assert 40 < rejected.sum() < 360
    np.testing.assert_array_equal(outside, rejected)
    np.testing.assert_array_equal(uniformity.p_value(gammas, n, grid, NULL) <= alpha, rejected)


@pytest.mark.parametrize(("n", "draws"), [(30, 9), (200, 99)])
def test_the_level_holds_for_few_draws(n: int, draws: int, rng: np.random.Generator) -> None:
    """Discrete ranks: the null is simulated on the same grid, so the level is kept for any S."""
    repeats, alpha = 2000, 0.05
    grid = uniformity.rank_grid(draws, 1000)
    ranks = rng.integers(0, draws + 1, size=(n, repeats))
    u = (ranks + rng.random(ranks.shape)) / (draws + 1)
    gammas = uniformity.log_gamma(uniformity.counts_below(u, grid), n, grid)
    rejected = (gammas < uniformity.log_threshold(n, grid, alpha, NULL)).mean()
    error = np.sqrt(alpha * (1 - alpha) * (1 / repeats + 1 / NULL))
    assert rejected < alpha + 4 * error
    assert rejected > alpha / 2 - 4 * error  # ties make it conservative, not powerless


def test_ties_are_broken_at_random(rng: np.random.Generator) -> None:
    """A parameter that takes three values gives uniform ranks all the same."""
    draws, truth = rng.integers(0, 3, size=(99, 4000)), rng.integers(0, 3, size=4000)
    u = uniformity.fractional_ranks(draws, truth, rng)
    assert stats.kstest(u, "uniform").pvalue > 1e-4


def test_the_null_is_fast_and_cached() -> None:
    grid = uniformity.rank_grid(997, 1000)
    start = time.process_time()
    first = uniformity.log_threshold(499, grid, 0.05, 999)
    assert time.process_time() - start < 1.0
    assert uniformity._null(499, grid, 999) is uniformity._null(499, grid, 999)
    uniformity._null.cache_clear()
    assert uniformity.log_threshold(499, grid, 0.05, 999) == first


def test_long_draws_are_thinned_to_the_grid() -> None:
    grid = uniformity.rank_grid(20_000, 1000)
    assert len(grid) == 1000
    assert np.all(np.diff(grid) > 0)
    assert (grid[0], grid[-1]) == (1 / 20_001, 20_000 / 20_001)


def test_a_level_beyond_the_null_is_refused() -> None:
    with pytest.raises(DataError, match="needs at least 10000"):
        uniformity.log_threshold(20, (0.5,), 1e-4, 999)

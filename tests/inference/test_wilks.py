"""Estimates, statistics and sets of the Gaussian mean, where all of them are known; borders; refusals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from veridical.errors import DataError, ShapeError
from veridical.inference.wilks import LikelihoodSurfaces, agreement, coverage, threshold

AXES = np.linspace(-4.0, 4.0, 81), np.linspace(-3.0, 3.0, 51)
COVARIANCE = np.array([[0.5, 0.24], [0.24, 0.3]])
TRUTH = np.array([0.3, -0.2])


def of_means(x: np.ndarray, covariance: np.ndarray = COVARIANCE) -> np.ndarray:
    """Log likelihoods of means on the grid, up to a constant of each data set, for x (N, 2)."""
    theta = np.stack(np.meshgrid(*AXES, indexing="ij"), axis=-1)
    away = x[:, None, None] - theta
    squares = np.einsum("nabk,kj,nabj->nab", away, np.linalg.inv(covariance), away)
    return 5.0 * x[:, :1, None] - 0.5 * squares


@pytest.fixture
def x(rng: np.random.Generator) -> np.ndarray:
    return rng.multivariate_normal(TRUTH, COVARIANCE, 600)


def test_estimates_and_statistics_of_a_gaussian_mean_are_exact(x: np.ndarray) -> None:
    found = LikelihoodSurfaces.of(AXES, of_means(x))
    assert np.allclose(found.estimate, x, rtol=0, atol=1e-9)
    truths = np.broadcast_to(TRUTH, x.shape)
    expected = np.einsum("nk,kj,nj->n", x - TRUTH, np.linalg.inv(COVARIANCE), x - TRUTH)
    assert np.allclose(found.statistic(truths), expected, rtol=0, atol=1e-9)
    assert stats.kstest(found.statistic(truths), stats.chi2(2).cdf).pvalue > 1e-4


@pytest.mark.parametrize("level", [0.68, 0.95])
def test_sets_of_a_gaussian_mean_have_the_coverage_and_the_area_of_the_ellipse(
    level: float, x: np.ndarray
) -> None:
    found = LikelihoodSurfaces.of(AXES, of_means(x))
    share, error = coverage(found.covers(np.broadcast_to(TRUTH, x.shape), level))
    assert error == pytest.approx(np.sqrt(level * (1 - level) / len(x)), rel=0.2)
    assert abs(share - level) < 4.5 * error
    ellipse = np.pi * stats.chi2(2).ppf(level) * np.sqrt(np.linalg.det(COVARIANCE))
    inside = (np.abs(x - TRUTH) < 1.2).all(axis=1)  # sets that the grid does not cut
    areas = found.areas(level)[inside] * 81 * 51 * 0.1 * 0.12
    assert areas.mean() == pytest.approx(ellipse, rel=2e-3)
    assert areas.std() < 0.02 * ellipse


def test_profile_intervals_of_a_gaussian_mean_are_exact(x: np.ndarray) -> None:
    few = x[(np.abs(x - TRUTH) < 1.0).all(axis=1)][:50]
    found = LikelihoodSurfaces.of(AXES, of_means(few))
    reach = stats.norm.ppf(0.95) * np.sqrt(np.diag(COVARIANCE))
    expected = few[:, :, None] + reach[:, None] * np.array([-1, 1])
    assert np.allclose(found.intervals(0.9), expected, rtol=0, atol=1e-9)
    away = AXES[0] - few[:, :1]
    near = np.abs(away) < 2  # farther off the other parameter would leave the grid
    profile = found.profile(0) - found.top[:, None]
    assert np.allclose(profile[near], -(away[near] ** 2), rtol=0, atol=1e-9)


def test_one_parameter_is_its_own_profile(rng: np.random.Generator) -> None:
    x = rng.normal(0.0, 0.7, 40)
    found = LikelihoodSurfaces.of(AXES[:1], -0.5 * (AXES[0] - x[:, None]) ** 2 / 0.49)
    assert np.allclose(found.estimate[:, 0], x, rtol=0, atol=1e-9)
    expected = x[:, None] + 0.7 * stats.norm.ppf(0.84) * np.array([-1, 1])
    assert np.allclose(found.intervals(0.68)[:, 0], expected, rtol=0, atol=1e-9)


def test_at_the_border_of_the_grid_estimates_and_sets_end() -> None:
    """The conditional maximum on the border is that of the other parameter, exactly."""
    x = np.array([[5.0, 0.4], [-7.0, -0.1]])
    found = LikelihoodSurfaces.of(AXES, of_means(x))
    assert found.estimate[:, 0] == pytest.approx([4.0, -4.0])
    given = x[:, 1] + COVARIANCE[0, 1] / COVARIANCE[0, 0] * (np.array([4.0, -4.0]) - x[:, 0])
    assert np.allclose(found.estimate[:, 1], given, rtol=0, atol=1e-9)
    ends = found.intervals(0.95)[:, 0]
    assert [ends[0, 1], ends[1, 0]] == pytest.approx([4.05, -4.05])
    assert ends[0, 0] > 2 and ends[1, 1] < -2
    left = COVARIANCE[1, 1] - COVARIANCE[0, 1] ** 2 / COVARIANCE[0, 0]
    assert found.statistic(np.array([[4.0, 0.0], [-4.0, 0.0]])) == pytest.approx(given**2 / left)


def test_where_the_likelihood_is_zero_no_cell_belongs_to_a_set(x: np.ndarray) -> None:
    log_l = of_means(x[:20])
    log_l[:, AXES[0] < -0.5] = -np.inf
    found = LikelihoodSurfaces.of(AXES, log_l)
    assert not found.sets(0.999)[:, AXES[0] < -0.5].any() and np.isfinite(found.estimate).all()
    assert (found.estimate[:, 0] > -0.7).all()
    assert (found.statistic(np.tile([-2.0, 0.0], (20, 1))) == np.inf).all()
    assert (found.intervals(0.95)[:, 0, 0] > -0.56).all()


def test_a_narrow_ridge_is_followed(rng: np.random.Generator) -> None:
    ridge = np.array([[0.5, 0.36], [0.36, 0.3]])
    x = rng.multivariate_normal(TRUTH, ridge, 100)
    found = LikelihoodSurfaces.of(AXES, of_means(x, ridge))
    assert np.allclose(found.estimate, x, rtol=0, atol=1e-9)


def test_agreement_sees_what_a_surrogate_does_wrong(x: np.ndarray) -> None:
    exact = LikelihoodSurfaces.of(AXES, of_means(x))
    truth = np.broadcast_to(TRUTH, x.shape)
    same = agreement(LikelihoodSurfaces.of(AXES, exact.log_l - 3.0), exact, truth)
    assert same.coverage[0] == same.coverage[1] and same.coverage_error[1] == 0
    assert same.statistic_mse == pytest.approx(0, abs=1e-18) and same.area[0] == same.area[1]
    assert np.allclose(same.estimate_difference, 0, atol=1e-18)
    narrow = agreement(
        LikelihoodSurfaces.of(AXES, of_means(x + np.array([0.1, 0.0]), COVARIANCE / 4)), exact, truth
    )
    assert narrow.coverage[0] < narrow.coverage[1] - 4.5 * narrow.coverage_error[1]
    assert narrow.area[0] == pytest.approx(narrow.area[1] / 4, rel=0.03)
    assert np.allclose(narrow.estimate_difference, [0.01, 0], rtol=0, atol=1e-9)
    assert narrow.statistic_mse > 20 and narrow.statistic_mse_of_cells > 100


def test_what_cannot_be_is_refused(x: np.ndarray) -> None:
    log_l = of_means(x[:2])
    with pytest.raises(DataError, match="axis 1: expected centres of equal cells, ascending; got gaps"):
        LikelihoodSurfaces.of((AXES[0], AXES[1] ** 3), log_l)
    with pytest.raises(ShapeError, match="log_l: expected shape"):
        LikelihoodSurfaces.of(AXES[::-1], log_l)
    with pytest.raises(DataError, match="expected a finite maximum of each data set, not so in 2"):
        LikelihoodSurfaces.of(AXES, np.full(log_l.shape, -np.inf))
    found = LikelihoodSurfaces.of(AXES, log_l)
    with pytest.raises(DataError, match="expected parameters within the cells, got some beyond"):
        found.statistic(np.array([[4.2, 0.0], [0.0, 0.0]]))
    with pytest.raises(DataError, match="level: expected a number between 0 and 1, got 1"):
        threshold(1, 2)
    with pytest.raises(DataError, match="expected the same data sets and cells"):
        agreement(found, LikelihoodSurfaces.of(AXES, log_l[:1]), np.zeros((2, 2)))

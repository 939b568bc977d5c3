"""Gaussian processes with Student errors: closed forms against elimination row by row, and planted widths."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from veridical import seeds
from veridical.estimators.apart import FOLDS, folds
from veridical.remedies.heteroscedastic import (
    HeteroscedasticRegression,
    Process,
    Scale,
    log_student,
    student_scatter,
)
from veridical.tasks.base import Array


def generator(*path: str | int) -> np.random.Generator:
    return seeds.generator(20261130, "test", "heteroscedastic", *path)


def planted(n: int, rng: np.random.Generator, widens: float = 0.0) -> tuple[Array, Array]:
    """Features (n, 3) and two outputs that follow the first, with sd 0.3 exp(widens f_2)."""
    f = rng.standard_normal((n, 3))
    sd = 0.3 * np.exp(widens * f[:, 1:2])
    return f, f[:, :1] * [0.9, -0.5] + sd * rng.standard_normal((n, 2))


def test_each_row_is_held_out_once() -> None:
    learn, held = (np.array(parts) for parts in zip(*folds(23), strict=True))
    assert len(held) == FOLDS and (held.sum(axis=0) == 1).all() and (learn == ~held).all()


@pytest.mark.parametrize("smooth", [False, True])
def test_rows_left_out_in_closed_form_are_those_left_out_one_by_one(smooth: bool) -> None:
    """By the conditional normal distribution of a row given the others, with the same covariance."""
    f, z = planted(30, generator("closed"))
    hyper = np.array([0.8, 0.4 * smooth, 1.5, 0.1])
    process = Process(f, z[:, 0], hyper)
    errors, deviations = process.left_out()
    squares = ((f[:, None] - f[None]) ** 2).sum(axis=-1)
    covariance = 1 + 0.8 / 3 * f @ f.T + hyper[1] * np.exp(-squares / 4.5) + 0.1 * np.eye(30)
    for i in range(30):
        others = np.arange(30) != i
        weights = np.linalg.solve(covariance[others][:, others], covariance[others, i])
        sd = np.sqrt(covariance[i, i] - weights @ covariance[others, i])
        np.testing.assert_allclose(deviations[i], sd)
        np.testing.assert_allclose(errors[i], (z[i, 0] - weights @ z[others, 0]) / sd, rtol=1e-6)


@pytest.mark.parametrize("smooth", [False, True])
def test_the_marginal_likelihood_is_at_a_maximum(smooth: bool) -> None:
    """No step of one per cent in a free number gains anything; the noise is that of the plan to 4 errors."""
    f, z = planted(200, generator("likelihood"))
    process = Process.fit(f, z[:, 0], smooth)

    def log_likelihood(hyper: Array) -> float:
        squares = ((f[:, None] - f[None]) ** 2).sum(axis=-1)
        linear = hyper[0] / 3 * f @ f.T
        covariance = (
            1 / 200 + linear + hyper[1] * np.exp(-0.5 * squares / hyper[2] ** 2) + hyper[3] * np.eye(200)
        )
        return float(stats.multivariate_normal.logpdf(z[:, 0], np.zeros(200), covariance))

    best = log_likelihood(process.hyper)
    for k in range(4) if smooth else (0, 3):
        for step in (0.99, 1.01):
            assert log_likelihood(process.hyper * np.where(np.arange(4) == k, step, 1.0)) < best + 1e-3
    if not smooth:
        assert process.hyper[3] == pytest.approx(0.09, abs=4 * 0.09 * np.sqrt(2 / 200))


def test_predictions_far_from_all_rows_return_to_the_prior() -> None:
    """Of a smooth process alone: variance v + noise + what the rows leave of the offset's."""
    f, z = planted(20, generator("far"))
    mean, sd = Process(f, z[:, 0], np.array([0.0, 0.7, 1.0, 0.2])).predict(np.full((1, 3), 50.0))
    squares = ((f[:, None] - f[None]) ** 2).sum(axis=-1)
    weights = np.linalg.solve(0.7 * np.exp(-squares / 2) + 0.2 * np.eye(20), np.ones(20))
    offset = 1 / (1 + weights.sum())
    assert sd[0] == pytest.approx(np.sqrt(0.9 + offset), rel=1e-6)
    assert mean[0] == pytest.approx(offset * weights @ z[:, 0], rel=1e-6)


@pytest.mark.parametrize("nu", [3.0, 50.0])
def test_densities_are_those_of_scipy(nu: float) -> None:
    rng = generator("density")
    factors = np.tril(rng.standard_normal((4, 2, 2))) + 2 * np.eye(2)
    residuals = rng.standard_normal((4, 5, 2))
    for i in range(4):
        shape = factors[i] @ factors[i].T
        expected = stats.multivariate_t.logpdf(residuals[i], np.zeros(2), shape, df=nu)
        np.testing.assert_allclose(log_student(residuals, factors, nu)[i], expected)


def test_the_scatter_of_heavy_tails_is_found_and_is_a_fixed_point() -> None:
    """Of 4,000 rows of t_3: each entry to 4 errors, each below sqrt(2 (1 + 2 / nu) / n)."""
    shape = np.array([[1.0, 0.5], [0.5, 2.0]])
    errors = stats.multivariate_t.rvs(np.zeros(2), shape, 3, 4000, random_state=generator("scatter"))
    found = student_scatter(errors, 3.0)
    root = np.sqrt(np.outer(np.diag(shape), np.diag(shape)))
    assert (np.abs(found - shape) < 4 * root * np.sqrt(2 * (1 + 2 / 3) / 4000)).all()
    weights = 5 / (3 + (errors * np.linalg.solve(found, errors.T).T).sum(axis=1))
    np.testing.assert_allclose((errors * weights[:, None]).T @ errors / 4000, found, rtol=2e-3)


def test_scales_left_out_are_those_of_the_others() -> None:
    """The smoother without a row, at that row, with the logarithms of squares as they are."""
    f, z = planted(25, generator("scale"), widens=0.8)
    scale = Scale(f, z, 2.0)
    g = np.log(np.maximum(z**2 / (z**2).mean(axis=0), 1e-4))
    g -= g.mean(axis=0)
    kernel = 2.0 * np.exp(-0.5 * ((f[:, None] - f[None]) ** 2).sum(axis=-1) / 3)
    for i in range(25):
        others = np.arange(25) != i
        smooth = kernel[i, others] @ np.linalg.solve(kernel[others][:, others] + 5 * np.eye(24), g[others])
        np.testing.assert_allclose(scale.left_out()[i], np.exp(0.5 * np.clip(smooth, -3, 3)))


@pytest.mark.parametrize("widens", [0.0, 0.7])
def test_planted_widths_are_found_and_even_ones_left_even(widens: float) -> None:
    """Levels of 2,000 fresh rows are uniform to what 200 rows allow; a scale pays, or is even."""
    f, z = planted(200, generator("planted"), widens)
    found = HeteroscedasticRegression.fit(f, z, smooth=False)
    fresh, truth = planted(2000, generator("fresh"), widens)
    even = Scale(f, found.scale.errors, 0.0)
    factor = np.linalg.cholesky(student_scatter(found.scale.errors, found.nu))
    gain = found.log_score(fresh, truth) - replace(found, scale=even, factor=factor).log_score(fresh, truth)
    if widens:
        assert gain.mean() > 0.1
    else:
        assert np.log(found.scale.at(fresh)).std() < 0.15 and abs(gain.mean()) < 0.02
    centres, factors = found.at(fresh)
    white = np.linalg.solve(factors, (truth - centres)[:, :, None])[:, :, 0]
    levels = stats.f.cdf((white**2).sum(axis=1) / 2, 2, found.nu)
    for level in (0.5, 0.9):
        error = np.sqrt(level * (1 - level) * (1 / 200 + 1 / 2000))
        assert (levels < level).mean() == pytest.approx(level, abs=4 * error)


def test_entropies_of_rows_left_out_and_of_fresh_rows_agree() -> None:
    """To the spread of either."""
    f, z = planted(200, generator("width"))
    found = HeteroscedasticRegression.fit(f, z, smooth=False)
    fresh, _ = planted(2000, generator("width", "fresh"))
    assert found.entropy() == pytest.approx(found.entropy(fresh), abs=0.02)


def test_its_numbers_give_the_same_answers() -> None:
    f, z = planted(40, generator("arrays"), 0.5)
    found = HeteroscedasticRegression.fit(f, z, smooth=True)
    again = HeteroscedasticRegression.from_arrays(found.arrays())
    np.testing.assert_array_equal(found.log_score(f, z), again.log_score(f, z))


def test_a_mean_far_off_is_not_shrunk() -> None:
    """Outputs around 5 with features that say nothing: predictions are 5 * 60 / 61 or so."""
    rng = seeds.generator(20261130, "test", "heteroscedastic", "mean")
    f, z = rng.standard_normal((60, 2)), 5 + rng.standard_normal(60)
    mean, _ = Process.fit(f, z, smooth=False).predict(rng.standard_normal((20, 2)))
    assert np.abs(mean - 5 * 60 / 61).max() < 4 * np.sqrt(3 / 60)


def test_the_entropy_is_that_of_the_answers() -> None:
    """The mean of -log density of their own draws, to 4 errors; heavy tails count by what they claim."""
    f, z = planted(200, generator("entropy"))
    found = HeteroscedasticRegression.fit(f, z, smooth=False)
    centres, factors = found.at(f)
    rng = generator("entropy", "draws")
    noise = rng.standard_normal((500, *z.shape)) / np.sqrt(
        rng.chisquare(found.nu, (500, len(z), 1)) / found.nu
    )
    drawn = centres + np.einsum("njk,snk->snj", factors, noise)
    surprise = np.stack([-found.log_score(f, each) for each in drawn]) / z.shape[1]
    error = surprise.std() / np.sqrt(surprise.size)
    assert found.entropy(f) == pytest.approx(surprise.mean(), abs=4 * error)

"""Rows where members disagree: how likely each is, and that weights make them rows of the prior again."""

from __future__ import annotations

import numpy as np
import pytest

from veridical import seeds
from veridical.errors import ShapeError
from veridical.inference.acquisition import acquired, disagreement, inclusion, kept
from veridical.tasks.base import Array

SHARE, N, C = 0.5, 400, 2000
SD = 0.5  # of the noise in x = theta + noise, with theta standard normal


def candidates(path: int = 0, n: int = C) -> Array:
    return seeds.generator(7, "test", "acquisition", path).standard_normal((n, 1))


def leaning(theta: Array) -> Array:
    """A score that prefers large parameters: with it, N(0, 1) becomes N(1/2, 1)."""
    return np.exp(theta[:, 0] / 2)


def test_members_disagree_where_densities_do_and_not_their_logarithms() -> None:
    log_q = np.log([[0.2, 0.30, 1e-30, 0.4], [0.4, 0.30, 1e-10, 0.1]])
    found = disagreement(log_q)
    np.testing.assert_allclose(found / found[0], [1, 0, 0, 2.25], atol=1e-9)
    same = disagreement(np.array([[-np.inf, -1.0], [-2.0, -np.inf]]))
    assert np.isfinite(same).all() and same[1] > same[0]
    assert not disagreement(np.full((2, 3), -np.inf)).any()
    with pytest.raises(ShapeError):
        disagreement(np.zeros(3))


def test_probabilities_are_the_stated_mixture() -> None:
    theta = candidates()
    score = leaning(theta)
    found = inclusion(score, N, SHARE)
    expected = (1 - SHARE) * N / C + SHARE * N * score / score.sum()
    assert expected.max() < 1
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(inclusion(np.zeros(C), N, SHARE), N / C)


def test_none_is_more_than_certain() -> None:
    """One score of 1000 others' weight: it is kept for sure, and the others share what is left."""
    score = np.ones(10)
    score[3] = 1e4
    found = inclusion(score, 4, 0.75)
    assert found[3] == 1 and found.sum() == pytest.approx(4)
    np.testing.assert_allclose(np.delete(found, 3), 3 / 9)
    assert all(3 in kept(found, seeds.generator(k, "test")) for k in range(20))


def test_rows_are_kept_once_and_as_often_as_their_probability_says() -> None:
    """Within five standard errors of 4000 selections, for each of 12 candidates."""
    found = inclusion(np.arange(12.0), 5, 0.6)
    rng, times = seeds.generator(1, "test", "kept"), 4000
    counts = np.zeros(12)
    for _ in range(times):
        rows = kept(found, rng)
        assert len({*rows.tolist()}) == 5
        counts[rows] += 1
    error = np.sqrt(found * (1 - found) / times)
    assert (np.abs(counts / times - found) < 5 * error).all()


def test_weighted_means_are_those_of_the_candidates_and_plain_ones_are_not() -> None:
    """Given the candidates, over 300 selections; the bias without weights is known, and seen."""
    theta, rng = candidates(), seeds.generator(2, "test", "means")
    score, even = leaning(theta), theta[:, 0].mean()
    means = []
    for _ in range(300):
        rows, weight = acquired(theta, score, N, SHARE, rng)
        assert weight.max() <= 1 / (1 - SHARE) + 1e-12
        means.append([(weight * rows[:, 0]).mean(), rows[:, 0].mean()])
    mean, error = np.mean(means, axis=0), np.std(means, axis=0) / np.sqrt(300)
    assert abs(mean[0] - even) < 4 * error[0] and error[0] < 0.01
    biased = (inclusion(score, N, SHARE) * theta[:, 0]).sum() / N
    assert abs(mean[1] - biased) < 4 * error[1]
    assert biased - even > 20 * error[1]


def test_the_posterior_is_the_exact_one_with_weights_and_another_one_without() -> None:
    r"""theta ~ N(0, 1), x = theta + N(0, sd^2): the line of theta on x is that of the posterior mean,
    x / (1 + sd^2), with weights. Without, the score stands for a prior of one half N(0, 1) and one half
    N(1/2, 1), of mean 1/4 and variance 17/16, whose line is known too.
    """
    rng, lines = seeds.generator(3, "test", "posterior"), []
    for _ in range(60):
        theta, weight = acquired(pool := rng.standard_normal((5 * C, 1)), leaning(pool), C, SHARE, rng)
        x = theta[:, 0] + SD * rng.standard_normal(C)
        lines.append([line(x, theta[:, 0], w) for w in (weight, np.ones(C))])
    mean, error = np.mean(lines, axis=0), np.std(lines, axis=0) / np.sqrt(60)
    slope = (17 / 16) / (17 / 16 + SD**2)
    exact = [[0, 1 / (1 + SD**2)], [0.25 * (1 - slope), slope]]
    assert (np.abs(mean - exact) < 4 * error).all(), (mean, exact, error)
    assert mean[1, 0] > 10 * error[1, 0]  # the planted bias: 0.05, a tenth of a posterior sd


def line(x: Array, theta: Array, weight: Array) -> tuple[float, float]:
    """Intercept and slope of theta on x by weighted least squares."""
    design = np.stack([np.ones_like(x), x], axis=1)
    found = np.linalg.solve(design.T @ (design * weight[:, None]), design.T @ (weight * theta))
    return float(found[0]), float(found[1])

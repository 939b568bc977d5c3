"""The Student-t field: its distribution, likelihood and scores at both levels, and its Gaussian limit."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tests.tasks.exact_scores import relative_error, require_bartlett, slopes
from veridical.errors import ShapeError, TaskError
from veridical.tasks import as_arrays
from veridical.tasks.gaussian_field import GaussianField
from veridical.tasks.student_field import NUGGET, StudentField

SMALL = StudentField(side=8, replicates=3)
LEVELS = ("blocks", "field")


def covariance(log_length: float, side: int, level: str) -> np.ndarray:
    """Of all sites, pair by pair."""
    sites = [(i, j) for i in range(side) for j in range(side)]
    found = np.zeros((len(sites), len(sites)))
    for a, (i, j) in enumerate(sites):
        for b, (k, m) in enumerate(sites):
            together = level == "field" or (i // 4, j // 4) == (k // 4, m // 4)
            distance = np.hypot(i - k, j - m) / (side - 1)
            found[a, b] = together * np.exp(-distance / np.exp(log_length)) + NUGGET * (a == b)
    return found


@pytest.mark.parametrize("level", LEVELS)
def test_simulations_are_elliptical_with_the_covariance_of_the_level(
    level: str, rng: np.random.Generator
) -> None:
    theta, n = np.log([0.3, 4.0]), 3000
    x = SMALL.simulate(np.tile(theta, (n, 1)), SMALL.noise(rng, n), level).reshape(3 * n, -1)
    factor = np.linalg.cholesky(covariance(theta[0], 8, level))
    white = np.linalg.solve(factor, x.T).T
    squares = (white**2).sum(axis=1)
    assert stats.kstest(squares / 64 * 6 / 4, stats.f(64, 6).cdf).pvalue > 1e-4
    directions = white / np.sqrt(squares)[:, None] * 8  # uniform on a sphere: unit covariance
    assert np.abs(directions.T @ directions / len(x) - np.eye(64)).max() < 5.5 * np.sqrt(2 / len(x))


@pytest.mark.parametrize("level", LEVELS)
def test_the_likelihood_is_the_student_density(level: str, rng: np.random.Generator) -> None:
    theta = SMALL.prior.sample(rng, 5)
    x = SMALL.simulate(theta, SMALL.noise(rng, 5), level)
    expected = []
    for (log_length, log_excess), row in zip(theta, x, strict=True):
        nu = 2 + np.exp(log_excess)
        shape = covariance(log_length, 8, level) * (nu - 2) / nu
        expected.append(stats.multivariate_t(shape=shape, df=nu).logpdf(row.reshape(3, -1)).sum())
    assert np.allclose(SMALL.log_likelihoods(theta, x, level), expected, rtol=0, atol=1e-8)
    if level == "field":
        each = [SMALL.log_likelihood(t[None], r)[0] for t, r in zip(theta, x, strict=True)]
        assert np.allclose(each, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("level", LEVELS)
def test_scores_are_the_slopes_of_the_likelihood(level: str, rng: np.random.Generator) -> None:
    theta = SMALL.prior.sample(rng, 40)
    x = SMALL.simulate(theta, SMALL.noise(rng, 40), level)
    slope = slopes(lambda at: SMALL.log_likelihoods(at, x, level), theta)
    assert relative_error(SMALL.score(theta, x, level), slope) < 1e-6


def test_scores_have_a_mean_of_zero_and_the_fisher_information_for_a_covariance(
    rng: np.random.Generator,
) -> None:
    task, n = StudentField(side=4, replicates=2), 4000
    theta = np.tile(np.log([0.3, 3.0]), (n, 1))
    x = task.simulate(theta, task.noise(rng, n), "field")
    require_bartlett(lambda at: task.score(at, x), theta)


def test_scores_come_with_the_rows(rng: np.random.Generator) -> None:
    task, n = StudentField(side=8, replicates=3, scores=True), 4
    theta, noise = task.prior.sample(rng, n), task.noise(rng, n)
    found = as_arrays(task.simulate(theta, noise, "blocks"))
    assert np.array_equal(found["x"], SMALL.simulate(theta, noise, "blocks"))
    alone = [SMALL.score(theta[k : k + 1], found["x"][k : k + 1], "blocks") for k in range(n)]
    assert np.array_equal(found["score"], np.concatenate(alone))
    assert found["score"].shape == (n, 2)


@pytest.mark.parametrize("level", LEVELS)
def test_with_many_degrees_of_freedom_it_is_the_gaussian_field(level: str, rng: np.random.Generator) -> None:
    """Data, likelihood and the score of the length scale; the tails fall as 1 / nu."""
    n, gaussian = 6, GaussianField(side=8)
    student, noise = StudentField(side=8, replicates=1), SMALL.noise(rng, n)
    noise = {"sites": noise["sites"][:, :1], "scale": noise["scale"][:, :1]}
    log_length = SMALL.prior.sample(rng, n)[:, :1]
    theta = np.hstack([log_length, np.full((n, 1), np.log(1e9))])
    same = np.hstack([log_length, np.full((n, 1), np.log(NUGGET))])
    x = student.simulate(theta, noise, level)
    limit = gaussian.simulate(same, {"sites": noise["sites"][:, 0]}, level)
    assert np.allclose(x[:, 0], limit, rtol=0, atol=1e-3)
    log_p, expected = (
        student.log_likelihoods(theta, x, level),
        gaussian.log_likelihoods(same, x[:, 0], level),
    )
    assert np.allclose(log_p, expected, rtol=0, atol=1e-4)
    scores = student.score(theta, x, level), gaussian.score(same, x[:, 0], level)
    assert np.allclose(scores[0][:, 0], scores[1][:, 0], rtol=0, atol=1e-4)
    assert np.abs(scores[0][:, 1]).max() < 1e-3


@pytest.mark.parametrize("level", LEVELS)
def test_the_cells_are_the_surface_of_the_likelihood(level: str, rng: np.random.Generator) -> None:
    x = SMALL.simulate(SMALL.prior.sample(rng, 1), SMALL.noise(rng, 1), level)
    centres, _ = SMALL.grid()
    some = rng.choice(len(centres), 50, replace=False)
    direct = SMALL.log_likelihoods(centres[some], np.broadcast_to(x[0], (50, *SMALL.x_shape)), level)
    assert np.allclose(SMALL.surface(x[0], level).ravel()[some], direct, rtol=0, atol=1e-7)


def test_the_evidence_is_that_of_another_quadrature(rng: np.random.Generator) -> None:
    task = StudentField(side=4, replicates=4)
    x = task.simulate(np.log([[0.4, 3.0]]), task.noise(rng, 1), "field")
    points, weights = np.polynomial.legendre.leggauss(40)
    axes = [low + (high - low) * (points + 1) / 2 for low, high in task.bounds]
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    likelihood = task.log_likelihoods(nodes, np.broadcast_to(x[0], (len(nodes), *task.x_shape)), "field")
    evidence = np.log((np.outer(weights, weights).ravel() / 4 * np.exp(likelihood - likelihood.max())).sum())
    assert task.log_evidence(x)[0] == pytest.approx(evidence + likelihood.max(), abs=1e-4)


@pytest.mark.parametrize("replicates", [0, 2.0, True])
def test_what_is_no_number_of_replicates_is_refused(replicates: object) -> None:
    with pytest.raises(TaskError, match="expected a whole number replicates >= 1, got"):
        StudentField(replicates=replicates)  # type: ignore[arg-type]


def test_sides_and_shapes_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(TaskError, match="student_field: expected side to be a multiple of 4, got 6"):
        StudentField(side=6)
    theta = SMALL.prior.sample(rng, 2)
    with pytest.raises(ShapeError, match=r"x: expected shape \(2, 3, 8, 8\)"):
        SMALL.score(theta, np.zeros((2, 8, 8)))

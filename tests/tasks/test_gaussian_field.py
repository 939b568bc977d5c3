"""The Gaussian field: moments, likelihood and scores at both levels, exact posterior against brute force."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tests.tasks.exact_scores import relative_error, slopes
from veridical.bank import shards
from veridical.bank.filling import ShardRows
from veridical.errors import TaskError
from veridical.stages.simulate import simulate_shard
from veridical.tasks import as_arrays
from veridical.tasks.gaussian_field import GaussianField

SMALL = GaussianField(side=8)
LEVELS = ("blocks", "field")


def covariance(theta: np.ndarray, side: int, level: str) -> np.ndarray:
    """Of all sites, pair by pair."""
    length, nugget = np.exp(theta)
    sites = [(i, j) for i in range(side) for j in range(side)]
    found = np.zeros((len(sites), len(sites)))
    for a, (i, j) in enumerate(sites):
        for b, (k, m) in enumerate(sites):
            together = level == "field" or (i // 4, j // 4) == (k // 4, m // 4)
            distance = np.hypot(i - k, j - m) / (side - 1)
            found[a, b] = together * np.exp(-distance / length) + nugget * (a == b)
    return found


@pytest.mark.parametrize("level", LEVELS)
def test_simulations_have_the_covariance_of_the_level(level: str, rng: np.random.Generator) -> None:
    theta, n = np.log([0.3, 0.1]), 20_000
    x = SMALL.simulate(np.tile(theta, (n, 1)), SMALL.noise(rng, n), level).reshape(n, -1)
    expected = covariance(theta, 8, level)
    error = np.sqrt((np.outer(np.diag(expected), np.diag(expected)) + expected**2) / n)
    assert (np.abs(x.T @ x / n - expected) / error).max() < 5.0
    assert np.abs(x.mean(axis=0)).max() < 5 * np.sqrt(1.1 / n)


@pytest.mark.parametrize("level", LEVELS)
def test_the_likelihood_is_the_normal_density(level: str, rng: np.random.Generator) -> None:
    theta = SMALL.prior.sample(rng, 5)
    x = SMALL.simulate(theta, SMALL.noise(rng, 5), level)
    expected = [
        stats.multivariate_normal(cov=covariance(t, 8, level)).logpdf(r.ravel())
        for t, r in zip(theta, x, strict=True)
    ]
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


def test_scores_have_a_mean_of_zero_and_come_with_the_rows(rng: np.random.Generator) -> None:
    n, task = 4000, GaussianField(side=8, scores=True)
    theta, noise = task.prior.sample(rng, n), task.noise(rng, n)
    found = as_arrays(task.simulate(theta, noise, "field"))
    assert np.array_equal(found["x"], SMALL.simulate(theta, noise, "field"))
    score = found["score"]
    assert (np.abs(score.mean(axis=0)) < 4 * score.std(axis=0) / np.sqrt(n)).all()


def test_the_bank_keeps_scores(tmp_path: Path) -> None:
    rows = ShardRows(root=1, fidelity="field", split="train", first=0, last=249)
    path = tmp_path / "rows-000000000-000000249.zarr.zip"
    task = GaussianField(side=4, scores=True)
    simulate_shard(task, path, rows, key="k")
    with shards.opened(path) as arrays:
        found = {name: array[:] for name, array in arrays.items()}
    assert np.allclose(found["score"], task.score(found["theta"], found["x"]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("level", LEVELS)
def test_the_posterior_is_that_of_brute_force(level: str, rng: np.random.Generator) -> None:
    """The evidence by quadrature of another kind; densities and draws by it."""
    theta = np.log([[0.2, 0.1], [0.7, 0.4]])
    x = SMALL.simulate(theta, SMALL.noise(rng, 2), level)
    points, weights = np.polynomial.legendre.leggauss(40)
    axes = [low + (high - low) * (points + 1) / 2 for low, high in SMALL.bounds]
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    mass = np.outer(weights, weights).ravel() / 4
    for row in x:
        likelihood = SMALL.log_likelihoods(nodes, np.broadcast_to(row, (len(nodes), 8, 8)), level)
        top = likelihood.max()
        evidence = top + np.log((mass * np.exp(likelihood - top)).sum())
        assert abs(SMALL.log_evidence(row[None], level)[0] - evidence) < 1e-3
        density = SMALL.posterior_log_prob(nodes[:, None], row[None], level)[:, 0]
        prior = SMALL.prior.log_prob(nodes)
        assert np.allclose(density, likelihood + prior - evidence, rtol=0, atol=1.1e-3)
        share = mass * np.exp(likelihood - evidence)
        mean = share @ nodes
        sd = np.sqrt(share @ (nodes - mean) ** 2)
        draws = SMALL.posterior_sample(row[None], rng, 4000, level)[:, 0]
        assert (np.abs(draws.mean(axis=0) - mean) < 4.5 * sd / np.sqrt(4000)).all()
        assert np.allclose(draws.std(axis=0), sd, rtol=0.08)
    outside = SMALL.posterior_log_prob(np.full((2, 2), 1.0), x, level)
    assert (outside == -np.inf).all()


def test_the_cells_are_the_surface_of_the_likelihood(rng: np.random.Generator) -> None:
    x = SMALL.simulate(SMALL.prior.sample(rng, 1), SMALL.noise(rng, 1), "field")
    centres, area = SMALL.grid()
    assert area * len(centres) == pytest.approx(np.prod(np.diff(SMALL.bounds, axis=1)))
    some = rng.choice(len(centres), 50, replace=False)
    direct = SMALL.log_likelihoods(centres[some], np.broadcast_to(x[0], (50, 8, 8)), "field")
    assert np.allclose(SMALL.surface(x[0], "field").ravel()[some], direct, rtol=0, atol=1e-7)


@pytest.mark.parametrize("side", [0, 6, 8.0, True])
def test_sides_that_no_blocks_fill_are_refused(side: object) -> None:
    with pytest.raises(TaskError, match="expected side to be a multiple of 4, got"):
        GaussianField(side=side)  # type: ignore[arg-type]

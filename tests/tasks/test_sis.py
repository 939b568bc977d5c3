"""The SIS epidemic: simulations, likelihood, exact and joint scores, of few people by enumeration."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.linalg import expm

from tests.tasks.exact_scores import relative_error, require_bartlett, slopes
from veridical.bank import shards
from veridical.bank.filling import ShardRows
from veridical.errors import DataError, TaskError
from veridical.stages.simulate import simulate_shard
from veridical.tasks import as_arrays
from veridical.tasks.sis import SIS

FEW = {"people": 3, "infected": 1, "times": 2, "arrivals": 0.1}
OUTCOMES = np.array(list(product(range(4), repeat=2)), float)
THETA = np.log([1.2, 0.6])


def by_hidden_paths(theta: np.ndarray, x: np.ndarray, seen: float) -> float:
    """The likelihood of the few, as a sum over all that may have been."""
    contact, recovery = np.exp(theta)
    q = np.zeros((4, 4))
    for i in range(4):
        for j, rate in ((i + 1, contact * i * (3 - i) / 3 + 0.1 * (3 - i)), (i - 1, recovery * i)):
            if 0 <= j <= 3:
                q[i, j], q[i, i] = rate, q[i, i] - rate
    p, total = expm(q), 0.0
    for first, second in product(range(4), repeat=2):
        seen_of = stats.binom.pmf(x[0], first, seen) * stats.binom.pmf(x[1], second, seen)
        total += p[1, first] * p[first, second] * seen_of
    return total


@pytest.mark.parametrize("seen", [0.7, 1.0])
def test_the_likelihood_sums_over_hidden_paths_and_to_one(seen: float) -> None:
    task = SIS(seen=seen, **FEW)
    found = np.exp(task.log_likelihoods(np.tile(THETA, (16, 1)), OUTCOMES, "chain"))
    assert np.allclose(found, [by_hidden_paths(THETA, x, seen) for x in OUTCOMES], rtol=1e-10, atol=0)
    assert found.sum() == pytest.approx(1, abs=1e-12)
    assert task.log_likelihood(THETA[None], OUTCOMES[5]) == pytest.approx(np.log(found[5]))


@pytest.mark.parametrize("seen", [0.7, 1.0])
def test_simulations_follow_the_likelihood_and_joint_scores_have_the_exact_one_for_a_mean(
    seen: float, rng: np.random.Generator
) -> None:
    """Outcome by outcome of the few: their frequencies, and the conditional mean of the joint score."""
    n, task = 20_000, SIS(seen=seen, scores="joint", **FEW)
    theta = np.tile(THETA, (n, 1))
    found = as_arrays(task.simulate(theta, task.noise(rng, n), "chain"))
    which = (4 * found["x"][:, 0] + found["x"][:, 1]).astype(int)
    expected = n * np.exp(task.log_likelihoods(theta[:16], OUTCOMES, "chain"))
    assert stats.chisquare(np.bincount(which, minlength=16), expected).pvalue > 1e-4
    exact = task.score(theta[:16], OUTCOMES)
    for k in range(16):
        joint = found["score"][which == k]
        assert len(joint) > 20
        assert (np.abs(joint.mean(axis=0) - exact[k]) < 4.5 * joint.std(axis=0) / np.sqrt(len(joint))).all()


@pytest.mark.parametrize("seen", [0.8, 1.0])
def test_scores_are_the_slopes_of_the_likelihood(seen: float, rng: np.random.Generator) -> None:
    task = SIS(seen=seen)
    theta = task.prior.sample(rng, 60)
    x = task.simulate(theta, task.noise(rng, 60), "chain")
    slope = slopes(lambda at: task.log_likelihoods(at, x, "chain"), theta)
    assert relative_error(task.score(theta, x), slope) < 1e-6


def test_scores_have_a_mean_of_zero_and_the_fisher_information_for_a_covariance(
    rng: np.random.Generator,
) -> None:
    task, n = SIS(people=12, infected=3, times=6), 3000
    theta = np.tile(THETA, (n, 1))
    x = task.simulate(theta, task.noise(rng, n), "chain")
    require_bartlett(lambda at: task.score(at, x), theta)


def test_joint_scores_at_size_are_exact_ones_and_noise(rng: np.random.Generator) -> None:
    """The difference has the mean zero whatever multiplies it that x and theta decide."""
    n, task = 1500, SIS(scores="joint")
    theta = task.prior.sample(rng, n)
    found = as_arrays(task.simulate(theta, task.noise(rng, n), "chain"))
    x, joint = found["x"], found["score"]
    exact = task.score(theta, x)
    assert ((joint**2).mean(axis=0) > 1.5 * (exact**2).mean(axis=0)).all(), "paths say more than counts"
    for factor in (np.ones(n), *exact.T, *theta.T, x.mean(axis=1), x[:, -1] - x[:, 0]):
        terms = (joint - exact) * factor[:, None]
        assert (np.abs(terms.mean(axis=0)) < 4.5 * terms.std(axis=0) / np.sqrt(n)).all()
    shuffled = (joint[::-1] - exact) * exact
    assert (np.abs(shuffled.mean(axis=0)) > 4.5 * shuffled.std(axis=0) / np.sqrt(n)).all(), "has power"


@pytest.mark.parametrize("scores", [True, "joint"])
def test_scores_of_a_row_have_the_same_bits_alone(scores: object, rng: np.random.Generator) -> None:
    task, n = SIS(scores=scores), 6  # type: ignore[arg-type]
    theta, noise = task.prior.sample(rng, n), task.noise(rng, n)
    together = as_arrays(task.simulate(theta, noise, "chain"))["score"]
    for k in range(n):
        row = {name: array[k : k + 1] for name, array in noise.items()}
        alone = as_arrays(task.simulate(theta[k : k + 1], row, "chain"))["score"]
        assert np.array_equal(together[k : k + 1], alone)


def test_without_recoveries_the_infected_only_grow(rng: np.random.Generator) -> None:
    task, n = SIS(seen=1.0), 50
    theta = np.column_stack([task.prior.sample(rng, n)[:, 0], np.full(n, -80.0)])
    x = task.simulate(theta, task.noise(rng, n), "chain")
    assert (np.diff(x, axis=1) >= 0).all() and x.max() == 30
    assert np.isfinite(task.log_likelihoods(theta, x, "chain")).all()
    assert np.abs(task.score(theta, x)[:, 1]).max() < 1e-12, "rates of recovery are nearly zero"
    x[:, 0] = 4  # one fewer than at the start
    assert (task.log_likelihoods(theta, x, "chain") < -70).all()
    theta[:, 1] = -np.inf
    assert (task.log_likelihoods(theta, x, "chain") == -np.inf).all()


def test_the_bank_keeps_scores_of_either_kind(tmp_path: Path) -> None:
    rows, found = ShardRows(root=1, fidelity="chain", split="train", first=0, last=199), {}
    for scores in (True, "joint"):
        path, task = tmp_path / f"{scores}.zarr.zip", SIS(times=3, scores=scores)
        task.block_rows = 200
        simulate_shard(task, path, rows, key="k")
        with shards.opened(path) as arrays:
            found[scores] = {name: array[:] for name, array in arrays.items()}
    assert np.array_equal(found[True]["x"], found["joint"]["x"])
    exact = SIS(times=3).score(found[True]["theta"], found[True]["x"])
    assert np.allclose(found[True]["score"], exact, rtol=1e-6, atol=1e-6)
    assert found["joint"]["score"].shape == (200, 2)
    assert 0.5 < np.corrcoef(found["joint"]["score"][:, 0], exact[:, 0])[0, 1] < 0.99


def test_cells_and_evidence_are_those_of_the_likelihood(rng: np.random.Generator) -> None:
    task = SIS(people=10, infected=2, times=8)
    x = task.simulate(THETA[None], task.noise(rng, 1), "chain")
    centres, _ = task.grid()
    direct = task.log_likelihoods(centres, np.broadcast_to(x[0], (len(centres), 8)), "chain")
    assert np.allclose(task.surface(x[0], "chain").ravel(), direct, rtol=0, atol=1e-9)
    points, weights = np.polynomial.legendre.leggauss(24)
    axes = [low + (high - low) * (points + 1) / 2 for low, high in task.bounds]
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    likelihood = np.exp(task.log_likelihoods(nodes, np.broadcast_to(x[0], (len(nodes), 8)), "chain"))
    evidence = np.log(np.outer(weights, weights).ravel() / 4 @ likelihood)
    assert task.log_evidence(x)[0] == pytest.approx(evidence, abs=1e-3)


def test_rows_that_need_too_many_numbers_fail_with_their_scores(rng: np.random.Generator) -> None:
    for scores in (True, "joint"):
        task = SIS(scores=scores)
        theta = np.log([[1.0, 0.5], [400.0, 100.0]])
        found = as_arrays(task.simulate(theta, task.noise(rng, 2), "chain"))
        assert np.isnan(found["x"][1]).all() and np.isnan(found["score"][1]).all()
        assert np.isfinite(found["x"][0]).all() and np.isfinite(found["score"][0]).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"people": 0}, "whole numbers people >= 1, infected from 0 to people"),
        ({"infected": 31}, "infected from 0 to people"),
        ({"times": 2.0}, "times >= 1, got"),
        ({"seen": 0.0}, "expected seen above 0 and up to 1"),
        ({"arrivals": -0.1}, "arrivals >= 0, got 0.8 and -0.1"),
        ({"scores": "exact"}, "expected scores true, false or joint, got 'exact'"),
        ({"scores": 1}, "expected scores true, false or joint, got 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        SIS(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [-1.0, 3.5, 31.0, np.nan])
def test_what_is_no_count_is_refused(count: float) -> None:
    x = np.full(15, count)
    with pytest.raises(DataError, match="expected counts, whole numbers from 0 to 30; got"):
        SIS().log_likelihood(THETA[None], x)

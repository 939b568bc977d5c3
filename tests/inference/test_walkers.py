"""Chains of many posteriors side by side, against closed forms and against the exact reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from veridical import seeds
from veridical.inference import chains, tempering, walkers
from veridical.tasks.gaussian_linear import GaussianLinear
from veridical.tasks.gaussian_variance import GaussianVariance
from veridical.tasks.mixture import Mixture

ENSEMBLES = 4
SIZES = {"walkers": 64, "warm_up": 60, "steps": 200}
Array = np.ndarray


def run(task: Any, x: Array, draws: int = 500) -> tuple[Array, Array, Array]:
    """Chains (N, E, T, W, D) of all observations x (N, L) at once, with R-hat and effective sizes (N, D)."""
    space = chains._target(task, x[0]).space

    def log_likelihood(z: Array, rows: Array) -> Array:
        theta, found = space.to_parameters(z), np.empty(len(z))
        for row in np.unique(rows):
            found[rows == row] = task.log_likelihood(theta[rows == row], x[row // ENSEMBLES])
        return found

    rngs = [seeds.generator(1, "test", "walkers", row) for row in range(len(x) * ENSEMBLES)]
    pool = np.stack([space.to_unconstrained(task.prior.sample(rng, draws)) for rng in rngs])
    target = tempering.Target(space, task.prior, log_likelihood)
    z, accepted = walkers.sample(target, pool, rngs, **SIZES)
    assert ((accepted > 0.08) & (accepted < 0.9)).all(), accepted
    theta = space.to_parameters(z.reshape(len(x), ENSEMBLES, *z.shape[1:]))
    rhat, ess = map(np.array, zip(*map(tempering.convergence, theta), strict=True))
    assert rhat.max() < 1.05 and ess.min() > 300
    return theta, rhat, ess


def test_normal_posteriors_of_several_observations_come_out_within_their_error() -> None:
    task = GaussianLinear(4, prior_sd=2.0, noise_sd=0.1)
    x = np.array([[0.0, 1.0, -1.0, 0.5], [2.0, 2.0, 2.0, 2.0], [-3.0, 0.0, 3.0, 0.1]])
    theta, _, ess = run(task, x)
    flat = theta.reshape(3, -1, 4)
    z = (flat.mean(axis=1) - task.posterior_shrinkage * x) / task.posterior_sd * np.sqrt(ess)
    assert np.abs(z).max() < 4.5
    variance = flat.var(axis=1) / task.posterior_sd**2
    assert np.abs((variance - 1) / np.sqrt(2 / ess)).max() < 5
    kept = tempering.gathered(theta[0], 1000)
    assert kept.shape == (1000, 4)
    assert {tuple(row) for row in kept} <= {tuple(row) for row in theta[0].reshape(-1, 4)}


def test_a_bound_and_two_modes_have_their_marginals() -> None:
    task, x = GaussianVariance(repeats=5), np.array([[0.3, -1.2, 0.9, 2.2, 0.1], [3.0, 2.0, 4.0, 2.5, 3.1]])
    theta, _, ess = run(task, x)
    for i in range(2):
        exact = task.prior.given(x[i : i + 1])
        variance = stats.invgamma(exact.shape, scale=exact.scale[0])
        for level in (0.05, 0.5, 0.95):
            share = (theta[i, ..., 1] < variance.ppf(level)).mean()
            assert abs(share - level) < 4.5 * np.sqrt(level * (1 - level) / ess[i, 1])
    modes, y = Mixture(prior_sd=3.0, offset=2.0, noise_sd=0.3, weight=0.3), np.array([[0.4], [-0.8]])
    theta, _, ess = run(modes, y, draws=1000)
    grid = np.linspace(-8, 8, 4001)
    for i in range(2):
        density = np.exp(modes.posterior_log_prob(grid[:, None, None], y[i : i + 1])[:, 0])
        expected = np.trapezoid(density[grid > 0], grid[grid > 0])
        assert abs((theta[i] > 0).mean() - expected) < 4.5 * np.sqrt(0.25 / ess[i, 0])


def test_a_row_depends_neither_on_the_others_nor_on_their_number() -> None:
    task, x = GaussianLinear(2), np.array([[0.0, 0.0], [5.0, -9.0], [1.0, 1.0]])
    together = run(task, x)[0]
    rngs = [seeds.generator(1, "test", "walkers", row) for row in range(ENSEMBLES)]
    space = chains._target(task, x[0]).space
    pool = np.stack([space.to_unconstrained(task.prior.sample(rng, 500)) for rng in rngs])
    target = tempering.Target(space, task.prior, lambda z, rows: task.log_likelihood(z, x[0]))
    alone, _ = walkers.sample(target, pool, rngs, **SIZES)
    np.testing.assert_array_equal(alone, together[0])


@pytest.mark.parametrize("power", [0.0, 0.5])
def test_moves_keep_a_tempered_target(power: float) -> None:
    """From exact draws of the target and back to them, lengths fixed: means, variances, a correlation."""
    task, x = GaussianLinear(2, prior_sd=1.0, noise_sd=0.5), np.array([0.7, -0.4])
    precision = 1 + power / 0.25
    mean, sd = power / 0.25 * x / precision, precision**-0.5
    rngs = [seeds.generator(1, "test", "kept", row) for row in range(200)]
    z = np.stack([mean + sd * rng.standard_normal((20, 2)) for rng in rngs])
    target = tempering.Target(
        chains._target(task, x).space, task.prior, lambda z, _: task.log_likelihood(z, x)
    )
    path, _ = walkers.Walkers.of(target, rngs).moved(z, np.full(200, power), 30, np.arange(200))
    end = (path[-1] - mean) / sd
    n = end[..., 0].size
    assert np.abs(end.mean(axis=(0, 1))).max() < 4.5 / np.sqrt(n)
    assert np.abs(end.var(axis=(0, 1)) - 1).max() < 4.5 * np.sqrt(2 / n)
    assert abs((end[..., 0] * end[..., 1]).mean()) < 4.5 / np.sqrt(n)


def test_chains_that_do_not_agree_go_on_and_others_stay() -> None:
    task, steps = GaussianLinear(2), 20
    target = tempering.Target(
        chains._target(task, np.zeros(2)).space, task.prior, lambda z, _: task.log_likelihood(z, np.zeros(2))
    )
    asked: list[Array] = []

    def sample(**more: Any) -> Array:
        rngs = [seeds.generator(1, "test", "walkers", "longer", row) for row in range(4)]
        pool = np.stack([task.prior.sample(rng, 100) for rng in rngs])
        return walkers.sample(target, pool, rngs, walkers=16, warm_up=5, steps=steps, **more)[0]

    def unsettled(z: Array) -> Array:
        asked.append(z.copy())
        return np.array([[2, 3], [3], []][len(asked) - 1], int)

    plain, longer = sample(), sample(unsettled=unsettled, doublings=5)
    assert np.array_equal(longer[:2], plain[:2]) and np.array_equal(asked[0], plain)
    assert len(asked) == 3, "no more doublings than there are chains that need them"
    assert np.array_equal(longer[2], asked[1][2])
    # Of 40 and then 80 further steps every second and every fourth is kept.
    rngs = [seeds.generator(1, "test", "walkers", "longer", row) for row in range(4)]
    pool = np.stack([task.prior.sample(rng, 100) for rng in rngs])
    whole = walkers.sample(target, pool, rngs, walkers=16, warm_up=5, steps=steps + 120)[0]
    assert np.array_equal(longer[2], whole[2, steps + 1 : steps + 40 : 2])
    assert np.array_equal(longer[3], whole[3, steps + 43 :: 4])
    asked.clear()
    assert np.array_equal(sample(unsettled=unsettled, doublings=0), plain) and not asked

"""The exact sampler against closed forms, and on the pelts against the published posterior."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from veridical import seeds, tasks
from veridical.errors import ConvergenceError, SettingError, ShapeError, TaskError
from veridical.inference import chains as reference
from veridical.inference import tempering
from veridical.tasks.gaussian_linear import GaussianLinear
from veridical.tasks.gaussian_variance import GaussianVariance
from veridical.tasks.joint import Dirichlet, Joint, Sorted
from veridical.tasks.mixture import Mixture
from veridical.tasks.priors import Normal

SETTINGS = {"walkers": 64, "prior_draws": 2000, "warm_up": 60, "steps": 300}
PELTS = Path(__file__).parents[2] / "config" / "data" / "hudson_bay_lynx_hare.csv"


def run(
    task: tasks.Task, x: np.ndarray, ensembles: int = 4, root: int = 1, **changes: Any
) -> reference.Reference:
    settings = SETTINGS | changes
    chains = [reference.sample_ensemble(task, x, k, settings, root) for k in range(ensembles)]
    return reference.combine(chains, 4000)


def test_a_gaussian_posterior_comes_out_within_its_error() -> None:
    task, x = GaussianLinear(8, prior_sd=2.0, noise_sd=0.1), np.linspace(-1, 1, 8)
    settings = SETTINGS | {"steps": 600}
    chains = [reference.sample_ensemble(task, x, k, settings, 1) for k in range(4)]
    found = reference.combine(chains, 1000)
    assert found.converged(1.02, 1000), (found.rhat, found.ess)
    draws = np.concatenate([chain["draws"].reshape(-1, 8) for chain in chains])
    z = (draws.mean(axis=0) - task.posterior_shrinkage * x) / task.posterior_sd * np.sqrt(found.ess)
    assert np.abs(z).max() < 4.5
    variance = draws.var(axis=0) / task.posterior_sd**2
    assert abs(variance.mean() - 1) < 4 * np.sqrt(2 / found.ess.sum() * 2)
    assert found.draws.shape == (1000, 8) and found.log_posterior.shape == (1000,)
    exact = task.prior.log_prob(found.draws) + task.log_likelihood(found.draws, x)
    np.testing.assert_allclose(found.log_posterior, exact, rtol=1e-9)


def test_a_parameter_with_a_bound_has_its_marginals() -> None:
    task = GaussianVariance(repeats=5)
    x = np.array([0.3, -1.2, 0.9, 2.2, 0.1])
    found = run(task, x)
    exact = task.prior.given(x[None])
    variance = stats.invgamma(exact.shape, scale=exact.scale[0])
    spread = np.sqrt(exact.scale[0] / (exact.shape * exact.strength))
    mean = stats.t(2 * exact.shape, exact.location[0], spread)
    for j, marginal in enumerate((mean, variance)):
        for level in (0.05, 0.5, 0.95):
            share = (found.draws[:, j] < marginal.ppf(level)).mean()
            assert abs(share - level) < 4.5 * np.sqrt(level * (1 - level) / min(found.ess[j], 4000))


def test_two_modes_get_their_shares() -> None:
    task, x = Mixture(prior_sd=3.0, offset=2.0, noise_sd=0.3, weight=0.3), np.array([0.4])
    found = run(task, x)
    grid = np.linspace(-8, 8, 4001)
    density = np.exp(task.posterior_log_prob(grid[:, None, None], x[None])[:, 0])
    expected = np.trapezoid(density[grid > 0], grid[grid > 0])
    share = (found.draws > 0).mean()
    assert 0.1 < expected < 0.9
    assert abs(share - expected) < 4.5 * np.sqrt(expected * (1 - expected) / min(found.ess[0], 4000))


def test_starts_follow_the_tempered_posterior() -> None:
    task, x = GaussianLinear(2, prior_sd=5.0, noise_sd=0.1), np.array([1.0, -2.0])
    random = np.random.RandomState(np.random.MT19937(seeds.sequence(1, "test", "moves")))
    target, rng = reference._target(task, x), seeds.generator(1, "test", "start")

    def move(z: np.ndarray, powers: np.ndarray, steps: int, rows: np.ndarray) -> np.ndarray:
        return reference._run(target, z[0], float(powers[0]), steps, random).get_chain()[:, None]

    pool = target.space.to_unconstrained(task.prior.sample(rng, 20_000))
    (z,) = tempering.starts(target, pool[None], 800, move, [rng])
    expected = 1 / (1 / 25 + 0.5 / 0.01)
    assert len(np.unique(z, axis=0)) > 0.97 * len(z)
    assert z.var(axis=0).mean() == pytest.approx(expected, rel=4 * np.sqrt(2 / 800) * 1.5)
    assert z.std(axis=0).min() > 1.2 * task.posterior_sd, "wider than the posterior"


def test_randomness_is_that_of_root_data_set_observation_and_ensemble() -> None:
    task, x = GaussianLinear(2), np.zeros(2)
    settings = SETTINGS | {"steps": 50}

    def first(ensemble: int, root: int, **path: Any) -> np.ndarray:
        return reference.sample_ensemble(task, x, ensemble, settings, root, **path)["draws"]

    same = first(0, 1)
    assert same.shape == (50, 64, 2)
    assert np.array_equal(same, first(0, 1))
    for other in (first(1, 1), first(0, 2), first(0, 1, dataset="real"), first(0, 1, observation=1)):
        assert not np.array_equal(same, other)


def test_kept_draws_mix_all_ensembles() -> None:
    rng = seeds.generator(1, "test", "kept")
    draws = [k + 0.01 * rng.standard_normal((20, 8, 1)) for k in range(3)]
    chains = [{"draws": own, "log_posterior": np.zeros((20, 8)), "acceptance": 0.3} for own in draws]
    found = reference.combine(chains, 12)
    assert np.bincount(found.draws[:, 0].round().astype(int)).tolist() == [4, 4, 4]
    assert reference.combine(chains, 10_000).draws.shape == (480, 1)


def test_ensembles_that_disagree_are_reported_by_parameter() -> None:
    rng = seeds.generator(1, "test", "disagree")
    draws = rng.standard_normal((4, 200, 10, 2))
    chains = [{"draws": own, "log_posterior": np.zeros((200, 10)), "acceptance": 0.3} for own in draws]
    assert reference.combine(chains, 100).converged(1.01, 1000)
    draws[2, ..., 1] += 1.0
    assert not reference.combine(chains, 100).converged(1.01, 1000)


def test_what_has_no_reference_is_refused() -> None:
    class Silent(tasks.Task):
        name = "silent"
        prior = GaussianLinear(1).prior
        parameters = prior.parameters()
        fidelities = {"model": 1.0}  # noqa: RUF012
        dimensions = GaussianLinear(1).dimensions

        def simulate(self, theta: np.ndarray, noise: Any, fidelity: str) -> np.ndarray:
            return theta

    class Impossible(Silent):
        def log_likelihood(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
            return np.full(len(theta), -np.inf)

    with pytest.raises(TaskError, match="silent has no log_likelihood"):
        reference.sample_ensemble(Silent(), np.zeros(1), 0, SETTINGS, 1)
    with pytest.raises(ConvergenceError, match="of task silent: none of 2000 prior draws"):
        reference.sample_ensemble(Impossible(), np.zeros(1), 0, SETTINGS, 1)
    with pytest.raises(ShapeError, match="x: expected shape"):
        reference.sample_ensemble(GaussianLinear(2), np.zeros(3), 0, SETTINGS, 1)
    with pytest.raises(SettingError, match="has 20 parameters; expected at least 80 walkers, got 64"):
        reference.sample_ensemble(GaussianLinear(20), np.zeros(20), 0, SETTINGS, 1)
    with pytest.raises(ConvergenceError, match="at least two independent ensembles, got 1"):
        run(GaussianLinear(1), np.zeros(1), ensembles=1)


@pytest.mark.slow
def test_the_pelts_have_their_published_posterior() -> None:
    """Means and standard deviations of Stan's case study, to the digits that it prints."""
    task = tasks.build({"name": "lotka_volterra"})
    x = np.loadtxt(PELTS, delimiter=",", skiprows=1)[:, 1:]
    found = run(task, x, ensembles=2, walkers=96, prior_draws=5000, warm_up=60, steps=100)
    mean = np.array([0.55, 0.028, 0.80, 0.024, 34.0, 5.9, 0.25, 0.25])
    sd = np.array([0.065, 0.004, 0.09, 0.004, 3.0, 0.5, 0.045, 0.044])
    assert found.rhat.max() < 1.05
    assert (np.abs(found.draws.mean(axis=0) - mean) < 0.35 * sd).all()
    assert (np.abs(found.draws.std(axis=0) / sd - 1) < 0.25).all()


class Shares(tasks.Task):
    """Counts of three types, whose shares are uniform, and two ordered numbers seen with noise."""

    name, fidelities = "shares", {"only": 1.0}
    prior = Joint({("a", "b", "c"): Dirichlet([1, 1, 1]), ("s", "t"): Sorted(Normal(0, 1))})
    parameters = prior.parameters()
    dimensions = (tasks.Dimension("what", ("a", "b", "c", "s", "t")),)

    def simulate(self, theta: Any, rng: Any, fidelity: str) -> Any:
        raise NotImplementedError

    def log_likelihood(self, theta: Any, x: Any) -> Any:
        return (x[:3] * np.log(theta[:, :3])).sum(axis=1) - 0.5 * ((x[3:] - theta[:, 3:]) ** 2).sum(axis=1)


def test_shares_and_ordered_numbers_have_their_exact_posterior() -> None:
    """Dirichlet(1 + counts); s, t given x are normal around x / 2, as far as they are ordered."""
    x = np.array([7.0, 3.0, 1.0, 0.5, 0.2])
    found = run(Shares(), x)
    assert np.abs(found.draws[:, :3].sum(axis=1) - 1).max() < 1e-12
    assert (found.draws[:, 3] < found.draws[:, 4]).all()
    rng = seeds.generator(1, "test", "ordered")
    free = x[3:] / 2 + np.sqrt(0.5) * rng.normal(size=(200_000, 2))
    free = free[free[:, 0] < free[:, 1]]
    exact = [
        *(stats.beta(c + 1, 13 - c).cdf for c in x[:3]),
        *(stats.ecdf(column).cdf.evaluate for column in free.T),
    ]
    for j, cdf in enumerate(exact):
        n = min(found.ess[j], 4000)
        assert stats.kstest(found.draws[:, j], cdf).statistic < 2.2 / np.sqrt(n)

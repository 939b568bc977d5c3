"""Checks near the observation: exact whatever the weights, and alarmed by faults that exist only there."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from veridical import checks, seeds
from veridical.checks.nearby import Neighbours
from veridical.errors import DataError
from veridical.estimators.standing import Standing
from veridical.inference.proposals import Proposal
from veridical.saved.posteriors import Draws
from veridical.stages.nearby import Neighbourhood
from veridical.tasks import build
from veridical.tasks.priors import LogNormal, Normal, Product, Uniform

from .gaussian_model import value

NOISE = 0.2


def linear(d: int, **settings: float) -> object:
    return build({"name": "gaussian_linear", "settings": {"dimension": d, "noise_sd": NOISE, **settings}})


class Faulty:
    """The exact posterior, but shifted or of another width for data near (1, ..., 1)."""

    def __init__(self, d: int, shift: float = 0.0, scale: float = 1.0) -> None:
        self.task, self.shift, self.scale = linear(d), shift, scale
        self.radius = stats.chi2(d).ppf(0.99)

    def standing(self, x: np.ndarray) -> Standing:
        return Standing()

    def sample(self, x: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
        shrinkage, sd = self.task.posterior_shrinkage, self.task.posterior_sd
        near = ((x - shrinkage) ** 2).sum(axis=1) / (sd**2 + NOISE**2) <= self.radius
        mean = shrinkage * x + np.where(near, self.shift * sd, 0.0)[:, None]
        return mean + np.where(near, self.scale, 1.0)[:, None] * sd * rng.standard_normal((n, *x.shape))


def judged(
    method: Faulty,
    d: int,
    rng: np.random.Generator,
    *,
    draws: int = 500,
    rows: int = 200,
    observations: int = 1,
) -> dict[str, checks.CheckResult]:
    """The results of both checks."""
    answer = method.sample(np.ones((observations, d)), 1000, rng)
    ask = Neighbourhood(method.task, method, "model", draws, int(rng.integers(2**31)))  # type: ignore[arg-type]
    bounds = method.task.bounds
    made = [ask.around(answer[:, i], bounds, rows, d, i) for i in range(observations)]
    arrays = {name: np.concatenate([m[name] for m in made], axis=1) for name in ("pool", "log_weight")}
    arrays |= {"widening": np.array([m["widening"] for m in made]), "failed": np.zeros(observations)}
    arrays["observation"] = np.repeat(np.arange(observations), rows)
    given = Draws(method.task.parameter_names, bounds, ("",) * d, answer)
    names = ("local_ranks", "local_c2st")
    return {name: checks.build(name).run(given, rng, nearby=arrays) for name in names}


def test_ranks_and_swaps_are_exact_where_few_draws_share_all_weight(rng: np.random.Generator) -> None:
    """Six parameters, twenty draws: the reweighted ones are worth about three."""
    d, s, m = 6, 20, 4000
    task = linear(d)
    answer = task.posterior_sample(np.ones((1, d)), rng, 1000)[:, 0]
    proposal = Proposal.around(answer, task.bounds, task.prior, 1.0, rng)
    theta = proposal.sample(m, rng)
    x = task.simulate(theta, task.noise(rng, m), "model")
    pool = np.concatenate([theta[None], task.posterior_sample(x, rng, s)])
    around = Neighbours(pool, proposal.log_weights(pool))
    assert np.median(around.effective) < 4
    u = around.ranks(np.concatenate([pool, around.log_weight[..., None]], axis=-1), rng)
    for column in u.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-4
    other = pool[around.resampled(rng), np.arange(m)]
    for power in (1, 2):
        difference = (theta - 1) ** power - (other - 1) ** power
        z = difference.mean(axis=0) / (difference.std(axis=0, ddof=1) / np.sqrt(m))
        assert np.abs(z).max() < 4.5


@pytest.mark.parametrize("d", [2, 8])
@pytest.mark.parametrize("fault", [{"shift": 0.5}, {"scale": 0.7}])
def test_faults_that_exist_only_near_the_observation_are_found(
    d: int, fault: dict[str, float], rng: np.random.Generator
) -> None:
    found = judged(Faulty(d, **fault), d, rng)
    assert any(result.passed is False for result in found.values())


@pytest.mark.parametrize("d", [2, 8])
def test_the_exact_posterior_is_not_blamed(d: int) -> None:
    """p-values of forty repeats: the least of forty is below 1e-4 in 1 of 250 cases."""
    p_values: dict[str, list[float]] = {}
    for i in range(20):
        rng = seeds.generator(1, "test", "local size", d, i)
        for name, result in judged(Faulty(d), d, rng, draws=200, rows=100).items():
            p_values.setdefault(name, []).append(float(result.p_value))
    for found in p_values.values():
        assert stats.binomtest(int(np.sum(np.array(found) <= 0.05)), 20, 0.05).pvalue > 1e-3


def test_several_observations_share_the_level_and_the_worst_is_shown(rng: np.random.Generator) -> None:
    found = judged(Faulty(2, scale=0.6), 2, rng, observations=3)["local_ranks"]
    p_values = found.curves["p_values"]
    assert p_values.shape == (3,)
    assert found.p_value == pytest.approx(min(1, 3 * p_values.min()))
    assert value(found, "local_ranks_p").value == found.p_value
    assert found.curves["ecdf"].shape == (2, 99)


def test_ranks_without_power_are_no_pass(rng: np.random.Generator) -> None:
    """All weight lies on the parameters simulated at: the pool tells nothing of where they belong."""
    pool, log_weight = rng.normal(size=(200, 100, 1)), np.zeros((200, 100))
    log_weight[0] = 50
    arrays = {"pool": pool, "log_weight": log_weight, "observation": np.zeros(100, int)}
    arrays |= {"widening": np.ones(1), "failed": np.zeros(1)}
    draws = Draws(("a",), np.array([[-np.inf, np.inf]]), ("",), pool[:, :1])
    result = checks.build("local_ranks").run(draws, rng, nearby=arrays)
    assert result.passed is None and "too few" in result.notes[-1]
    outside = np.full((200, 100), -np.inf)
    outside[0] = 0
    result = checks.build("local_ranks").run(draws, rng, nearby={**arrays, "log_weight": outside})
    assert "too few" in result.notes[-1] and value(result, "local_effective").value == 1
    few = {**arrays, "pool": pool[:, :30], "log_weight": log_weight[:, :30], "observation": np.zeros(30, int)}
    for name in ("local_ranks", "local_c2st"):
        result = checks.build(name).run(draws, rng, nearby=few)
        assert result.passed is None and "30 valid simulations" in result.notes[0]
    with pytest.raises(DataError, match="expected the arrays"):
        checks.build("local_c2st").run(draws, rng, nearby={"pool": pool})


@pytest.mark.parametrize("widening", [1.0, 2.0])
def test_proposals_are_the_density_that_they_say(widening: float, rng: np.random.Generator) -> None:
    """Weights g / p, averaged over the prior with another function, give that function's mean under g."""
    prior = Product({"a": Uniform(0.0, 2.0), "b": LogNormal(0.0, 1.0), "c": Normal(0.0, 1.0, lower=0.0)})
    answer = np.exp(rng.normal(-0.5, 0.3, size=(2000, 3)))
    answer = answer[answer[:, 0] < 2]
    proposal = Proposal.around(answer, prior.bounds, prior, widening, rng)
    drawn, wide = proposal.sample(20_000, rng), prior.sample(rng, 200_000)
    w = np.exp(proposal.log_weights(wide))
    w /= w.sum()
    expected = w @ np.log(wide)
    error = np.sqrt((w[:, None] ** 2 * (np.log(wide) - expected) ** 2).sum(axis=0))
    error = np.hypot(error, np.log(drawn).std(axis=0) / np.sqrt(len(drawn)))
    assert (np.abs(np.log(drawn).mean(axis=0) - expected) < 4.5 * error).all()
    assert np.isneginf(proposal.log_weights(np.array([[3.0, 1.0, 1.0], [1.0, -1.0, 1.0]]))).all()
    with pytest.raises(DataError, match="differ"):
        Proposal.around(np.ones((10, 3)), prior.bounds, prior, widening, rng)


def test_an_answer_as_wide_as_the_prior_is_proposed_within_it(rng: np.random.Generator) -> None:
    """With answer and prior N(0, 1), widened by kappa: variance kappa^2 / (1 + kappa^2), bounded weights."""
    prior = Product({"a": Normal(0.0, 1.0)})
    proposal = Proposal.around(rng.normal(size=(4000, 1)), prior.bounds, prior, 2.0, rng)
    assert proposal.sample(20_000, rng).var() == pytest.approx(0.8, rel=0.1)
    far = proposal.log_weights(np.array([[0.0], [5.0], [50.0]]))
    assert far[0] > far[1] > far[2]

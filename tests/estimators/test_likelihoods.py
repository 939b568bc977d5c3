"""Posteriors from likelihoods and ratios: of exact ones, and learned ones against closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from veridical import methods, seeds
from veridical.errors import TrainingError
from veridical.estimators.base import Material, Rows, TaskInfo
from veridical.estimators.nle import NLE, _continuous
from veridical.estimators.nle_settings import NLESettings
from veridical.estimators.nre import Balance
from veridical.estimators.sampled import LikelihoodNetwork, as_elements, elements_of
from veridical.inference.settings import SamplingSettings
from veridical.networks.trainable import Stack
from veridical.networks.transforms import InputTransform, ParameterTransform
from veridical.tasks.joint import Dirichlet, Joint
from veridical.tasks.priors import Normal, Product, Uniform
from veridical.training.session import Session

Array = np.ndarray
NOISE = 0.3
TWO = TaskInfo("two", ("a", "b"), np.array([(-np.inf, np.inf), (0.0, 3.0)]), ("", ""), (2,))
PRIOR = Product({"a": Normal(0.0, 1.0), "b": Uniform(0.0, 3.0)})
SHARES = Joint({("p", "q", "r"): Dirichlet([1.0, 1.0, 1.0])})
THREE = TaskInfo(
    "three", ("p", "q", "r"), np.array([(0.0, 1.0)] * 3), ("",) * 3, (3,), constraints=SHARES.constraints
)
RUN = Session(20261129, ("likelihoods", 0))


class Exact(LikelihoodNetwork):
    """The log likelihood of parameters themselves, in place of a learned one."""

    def __init__(self, parameters: ParameterTransform, function: Any) -> None:
        super().__init__()
        self.space, self.function = parameters, function

    def log_likelihood(self, z: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self.function(self.space.inverse(z.numpy()), context.numpy()))


def exact(task: TaskInfo, prior: Any, function: Any, independent: int | None = None, **sampling: Any) -> NLE:
    """A likelihood estimator around an exact one; x is not transformed."""
    theta = prior.sample(seeds.generator(1, "test", "prior"), 2000)
    parameters = ParameterTransform.fit(theta, task.bounds, task.support)
    shape = as_elements(np.empty((0, *task.x_shape)), independent).shape[2:]
    inputs = InputTransform("none", np.zeros(shape), np.ones(shape))
    settings = NLESettings(sampling=SamplingSettings(**sampling), independent=independent)
    network: Any = Exact(parameters, function)
    return NLE(settings, task, inputs, parameters, network, prior=prior)


def normal(theta: Array, x: Array) -> Array:
    return -0.5 * (((x - theta) / NOISE) ** 2).sum(axis=1)


@pytest.mark.parametrize("by", ["chains", "importance"])
def test_an_exact_likelihood_gives_the_exact_posterior(by: str) -> None:
    """Marginals of a normal and of a truncated normal by Kolmogorov and Smirnov, at the stated sizes."""
    found = exact(TWO, PRIOR, normal, by=by)
    x = np.array([[0.5, 1.5], [-1.0, 0.1], [2.0, 2.95]])
    draws, log_density, told = found.drawn(x, 2000, seeds.generator(1, "test", by))
    assert log_density is None and ((draws[..., 1] > 0) & (draws[..., 1] < 3)).all()
    shrunk = 1 / (1 + NOISE**2)
    for i, (first, second) in enumerate(x):
        marginals = [
            stats.norm(shrunk * first, NOISE * shrunk**0.5),
            stats.truncnorm(-second / NOISE, (3 - second) / NOISE, second, NOISE),
        ]
        for j, marginal in enumerate(marginals):
            n = min(told["ess"][i, j], 2000)
            assert n > 150
            assert stats.kstest(draws[:, i, j], marginal.cdf).statistic < 2.2 / np.sqrt(n)
    if by == "chains":
        assert told["rhat"].shape == (3, 2) and (told["rhat"] < 1.05).all()
    else:
        assert (found.standing(x).numbers["k"] < 0.7).all() and found.standing(x).answered(3).all()


@pytest.mark.parametrize("by", ["chains", "importance"])
def test_shares_stay_on_their_simplex_and_have_their_posterior(by: str) -> None:
    """Counts of three types: Dirichlet(1 + counts)."""
    found = exact(THREE, SHARES, lambda theta, x: (x * np.log(theta)).sum(axis=1), by=by)
    x = np.array([[7.0, 3.0, 1.0], [0.0, 20.0, 5.0]])
    draws, _, told = found.drawn(x, 2000, seeds.generator(1, "test", "shares"))
    assert np.abs(draws.sum(axis=2) - 1).max() < 1e-12
    for i, counts in enumerate(x):
        for j, count in enumerate(counts):
            marginal = stats.beta(1 + count, 2 + counts.sum() - count)
            assert told["ess"][i, j] > 150
            assert stats.kstest(draws[:, i, j], marginal.cdf).statistic < 2.2 / np.sqrt(told["ess"][i, j])


def test_independent_entries_add() -> None:
    task = TaskInfo("many", ("a", "b"), TWO.bounds, ("", ""), (2, 5))
    found = exact(task, PRIOR, normal, independent=1)
    x = seeds.generator(1, "test", "x").standard_normal((3, 2, 5))
    theta = PRIOR.sample(seeds.generator(1, "test", "theta"), 12).reshape(4, 3, 2)
    expected = sum(normal(theta.reshape(-1, 2), np.tile(x[:, :, r], (4, 1))) for r in range(5))
    np.testing.assert_allclose(found.log_likelihood(theta, x).ravel(), expected)
    outside = np.array([[0.0, -1.0], [0.0, 3.5], [0.0, 1.0]])
    assert np.isneginf(found.log_likelihood(outside, x)).tolist() == [True, True, False]
    rows = elements_of(Rows(np.arange(3.0)[:, None], x, np.array([False, False, True])), 1)
    assert rows.theta[:, 0].tolist() == [0, 1, 2] * 5 and rows.validation.tolist() == [False, False, True] * 5
    np.testing.assert_array_equal(rows.x[4], x[1, :, 1])


def simulated(n: int, *shape: int) -> Rows:
    rng = seeds.generator(1, "test", "simulated", n)
    theta = PRIOR.sample(rng, n)
    x = theta.reshape(n, 2, *[1] * len(shape)) + NOISE * rng.standard_normal((n, 2, *shape))
    return Rows(theta, x.astype(np.float32), np.arange(n) % 10 == 9)


LEARNED = {
    "nle": {"type": "nle", "flow": {"type": "maf", "transforms": 1}},
    "nre contrastive": {"type": "nre"},
    "nre binary": {"type": "nre", "loss": "binary"},
    "nre balanced": {"type": "nre", "loss": "balanced", "strength": 10},
    "nre with summaries": {"type": "nre", "summary": {"type": "mlp", "features": 4, "hidden": [32]}},
    "independent": {"type": "nle", "flow": {"type": "maf", "transforms": 1}, "independent": 1},
    "nre independent": {"type": "nre", "independent": 1},
}


@pytest.mark.parametrize("case", LEARNED)
def test_learned_likelihoods_come_near_the_exact_one(case: str) -> None:
    """Differences between parameters of the posterior to 0.4 nats an entry (rms); balance near 1."""
    shape = (2,) if "independent" in case else ()
    rows = simulated(1500 if shape else 3000, *shape)
    task = TaskInfo("two", ("a", "b"), TWO.bounds, ("", ""), (2, *shape))
    spec = {**LEARNED[case], "training": {"epochs": 15, "batch_size": 128}}
    found, _ = methods.fit(spec, task, Material(rows, prior=PRIOR), RUN)
    rng = seeds.generator(1, "test", "near")
    fresh = simulated(50, *shape)
    inside = np.abs(fresh.theta[:, 1] - 1.5) < 1.2
    theta, x = fresh.theta[inside], fresh.x[inside]
    near = theta + NOISE * rng.standard_normal((20, *theta.shape))
    near[..., 1] = np.clip(near[..., 1], 0.05, 2.95)
    each = as_elements(x, 1 if shape else None)
    truth = sum(
        normal(near.reshape(-1, 2), np.tile(each[:, r], (20, 1))) for r in range(each.shape[1])
    ).reshape(20, -1)
    off = found.log_likelihood(near, x) - truth
    assert np.sqrt(off.var(axis=0).mean()) < 0.4 * each.shape[1]
    if found.type == "nre":
        value, stderr = found.balance
        assert abs(value - 1) < 0.02 + 4 * stderr
        assert found.account()["balance"] == {"value": value, "stderr": stderr}


@pytest.mark.parametrize("spec", [*LEARNED.values(), {"type": "score"}], ids=[*LEARNED, "score"])
def test_a_stack_of_members_has_the_losses_of_each(spec: dict[str, Any]) -> None:
    settings = methods.typed(spec["type"], spec)
    shape = (2, 2) if settings.setting("independent") is not None else (2,)
    task = TaskInfo("two", ("a", "b"), TWO.bounds, ("", ""), shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        networks = [methods.method_class(spec).build(settings, task) for _ in range(3)]
    z = torch.from_numpy(seeds.generator(1, "test", "stack").standard_normal((2, 40, 2))).float()
    together = Stack(networks).losses_on_same(*z)
    torch.testing.assert_close(together, torch.stack([network.loss(*z) for network in networks]))


def test_a_ratio_that_is_out_of_balance_is_warned_of() -> None:
    rng = seeds.generator(1, "test", "balance")
    f = np.stack([rng.normal(1.0, 1.0, 4000), rng.normal(-1.0, 1.0, 4000)])
    assert "warning" not in Balance.of(f).told()
    assert "warning" in Balance.of(f + 0.5).told()


def test_whole_numbers_become_continuous_once_and_others_do_not() -> None:
    rng = seeds.generator(1, "test", "counts")
    x = np.stack([rng.poisson(3.0, 500), rng.standard_normal(500)], axis=1)
    found = _continuous(x, NLESettings(), RUN)
    np.testing.assert_array_equal(found[:, 1], x[:, 1])
    noise = found[:, 0] - x[:, 0]
    assert stats.kstest(noise + 0.5, "uniform").pvalue > 1e-3
    np.testing.assert_array_equal(found, _continuous(x, NLESettings(), RUN))
    np.testing.assert_array_equal(x, _continuous(x, NLESettings(counts=False), RUN))
    assert (_continuous(x, NLESettings(counts=True), RUN)[:, 1] != x[:, 1]).all()


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "many numbers": ({}, {"x_shape": (40,)}, "holds 40 numbers; expected at most 30"),
    "more numbers": ({"most_numbers": 35}, {"x_shape": (40,)}, "holds 40 numbers; expected at most 35"),
    "a series": ({}, {"x_shape": (10,), "axes": ("series",)}, "holds a series.*Take an `nre`"),
    "no such axis": ({"independent": 3}, {}, "has no axis 3"),
    "a constant": ({"counts": False}, {"x_shape": (1,)}, "takes one value in all"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_suits_no_density_of_the_data_is_refused(case: str) -> None:
    changes, about, message = REFUSED[case]
    task = TaskInfo(**{**vars(TWO), **about})
    rows = Rows(
        PRIOR.sample(seeds.generator(1, "test"), 40), np.ones((40, *task.x_shape)), np.arange(40) % 4 == 3
    )
    with pytest.raises(TrainingError, match=message):
        NLE.fit(NLESettings(**changes), task, Material(rows, prior=PRIOR), RUN)


def test_priors_and_samplers_that_cannot_do_are_refused() -> None:
    class Own:
        def sample(self, rng: np.random.Generator, n: int) -> Array:
            return PRIOR.sample(rng, n)

        def log_prob(self, theta: Array) -> Array:
            return PRIOR.log_prob(theta)

    with pytest.raises(TrainingError, match="estimator 'nle' of task two"):
        NLE.fit(NLESettings(), TWO, Material(simulated(100), prior=Own()), RUN)
    many = Product({f"p{i}": Normal(0.0, 1.0) for i in range(5)})
    five = TaskInfo("five", tuple(many.marginals), np.tile([-np.inf, np.inf], (5, 1)), ("",) * 5, (5,))
    few = NLESettings(sampling=SamplingSettings(walkers=16))
    with pytest.raises(TrainingError, match="expected at least 20 walkers, got 16"):
        NLE.fit(few, five, Material(simulated(100), prior=many), RUN)

"""Regression on what a posterior believes: bars on the chain, planted beliefs, honesty of the folds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from tests.remedies.shifted_task import PRIOR, SHIFTED, rows
from tests.remedies.test_importance import Stated
from veridical import methods, seeds, tasks
from veridical.errors import ArtifactError, TrainingError
from veridical.estimators.apart import FOLDS
from veridical.estimators.base import Estimator, Material, Rows, TaskInfo
from veridical.estimators.prior_settings import PriorSettings
from veridical.remedies.moments import Moments
from veridical.tasks.gaussian_chain import GaussianChain
from veridical.training.session import Session

CHAIN = GaussianChain()


def generator(*path: str | int) -> np.random.Generator:
    return seeds.generator(20261130, "test", "moments", *path)


def real(task: tasks.Task, n: int, *path: str | int) -> Rows:
    rng = generator(*path)
    theta = task.prior.sample(rng, n)
    return Rows(theta, task.simulate(theta, task.noise(rng, n), "real"), np.zeros(n, bool))


def fit(pairs: Rows, parent: Estimator, task: TaskInfo, prior: Any, **settings: Any) -> Moments:
    spec = {"type": "moments", "of": "parent", **settings}
    material = Material(calibration=pairs, parent=parent, prior=prior)
    found = methods.fit(spec, task, material, Session(1, ("moments", 0)))[0]
    assert isinstance(found, Moments)
    return found


def prior_of(task: tasks.Task) -> Estimator:
    material = Material(prior=task.prior)
    return methods.fit({"type": "prior"}, TaskInfo.of(task), material, Session(1, ("prior", 0)))[0]


@pytest.fixture(scope="module")
def ignorant() -> Estimator:
    return prior_of(CHAIN)


@pytest.mark.parametrize(("pairs", "behind"), [(200, 0.2), (50, 0.9)])
def test_the_chain_is_learned_from_its_data(pairs: int, behind: float, ignorant: Estimator) -> None:
    """Behind the exact posterior by at most what its specification allows; coverage in its 95 % range."""
    info, test = TaskInfo.of(CHAIN), real(CHAIN, 1000, "test")
    found = fit(real(CHAIN, pairs, "pairs"), ignorant, info, CHAIN.prior)
    assert found.kind == "data" and found.bagged == (pairs < 150)
    exact = CHAIN.posterior_log_prob(test.theta, test.x, "real")
    assert (exact - found.log_prob(test.theta, test.x)).mean() < behind
    _, log_p = found.sample_and_log_prob(test.x, 200, generator("draws"))
    inside = ((log_p > found.log_prob(test.theta, test.x)).mean(axis=0) < 0.9).mean()
    rank = np.ceil(0.9 * (pairs + 1))
    range_of = stats.betabinom(1000, rank, pairs + 1 - rank)
    assert range_of.ppf(0.005) / 1000 <= inside <= range_of.ppf(0.999) / 1000


def test_beliefs_that_are_wrong_in_a_known_way_are_put_right() -> None:
    """theta ~ U(0, 1) given 200 noisy numbers, believed at 0.5 theta + 0.1 and ten times too surely."""
    task, n = replace(SHIFTED, x_shape=(200,)), 200
    rng = generator("beliefs")
    noise = 0.05

    def made(n: int) -> Rows:
        theta = PRIOR.sample(rng, n)
        x = rng.standard_normal((n, 200))
        x[:, 0] = theta[:, 0] + noise * rng.standard_normal(n)
        return Rows(theta, x, np.zeros(n, bool))

    class Believed(Stated):
        settings = PriorSettings()

    parent = Believed(task, lambda one: stats.norm(np.clip(0.5 * one[0] + 0.1, 0.01, 0.99), noise / 20))
    found = fit(made(n), parent, task, PRIOR)
    test = made(1000)
    assert found.kind == "beliefs" and found.scores["beliefs"] > found.scores["data"] + 0.5
    inside = stats.norm.logpdf(test.theta[:, 0], test.x[:, 0], noise)
    mass = np.log(np.diff(stats.norm.cdf([[0.0], [1.0]], test.x[:, 0], noise), axis=0)[0])
    assert (inside - mass - found.log_prob(test.theta, test.x)).mean() < 0.3


def test_beliefs_of_several_are_features_together() -> None:
    """Two posteriors know the data with independent noise: both together know theta better than either.

    Standard deviations of errors fall by sqrt(2), which is 0.35 nats; half of that at least. Files hold it.
    """
    task, noise = replace(SHIFTED, x_shape=(2,)), 0.05

    def made(n: int, name: str) -> Rows:
        rng = generator("several", name)
        theta = 0.3 + 0.4 * PRIOR.sample(rng, n)
        return Rows(theta, theta + noise * rng.standard_normal((n, 2)), np.zeros(n, bool))

    class Believed(Stated):
        settings = PriorSettings()

    one, other = (Believed(task, lambda x, k=k: stats.norm(x[k], 1e-3)) for k in (0, 1))
    pairs, test = made(200, "pairs"), made(500, "test")
    spec = {"type": "moments", "of": "one", "regress_on": "beliefs"}
    material = Material(calibration=pairs, parent=one, prior=PRIOR)
    alone = methods.fit(spec, task, material, Session(1, ("m", 0)))[0]
    both = {**spec, "beside": ["other"]}
    found = methods.fit(both, task, replace(material, beside=[other]), Session(1, ("m", 0)))[0]
    gain = found.log_prob(test.theta, test.x) - alone.log_prob(test.theta, test.x)
    assert gain.mean() > np.log(2) / 4
    again = Moments.from_arrays(found.settings, task, found.arrays(), one, [other])
    np.testing.assert_array_equal(again.log_prob(test.theta, test.x), found.log_prob(test.theta, test.x))
    with pytest.raises(ArtifactError, match="one of those beside it is missing"):
        Moments.from_arrays(found.settings, task, found.arrays(), one)


def test_few_pairs_are_answered_by_the_mixture_of_the_folds(ignorant: Estimator) -> None:
    info, test = TaskInfo.of(CHAIN), real(CHAIN, 20, "test")
    pairs = real(CHAIN, 40, "pairs")
    found = fit(pairs, ignorant, info, CHAIN.prior)
    each = [one.log_prob(test.theta, test.x) for _, one in found.apart(pairs)]
    assert found.bagged and len(each) == FOLDS
    np.testing.assert_allclose(found.log_prob(test.theta, test.x), logsumexp(each, axis=0) - np.log(FOLDS))
    alone = fit(pairs, ignorant, info, CHAIN.prior, refit=0)
    others = [one.answering[0].regression.entropy() for _, one in found.apart(pairs)]
    assert alone.bagged == (alone.refit.regression.entropy() < np.mean(others) - 0.1) or not alone.bagged


def test_answers_apart_do_not_know_the_pairs_that_they_are_for(ignorant: Estimator) -> None:
    """Other parameters of a pair change nothing in what answers it, and something in all other fits."""
    info, pairs = TaskInfo.of(CHAIN), real(CHAIN, 40, "pairs")
    theta = pairs.theta.copy()
    theta[7] += 1.0
    changed = replace(pairs, theta=theta)
    both = [fit(each, ignorant, info, CHAIN.prior).apart(each) for each in (pairs, changed)]
    seen = []
    for (rows_of, one), (again, other) in zip(*both, strict=True):
        np.testing.assert_array_equal(rows_of, again)
        same = np.array_equal(*(m.log_prob(pairs.theta[:3], pairs.x[:3]) for m in (one, other)))
        assert same == (7 in rows_of)
        seen.append(rows_of)
    assert sorted(np.concatenate(seen)) == list(range(40))


def test_what_it_refuses(ignorant: Estimator) -> None:
    info, pairs = TaskInfo.of(CHAIN), real(CHAIN, 40, "pairs")
    found = fit(pairs, ignorant, info, CHAIN.prior)
    with pytest.raises(TrainingError, match="it has learned from 40 labelled pairs, and these 39 are others"):
        found.apart(Rows(pairs.theta[1:], pairs.x[1:], pairs.validation[1:]))
    few = Rows(pairs.theta[:9], pairs.x[:9], pairs.validation[:9])
    with pytest.raises(TrainingError, match="expected at least 10 labelled real rows, got 9"):
        fit(few, ignorant, info, CHAIN.prior)
    mlp = methods.fit({"type": "mlp"}, info, Material(calibration=pairs), Session(1, ("mlp", 0)))[0]
    with pytest.raises(TrainingError, match="'mlp' has learned from labelled pairs"):
        fit(pairs, mlp, info, CHAIN.prior)


def test_it_learns_from_a_trained_posterior(npe: Estimator) -> None:
    """Whose answers to shifted data are off by several standard deviations."""
    pairs, test = rows(200, True, generator("npe", "pairs")), rows(500, True, generator("npe", "test"))
    found = fit(pairs, npe, SHIFTED, PRIOR)
    before, after = (each.log_prob(test.theta, test.x).mean() for each in (npe, found))
    exact = stats.norm.entropy(0, 0.1 / np.sqrt(5))
    assert before < -1 < after and after > -exact - 0.3


def test_a_parent_that_has_learned_from_the_pairs_leaves_them_out_too() -> None:
    """Of `moments` of a `ridge`: what answers a fifth rests on beliefs of a ridge without that fifth."""
    info, pairs = TaskInfo.of(CHAIN), real(CHAIN, 40, "pairs")
    both = []
    for each in (pairs, replace(pairs, theta=np.where(np.arange(40)[:, None] == 7, 1.5, 1.0) * pairs.theta)):
        ridge = methods.fit({"type": "ridge"}, info, Material(calibration=each), Session(1, ("r", 0)))[0]
        both.append(fit(each, ridge, info, CHAIN.prior, regress_on="beliefs").apart(each))
    for (held, one), (_, other) in zip(*both, strict=True):
        assert one.parent is not None and other.parent is not None
        fits = [each.parent.arrays()["ridge.coefficients"] for each in (one, other)]
        assert np.array_equal(*fits) == (7 in held)

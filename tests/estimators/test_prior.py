"""The prior as an estimator, and priors as plain data."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from veridical import seeds, tasks
from veridical.errors import ArtifactError, TaskError, TrainingError
from veridical.estimators.base import Material, TaskInfo
from veridical.estimators.prior import PriorEstimator
from veridical.estimators.prior_settings import PriorSettings
from veridical.tasks import priors
from veridical.tasks.base import Prior
from veridical.tasks.priors import LogitNormal, LogNormal, MultivariateNormal, Normal, Product, Uniform
from veridical.training.session import Session

RUN = Session(3, ("prior", 0))
FAMILIES: dict[str, Prior] = {
    "product": Product(
        {
            "a": Uniform(0.1, 0.7),
            "b": Normal(0.3, 2.0),
            "c": Normal(0.0, 1.0, lower=0.5),
            "d": LogNormal(-0.2, 0.4),
            "e": LogitNormal(1.0, 3.0, 0.3, 0.6),
        }
    ),
    "multivariate": MultivariateNormal({"a": 1.0, "b": -2.0}, np.array([[2.0, 0.6], [0.6, 0.5]])),
}


def fitted(name: str) -> tuple[PriorEstimator, tasks.Task]:
    task = tasks.build({"name": name})
    estimator, result = PriorEstimator.fit(
        PriorSettings(), TaskInfo.of(task), Material(prior=task.prior), RUN
    )
    assert result is None
    return estimator, task


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prior_comes_back_from_plain_data(family: str) -> None:
    prior = FAMILIES[family]
    again = priors.from_json(priors.to_json(prior))
    one, other = (p.sample(seeds.generator(1, "test"), 50) for p in (prior, again))
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(prior.log_prob(one), again.log_prob(one))


def test_a_prior_of_another_kind_is_refused() -> None:
    task = tasks.build({"name": "gaussian_variance"})
    with pytest.raises(TrainingError, match="a prior of type NormalInverseGamma cannot be written down"):
        PriorEstimator.fit(PriorSettings(), TaskInfo.of(task), Material(prior=task.prior), RUN)

    class Odd(Product):
        pass

    with pytest.raises(TaskError, match="cannot be written down"):
        priors.to_json(Odd({"a": Uniform(0, 1)}))
    with pytest.raises(TaskError, match="kind 'box' is unknown"):
        priors.from_json({"kind": "box"})


def test_the_multivariate_normal_against_scipy(rng: np.random.Generator) -> None:
    prior = FAMILIES["multivariate"]
    assert isinstance(prior, MultivariateNormal)
    n = 20_000
    draws = prior.sample(rng, n)
    exact = stats.multivariate_normal(prior.mean, prior.covariance)
    np.testing.assert_allclose(prior.log_prob(draws), exact.logpdf(draws))
    white = np.linalg.solve(np.linalg.cholesky(prior.covariance), (draws - prior.mean).T)
    assert np.abs(white.mean(axis=1)).max() < 4.5 / np.sqrt(n)
    assert np.abs(np.cov(white) - np.eye(2)).max() < 4.5 * np.sqrt(2 / n)
    assert [p.name for p in prior.parameters({"a": "m"})] == ["a", "b"]
    assert np.isinf(prior.bounds).all()
    short = prior.sample(seeds.generator(1, "test"), 3)
    np.testing.assert_array_equal(short, prior.sample(seeds.generator(1, "test"), 9)[:3])
    for covariance in ([[1.0, 2.0], [2.0, 1.0]], [[1.0, 0.1], [0.2, 1.0]]):
        with pytest.raises(TaskError, match="covariance"):
            MultivariateNormal({"a": 0.0, "b": 0.0}, np.array(covariance))


@pytest.mark.parametrize("name", ["pendulum", "gaussian_chain", "lotka_volterra"])
def test_the_answer_is_the_prior_whatever_x(name: str, rng: np.random.Generator) -> None:
    estimator, task = fitted(name)
    x = rng.normal(size=(3, *task.x_shape))
    draws, log_p = estimator.sample_and_log_prob(x, 400, rng)
    d = len(task.parameters)
    flat = draws.reshape(-1, d)
    np.testing.assert_allclose(log_p.reshape(-1), task.prior.log_prob(flat))
    np.testing.assert_array_equal(estimator.log_prob(draws, x), log_p)
    assert (flat > task.bounds[:, 0]).all() and (flat < task.bounds[:, 1]).all()
    for j, other in enumerate(task.prior.sample(rng, 1200).T):
        assert stats.ks_2samp(flat[:, j], other).pvalue > 1e-4


def test_draws_on_a_bound_are_moved_inside() -> None:
    class Edge(Product):
        def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
            return np.tile([0.0, 10.0], (n, 1))

    estimator, task = fitted("pendulum")
    estimator.prior = Edge(task.prior.marginals)  # type: ignore[attr-defined]
    draws = estimator.sample(np.zeros((1, 200)), 2, seeds.generator(1, "test"))[:, 0]
    assert (draws > task.bounds[:, 0]).all() and (draws < task.bounds[:, 1]).all()


def test_a_damaged_record_is_named() -> None:
    info = TaskInfo.of(tasks.build({"name": "pendulum"}))
    for arrays in ({}, {"prior.json": np.frombuffer(b"{}", np.uint8)}, {"prior.json": np.zeros(3, np.uint8)}):
        with pytest.raises(ArtifactError, match="the prior cannot be read"):
            PriorEstimator.from_arrays(PriorSettings(), info, arrays)
    with pytest.raises(TrainingError, match="needs prior"):
        PriorEstimator.fit(PriorSettings(), info, Material(), RUN)

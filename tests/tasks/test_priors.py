"""Single distributions against scipy.stats, and what is refused."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from scipy import stats

from veridical.errors import ShapeError, TaskError
from veridical.tasks.priors import LogitNormal, LogNormal, Marginal, Normal, Product, Uniform, marginal

CASES = [
    (Uniform(-1.0, 3.0), stats.uniform(-1, 4)),
    (Normal(1.0, 2.0), stats.norm(1, 2)),
    (Normal(1.0, 0.5, lower=0.0), stats.truncnorm(-2, np.inf, 1, 0.5)),
    (Normal(0.0, 1.0, lower=-0.5, upper=2.0), stats.truncnorm(-0.5, 2, 0, 1)),
    (Normal(0.0, 1.0, lower=6.0), stats.truncnorm(6, np.inf)),
    (Normal(0.0, 1.0, upper=-9.0), stats.truncnorm(-np.inf, -9)),
    (LogNormal(0.7, 1.2), stats.lognorm(1.2, scale=np.exp(0.7))),
]


@pytest.mark.parametrize(("mine", "theirs"), CASES, ids=lambda case: repr(case)[:40])
def test_quantiles_and_densities_agree_with_scipy(mine: Marginal, theirs: Any) -> None:
    u = np.array([1e-12, 1e-6, 0.01, 0.3, 0.5, 0.77, 0.999, 1 - 1e-9])
    value = mine.quantile(u)
    np.testing.assert_allclose(theirs.cdf(value), u, rtol=1e-7, atol=1e-14)
    np.testing.assert_allclose(mine.log_prob(value), theirs.logpdf(value), rtol=1e-9)
    assert mine.bounds == pytest.approx(theirs.support())


def test_logit_normal_is_the_sigmoid_of_a_normal(rng: np.random.Generator) -> None:
    mine = LogitNormal(0.1, 4.0, mean=0.3, sd=1.5)
    z = 0.3 + 1.5 * rng.standard_normal(100)
    value = 0.1 + 3.9 / (1 + np.exp(-z))
    np.testing.assert_allclose(mine.quantile(stats.norm(0.3, 1.5).cdf(z)), value, rtol=1e-9)
    slope = 3.9 * np.exp(-z) / (1 + np.exp(-z)) ** 2
    np.testing.assert_allclose(mine.log_prob(value), stats.norm(0.3, 1.5).logpdf(z) - np.log(slope))


def test_a_product_multiplies_and_its_first_rows_do_not_depend_on_the_length() -> None:
    prior = Product({"p": Uniform(0, 2), "q": LogNormal(0, 1)})
    long = prior.sample(np.random.Generator(np.random.PCG64(1)), 50)
    short = prior.sample(np.random.Generator(np.random.PCG64(1)), 7)
    assert np.array_equal(long[:7], short)
    expected = stats.uniform(0, 2).logpdf(long[:, 0]) + stats.lognorm(1).logpdf(long[:, 1])
    np.testing.assert_allclose(prior.log_prob(long), expected)
    assert prior.bounds.tolist() == [[0, 2], [0, np.inf]]
    assert [p.unit for p in prior.parameters({"q": "m"})] == ["", "m"]
    assert [p.label for p in prior.parameters(labels={"q": "θ"})] == ["", "θ"]
    with pytest.raises(ShapeError, match=re.escape("theta: expected shape (any, 2), got (5,)")):
        prior.log_prob(np.zeros(5))


def test_uniform_numbers_of_zero_give_finite_draws() -> None:
    class Zeros:
        def random(self, shape: tuple[int, int]) -> np.ndarray:
            return np.zeros(shape)

    prior = Product({"n": Normal(0, 1), "l": LogitNormal(0, 1)})
    assert np.isfinite(prior.sample(Zeros(), 3)).all()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Uniform(1, 1), "Uniform: lower must be below upper, got [1, 1]"),
        (lambda: Uniform(0, np.inf), "Uniform: upper must be finite, got inf"),
        (lambda: Normal(0, -1), "Normal: sd must be positive, got -1"),
        (lambda: Normal(np.nan, 1), "Normal: mean must be finite, got nan"),
        (lambda: Normal(0, 1e-9, lower=1), "holds no mass"),
        (lambda: LogNormal(0, 0), "LogNormal: sd must be positive"),
        (lambda: LogitNormal(2, 1), "LogitNormal: lower must be below upper"),
        (lambda: Product({}), "expected at least one parameter"),
        (lambda: marginal("a", {"prior": "unifrom"}), "'unifrom' is unknown. Did you mean 'uniform'?"),
        (lambda: marginal("a", {"prior": "normal", "mean": 0, "std": 1}), "a normal prior has no 'std'"),
        (lambda: marginal("a", {"prior": "normal", "mean": 0}), "parameter 'a': a normal prior needs"),
        (lambda: marginal("a", {"prior": "uniform", "lower": 2, "upper": 1}), "'a': Uniform: lower"),
    ],
)
def test_what_makes_no_distribution_is_refused(build: Any, message: str) -> None:
    with pytest.raises(TaskError, match=re.escape(message)):
        build()

"""Discrete, joint and conditional priors against closed forms, in Python and as settings."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import yaml

from veridical import tasks
from veridical.errors import TaskError
from veridical.tasks import families
from veridical.tasks.description import stored_parameters
from veridical.tasks.discrete import Categories, Integers
from veridical.tasks.expressions import Expression
from veridical.tasks.families import prior_of
from veridical.tasks.joint import Conditional, Dirichlet, Joint, Sorted
from veridical.tasks.latents import Support
from veridical.tasks.priors import LogNormal, MultivariateNormal, Normal, Product, Uniform
from veridical.tasks.settings import ParameterSettings

COVARIANCE = np.array([[1.0, 0.6], [0.6, 2.0]])
PRIOR = Joint(
    {
        "k": Integers(1, 6),
        "kind": Categories(["x", "y", "z"], [1, 2, 5]),
        ("s1", "s2", "s3"): Dirichlet([1.0, 2.0, 0.5]),
        ("t1", "t2"): Sorted(Uniform(0.0, 10.0)),
        ("u", "v"): MultivariateNormal({"u": 0.0, "v": 3.0}, COVARIANCE),
        "w": Conditional(Uniform(0.0, 1.0), "u", "exp(u) + k"),
        "y": Conditional(Normal(0.0, 1.0), "2 * w", 0.5),
    }
)


def by_hand(theta: np.ndarray) -> np.ndarray:
    """The log density of PRIOR from scipy's."""
    k, kind, s, t, uv, w, y = (theta[:, c] for c in (0, 1, slice(2, 5), slice(5, 7), slice(7, 9), 9, 10))
    assert k.min() >= 1
    assert t[:, 1].max() <= 10
    dirichlet = np.array([scipy.stats.dirichlet([1.0, 2.0, 0.5]).logpdf(row / row.sum()) for row in s])
    return (
        -np.log(6)
        + np.log(np.array([1, 2, 5]) / 8)[kind.astype(int)]
        + dirichlet
        + np.log(2 / 100)
        + scipy.stats.multivariate_normal([0, 3], COVARIANCE).logpdf(uv)
        - np.log(np.exp(uv[:, 0]) + k)
        + scipy.stats.norm(2 * w, 0.5).logpdf(y)
    )


def test_densities_are_those_of_scipy(rng: np.random.Generator) -> None:
    theta = PRIOR.sample(rng, 200)
    np.testing.assert_allclose(PRIOR.log_prob(theta), by_hand(theta), rtol=1e-9)


def test_draws_have_their_distributions_and_stay_in_the_support(rng: np.random.Generator) -> None:
    n = 20_000
    theta = PRIOR.sample(rng, n)
    assert Support(PRIOR.names, PRIOR.constraints).inside(theta).all()
    assert np.isfinite(PRIOR.log_prob(theta)).all()
    assert np.abs(theta[:, 2:5].sum(axis=1) - 1).max() < 1e-12
    of_k = np.bincount(theta[:, 0].astype(int), minlength=7)[1:]
    of_kind = np.bincount(theta[:, 1].astype(int), minlength=3)
    assert scipy.stats.chisquare(of_k).pvalue > 1e-3
    assert scipy.stats.chisquare(of_kind, n * np.array([1, 2, 5]) / 8).pvalue > 1e-3
    marginals = [
        (theta[:, 2], scipy.stats.beta(1.0, 2.5)),
        (theta[:, 3], scipy.stats.beta(2.0, 1.5)),
        (theta[:, 4], scipy.stats.beta(0.5, 3.0)),
        (theta[:, 5] / 10, scipy.stats.beta(1, 2)),
        (theta[:, 6] / 10, scipy.stats.beta(2, 1)),
        (theta[:, 7], scipy.stats.norm(0, 1)),
        (theta[:, 8], scipy.stats.norm(3, np.sqrt(2))),
        ((theta[:, 9] - theta[:, 7]) / (np.exp(theta[:, 7]) + theta[:, 0]), scipy.stats.uniform()),
        ((theta[:, 10] - 2 * theta[:, 9]) / 0.5, scipy.stats.norm()),
    ]
    assert min(scipy.stats.kstest(values, of.cdf).pvalue for values, of in marginals) > 1e-3
    correlation = np.corrcoef(theta[:, 7], theta[:, 8])[0, 1]
    rho = 0.6 / np.sqrt(2)
    assert abs(correlation - rho) < 4 * (1 - rho**2) / np.sqrt(n)


def test_first_rows_do_not_depend_on_the_length() -> None:
    few, many = (PRIOR.sample(np.random.Generator(np.random.PCG64(3)), n) for n in (5, 50))
    np.testing.assert_array_equal(few, many[:5])


def test_a_prior_is_written_down_and_read_back(rng: np.random.Generator) -> None:
    again = families.from_json(json.loads(json.dumps(families.to_json(PRIOR))))
    theta = PRIOR.sample(rng, 20)
    np.testing.assert_allclose(again.log_prob(theta), PRIOR.log_prob(theta), rtol=1e-12)
    assert again.constraints == PRIOR.constraints  # type: ignore[union-attr]
    discrete = families.from_json(families.to_json(Product({"k": Integers(0, 2), "a": Normal(0, 1)})))
    assert discrete.log_prob(np.array([[1.0, 0.0], [1.5, 0.0]]))[1] == -np.inf


def test_a_discrete_distribution_of_scipy_is_one_here() -> None:
    prior = tasks.distributions.taken([scipy.stats.poisson(3.0), scipy.stats.norm(0, 1)])
    (whole,) = tasks.latents.constraints_of(prior, ("n", "a"))
    theta = prior.sample(np.random.Generator(np.random.PCG64(1)), 1000)
    assert whole.lower == 0 and 15 < whole.upper < 40
    assert Support(("n", "a"), (whole,)).inside(theta).all()
    assert abs(theta[:, 0].mean() - 3) < 4 * np.sqrt(3 / 1000)


SETTINGS: dict[str, Any] = {
    "k": {"prior": "integers", "lower": 1, "upper": 6},
    "kind": {"prior": "categories", "values": ["x", "y", "z"], "weights": [1, 2, 5]},
    "s1, s2, s3": {"prior": "dirichlet", "concentration": [1.0, 2.0, 0.5], "unit": "share"},
    "t1, t2": {"prior": "ordered", "each": {"prior": "uniform", "lower": 0, "upper": 10}},
    "u, v": {"prior": "normal", "mean": [0, 3], "sd": [1, 2**0.5], "correlation": 0.6 / 2**0.5},
    "w": {"prior": "uniform", "lower": "u", "upper": "u + exp(u) + k"},
    "y": {"prior": "normal", "mean": "2 * w", "sd": 0.5},
}


def test_settings_describe_the_same_prior(rng: np.random.Generator) -> None:
    theta = PRIOR.sample(rng, 100)
    prior = prior_of(SETTINGS)
    np.testing.assert_allclose(prior.log_prob(theta), by_hand(theta), rtol=1e-9)
    task = tasks.build(
        {
            "name": "c",
            "command": "true {theta} {out}",
            "parameters": SETTINGS,
            "fidelities": {"model": 1.0},
            "x_shape": [1],
            "output": "csv",
        }
    )
    tasks.check_task(task)
    assert task.parameter_names == PRIOR.names
    assert [p.unit for p in task.parameters][2:5] == ["share"] * 3
    assert "veridical.tasks.joint:Dirichlet" in tasks.modules({"command": "", "parameters": SETTINGS})


@pytest.mark.parametrize(
    ("settings", "by_scipy"),
    [
        (
            {"prior": "lognormal", "mean": "a", "sd": 0.5},
            lambda a, b: scipy.stats.lognorm(0.5, scale=np.exp(a)),
        ),
        ({"prior": "uniform", "lower": 0, "upper": "exp(a)"}, lambda a, b: scipy.stats.uniform(0, np.exp(a))),
        ({"prior": "normal", "mean": 1, "sd": "exp(a)"}, lambda a, b: scipy.stats.norm(1, np.exp(a))),
    ],
)
def test_conditional_families(settings: dict[str, Any], by_scipy: Any, rng: np.random.Generator) -> None:
    prior = prior_of({"a": {"prior": "normal", "mean": 0, "sd": 1}, "b": settings})
    theta = prior.sample(rng, 100)
    a, b = theta.T
    expected = scipy.stats.norm().logpdf(a) + by_scipy(a, b).logpdf(b)
    np.testing.assert_allclose(prior.log_prob(theta), expected, rtol=1e-9)


A = {"prior": "normal", "mean": 0, "sd": 1}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"k": {"prior": "integers", "lower": 1}},
            "'k': a integers prior needs lower and upper; upper is missing",
        ),
        ({"k": {"prior": "integers", "lower": 1, "upper": 6.5}}, "'k': .*whole numbers"),
        ({"k": {"prior": "categories", "values": ["a"]}}, "'k': .*two or more values"),
        ({"k": {"prior": "categories", "values": ["a", "b"], "weights": [1]}}, "'k': .*2 positive weights"),
        (
            {"k": {"prior": "dirichlet", "concentration": 1}},
            "'k': there is no prior 'dirichlet' of one parameter",
        ),
        (
            {"a, b": {"prior": "uniform", "lower": 0, "upper": 1}},
            "'a, b': there is no prior 'uniform' of several",
        ),
        ({"a, b": {"prior": "dirichlet", "concentration": [1, 1, 1]}}, "a, b: Dirichlet of 3 parameters"),
        ({"a, b": {"prior": "normal", "mean": [0, 0]}}, "'a, b': expected `covariance`, or `sd`"),
        (
            {"a, b": {"prior": "normal", "mean": 0, "covariance": [[1, 0], [0, 1]]}},
            "mean: expected 2 numbers",
        ),
        ({"a, b": {"prior": "normal", "mean": [0, 0], "covariance": [[1, 2], [2, 1]]}}, "positive definite"),
        ({"a, b": {"prior": "normal", "mean": [0, 0], "sd": [1, 1], "correlation": [[1]]}}, "2 rows of 2"),
        ({"a, b": {"prior": "ordered", "each": A, "lower": 0}}, "a ordered prior has no 'lower'"),
        ({"b": {**A, "mean": "a"}, "a": A}, "'b': its prior depends on 'a', which is no parameter before it"),
        ({"a": A, "b": {**A, "mean": "a", "lower": 0}}, "depend on others has no 'lower'"),
        ({"a": A, "b": {**A, "mean": "open(a)"}}, "neither a number nor a formula"),
        ({"a": A, "a, b": {"prior": "dirichlet", "concentration": 1}}, "names of parameters must differ"),
    ],
)
def test_what_settings_cannot_mean_is_told_in_one_sentence(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        prior_of(settings)


def test_a_scale_that_can_be_negative_is_named(rng: np.random.Generator) -> None:
    prior = Joint({"a": Normal(0, 1), "b": Conditional(Uniform(0, 1), 0, "a")})
    with pytest.raises(TaskError, match=r"prior of b: .*scale a have to be finite, and the scale positive"):
        prior.sample(rng, 100)


@pytest.mark.parametrize(
    "text", ["__import__('os')", "a.b", "a[0]", "lambda: 1", "a if b else c", "'x'", "1" * 300]
)
def test_formulas_are_no_code(text: str) -> None:
    with pytest.raises(TaskError, match="neither a number nor a formula"):
        Expression(text)


def test_a_formula_follows_arithmetic() -> None:
    found = Expression("-2 * a ** 2 + max(b, 1) / sqrt(4) - log(exp(1))")({"a": 3.0, "b": 8.0})
    assert found == pytest.approx(-18 + 4 - 1)


def test_a_truncated_lognormal_has_no_conditional_form() -> None:
    with pytest.raises(TaskError, match="may have a formula for its mean only"):
        prior_of({"a": A, "b": {"prior": "lognormal", "mean": 0, "sd": "exp(a)"}})
    assert isinstance(prior_of({"a": {"prior": "lognormal", "mean": 0, "sd": 1}}).marginals["a"], LogNormal)  # type: ignore[union-attr]


def test_the_page_says_the_same_in_settings_and_in_python(rng: np.random.Generator) -> None:
    page = (Path(__file__).parents[2] / "docs" / "priors.md").read_text(encoding="utf-8")
    of_study, of_file = (
        yaml.safe_load(text)["parameters"] for text in re.findall(r"```yaml\n(.*?)```", page, re.S)
    )
    names: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", page, re.S)[0], names)
    prior, theta = prior_of(of_study), names["prior"].sample(rng, 200)
    np.testing.assert_allclose(prior.log_prob(theta), names["prior"].log_prob(theta), rtol=1e-9)
    for described in (of_study, of_file):
        settings = {key: ParameterSettings.model_validate(value) for key, value in described.items()}
        plain = {key: one.model_dump(exclude_none=True) for key, one in settings.items()}
        parameters, constraints = stored_parameters(plain) if described is of_file else ((), ())
        assert described is of_study or (len(parameters), len(constraints)) == (7, 4)

"""Priors as people have them: distributions of scipy and torch are taken, others are told what they lack."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch

from veridical import tasks
from veridical.errors import TaskError
from veridical.tasks import Dimension, Parameter, Task, check_task
from veridical.tasks.distributions import taken
from veridical.tasks.priors import LogNormal, Product

D = torch.distributions
GAMMA, NORM = scipy.stats.gamma(3), scipy.stats.norm(0, 1)
EYE = np.array([[1.0, 0.5], [0.5, 2.0]])


def pairs(theta: np.ndarray) -> np.ndarray:
    return NORM.logpdf(theta[:, 0]) + GAMMA.logpdf(theta[:, 1])


NORMALS = scipy.stats.multivariate_normal([1.0, 3.0], EYE)
TAKEN = {
    "scipy, joint": (NORMALS, NORMALS.logpdf, (1.0, 3.0)),
    "scipy, list": ([NORM, GAMMA], pairs, (0.0, 3.0)),
    "scipy, tuple": ((NORM, GAMMA), pairs, (0.0, 3.0)),
    "scipy, dict": ({"a": NORM, "b": GAMMA}, pairs, (0.0, 3.0)),
    "scipy, product": (Product({"a": NORM, "b": GAMMA}), pairs, (0.0, 3.0)),
    "scipy, vector": (
        scipy.stats.norm([0.0, 2.0], [1.0, 3.0]),
        lambda t: scipy.stats.norm([0.0, 2.0], [1.0, 3.0]).logpdf(t).sum(axis=1),
        (0.0, 2.0),
    ),
    "scipy, with ours": (
        Product({"a": NORM, "b": LogNormal(0.0, 0.5)}),
        lambda t: NORM.logpdf(t[:, 0]) + scipy.stats.lognorm(0.5).logpdf(t[:, 1]),
        (0.0, np.exp(0.125)),
    ),
    "scipy, new": (
        [scipy.stats.Normal(mu=2.0, sigma=3.0), scipy.stats.uniform(0.0, 2.0)],
        lambda t: scipy.stats.norm(2.0, 3.0).logpdf(t[:, 0]) - np.log(2.0),
        (2.0, 1.0),
    ),
    "torch, independent": (
        D.Independent(D.Normal(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 3.0])), 1),
        lambda t: scipy.stats.norm([0.0, 2.0], [1.0, 3.0]).logpdf(t).sum(axis=1),
        (0.0, 2.0),
    ),
    "torch, batch": (
        D.Uniform(torch.zeros(2), torch.tensor([1.0, 4.0])),
        lambda t: np.where(((t > 0) & (t < [1, 4])).all(axis=1), -np.log(4.0), -np.inf),
        (0.5, 2.0),
    ),
    "torch, joint": (
        D.MultivariateNormal(torch.tensor([1.0, 3.0]), torch.as_tensor(EYE).float()),
        NORMALS.logpdf,
        (1.0, 3.0),
    ),
    "torch, without quantiles": (
        D.Independent(D.Gamma(torch.tensor([3.0, 3.0]), torch.ones(2)), 1),
        lambda t: GAMMA.logpdf(t).sum(axis=1),
        (3.0, 3.0),
    ),
    "torch, list": (
        [D.Normal(0.0, 1.0), D.Uniform(torch.zeros(1), 2 * torch.ones(1))],
        lambda t: NORM.logpdf(t[:, 0]) + np.where((t[:, 1] > 0) & (t[:, 1] < 2), -np.log(2), -np.inf),
        (0.0, 1.0),
    ),
    "both": (
        [NORM, D.Exponential(2.0)],
        lambda t: NORM.logpdf(t[:, 0]) + np.log(2) - 2 * t[:, 1],
        (0.0, 0.5),
    ),
}


@pytest.mark.parametrize(("given", "log_p", "mean"), TAKEN.values(), ids=TAKEN)
def test_distributions_of_other_packages_are_taken(given: Any, log_p: Any, mean: Any) -> None:
    prior, before = taken(given), torch.random.get_rng_state()
    theta, again = (prior.sample(np.random.default_rng(1), 2000) for _ in range(2))
    assert theta.shape == (2000, 2) and theta.dtype == float and np.array_equal(theta, again)
    assert not np.array_equal(theta, prior.sample(np.random.default_rng(2), 2000))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert prior.sample(np.random.default_rng(1), 1).shape == (1, 2)
    error = theta.std(axis=0) / np.sqrt(len(theta))
    assert (np.abs(theta.mean(axis=0) - mean) < 4.5 * error).all()
    np.testing.assert_allclose(prior.log_prob(theta), log_p(theta), rtol=1e-5, atol=1e-5)
    assert prior.log_prob(theta[:1]).shape == (1,)


@pytest.mark.parametrize(
    "given", [[NORM, D.Uniform(0.0, 2.0)], Product({"a": NORM, "b": D.Uniform(0.0, 2.0)})]
)
def test_the_density_is_zero_outside_the_support(given: Any) -> None:
    log_p = taken(given).log_prob(np.array([[0.0, -1.0], [0.0, 1.0], [0.0, 3.0]]))
    assert np.isfinite(log_p).tolist() == [False, True, False]


def test_a_product_of_them_has_their_bounds() -> None:
    prior = Product({"a": NORM, "b": GAMMA, "c": D.Uniform(1.0, 2.0), "d": D.Exponential(1.0)})
    assert prior.bounds.tolist() == [[-np.inf, np.inf], [0, np.inf], [1, 2], [0, np.inf]]
    assert prior.parameters({"c": "m"})[2] == Parameter("c", 1.0, 2.0, "m")


# ---- refusals ----------------------------------------------------------------------------------------


class Own:
    """A prior with the pieces that a test names."""

    def __init__(self, sample: Any = None, log_prob: Any = None) -> None:
        for name, function in (("sample", sample), ("log_prob", log_prob)):
            if function is not None:
                setattr(self, name, function)


def two(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.random((n, 2))


REFUSED = {
    "None": (None, "got None"),
    "text": ("normal", "got str without sample and log_prob"),
    "no log_prob": (Own(two), "got Own without log_prob"),
    "no sample": (Own(None, len), "got Own without sample"),
    "column": (
        Own(two, lambda theta: theta[:, :1]),
        r"prior\.log_prob: expected shape \(16,\), got \(16, 1\)",
    ),
    "sample(n)": (Own(lambda n: np.zeros((n, 2)), len), r"prior\.sample raised TypeError"),
    "flat": (Own(lambda rng, n: rng.random(n), len), r"expected shape \(1, 2\), got \(1,\)"),
    "list": ([NORM, "normal"], "str is no distribution of one parameter"),
    "too few": ([NORM], r"expected shape \(1, 2\), got \(1, 1\)"),
    "order": ({"b": GAMMA, "a": NORM}, "prior is one of b, a, but the parameters are a, b"),
    "order in a product": (
        Product({"b": GAMMA, "a": NORM}),
        "prior is one of b, a, but the parameters are a, b",
    ),
    "kernel density": (
        scipy.stats.gaussian_kde(np.random.default_rng(1).normal(size=(2, 50))),
        "no attribute 'rvs'",
    ),
    "no quantiles": ([NORM, D.Gamma(1.0, 1.0)], "Gamma of torch has no quantiles.*scipy"),
}


class Plain(Task):
    """A task that takes its prior from its settings."""

    name, fidelities = "plain", {"only": 1.0}
    parameters = (Parameter("a"), Parameter("b"))
    dimensions = (Dimension("what", ("x", "y")),)
    which = ""

    def __init__(self, which: str = "") -> None:
        self.prior = (REFUSED | TAKEN)[which or self.which][0]

    def simulate(self, theta: np.ndarray, noise: Any, fidelity: str) -> np.ndarray:
        return theta


@pytest.mark.parametrize("which", REFUSED)
def test_other_priors_are_told_what_they_lack(which: str) -> None:
    with pytest.raises(TaskError, match=f"task 'plain'.*{REFUSED[which][1]}") as error:
        check_task(
            tasks.build({"name": "plain", "file": __file__, "class": "Plain", "settings": {"which": which}})
        )
    if which != "no quantiles" and "order" not in which:
        assert re.search(r"sample\(rng, n\).*log_prob\(theta\)", str(error.value))


def test_a_task_from_a_file_takes_them() -> None:
    for which in TAKEN:
        check_task(
            tasks.build({"name": "p", "file": __file__, "class": "Plain", "settings": {"which": which}})
        )

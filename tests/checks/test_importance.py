"""Importance weights and power-scaling: closed forms of normal models, and a published implementation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import integrate, special, stats

from veridical import checks
from veridical.checks.base import CheckResult
from veridical.checks.importance import weigh, weighted_quantiles
from veridical.checks.prior_sensitivity import distance, sensitivity
from veridical.inference.pareto import smoothed, tail_shape
from veridical.saved.posteriors import Draws

from .gaussian_model import value


@pytest.mark.parametrize("spread", [0.3, 1.0, 2.0, 4.0])
def test_smoothed_weights_are_those_of_arviz(spread: float, rng: np.random.Generator) -> None:
    arviz = pytest.importorskip("arviz")
    log_ratios = spread * rng.normal(size=3000)
    log_weights, k = arviz.psislw(log_ratios.copy())
    found = smoothed(log_ratios)
    assert found.k == pytest.approx(float(k), abs=1e-6)
    np.testing.assert_allclose(np.log(found.weights), log_weights, atol=1e-6)


@pytest.mark.parametrize("shape", [-0.3, 0.2, 0.7])
def test_the_shape_of_a_tail_is_found(shape: float, rng: np.random.Generator) -> None:
    """The maximum likelihood estimate of n has a standard error of (1 + k) / sqrt(n)."""
    n = 4000
    excess = np.sort(stats.genpareto(shape, scale=3.0).rvs(n, random_state=rng))
    k, scale = tail_shape(excess)
    assert abs(k - (n * shape + 5) / (n + 10)) < 4 * (1 + shape) / np.sqrt(n)
    assert scale == pytest.approx(3.0, rel=0.15)


def test_flat_weights_have_no_tail() -> None:
    found = smoothed(np.full(500, -3.0))
    assert found.k == -np.inf and found.effective == pytest.approx(500)


def test_weights_that_a_few_hold_have_failed() -> None:
    log_ratios = np.full(500, -3000.0)
    log_ratios[:2] = 0
    found = smoothed(log_ratios)
    assert found.k == np.inf and found.effective == pytest.approx(2)


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (0.5, 1.0), (1.0, 1.0), (0.0, 1.3)])
def test_weights_reveal_shift_and_coverage(shift: float, scale: float, rng: np.random.Generator) -> None:
    """Answer N(0, 1), truth N(shift, scale^-2), i.e. answer `scale` times too wide."""
    draws = rng.normal(size=(4000, 1))
    log_w = stats.norm(shift, 1 / scale).logpdf(draws) - stats.norm.logpdf(draws)
    found = weigh(draws, log_w[:, 0])
    assert abs(found.shift[0] - shift) < 5 * found.shift_stderr[0] + 0.02
    edge = stats.norm.ppf(0.95)
    expected = stats.norm(shift, 1 / scale).cdf(edge) - stats.norm(shift, 1 / scale).cdf(-edge)
    assert abs(found.coverage[0] - expected) < 5 * found.coverage_stderr[0] + 0.01
    assert found.ratio[0] == pytest.approx(1 / scale, rel=0.08)
    share = np.exp(-(shift**2)) if scale == 1 else np.sqrt(2 * scale**2 - 1) / scale**2
    assert found.smoothed.effective / 4000 == pytest.approx(share, abs=0.05)
    middle = weighted_quantiles(draws, found.smoothed.weights, [0.5])
    assert middle[0, 0] == pytest.approx(shift, abs=0.12)


def normal_answer(
    x: np.ndarray,
    rng: np.random.Generator,
    shift: float = 0.0,
    scale: float = 1.0,
    noise: float = 1.0,
    s: int = 4000,
) -> tuple[Draws, dict[str, Any]]:
    """theta ~ N(0, 1), x = theta + noise e, for x (N, D): a faulty answer, and densities at its draws."""
    n, d = x.shape
    r = 1 / (1 + noise**2)
    sd = noise * np.sqrt(r)
    mean = r * x + shift * sd
    draws = mean + scale * sd * rng.standard_normal((s, n, d))
    log_q = stats.norm(mean, scale * sd).logpdf(draws).sum(axis=-1)
    names = tuple(f"p{j}" for j in range(d))
    bounds = np.tile([-np.inf, np.inf], (d, 1))
    arrays = {"log_prior": stats.norm.logpdf(draws).sum(axis=-1)}
    arrays["log_likelihood"] = stats.norm(draws, noise).logpdf(x).sum(axis=-1)
    return Draws(names, bounds, ("",) * d, draws, log_density=log_q, x=x), arrays


FAULTS: list[tuple[dict[str, float], bool | None]] = [
    ({}, True),
    ({"shift": 0.1, "scale": 1.05}, True),
    ({"shift": 0.5}, None),  # holds 0.86: neither right nor bad
    ({"shift": 1.0}, False),  # holds 0.74
    ({"scale": 0.8}, None),  # holds 0.81
    ({"scale": 1.6}, None),
]


@pytest.mark.parametrize(("fault", "passed"), FAULTS)
def test_the_answer_is_judged_by_its_reweighted_self(
    fault: dict[str, float], passed: bool | None, rng: np.random.Generator
) -> None:
    draws, arrays = normal_answer(np.array([[1.0, -0.5]]), rng, **fault)
    result = checks.build("importance").run(draws, rng, densities=arrays)
    assert result.passed is passed
    shift = value(result, "reweighted_shift_sd", "p0")
    expected = fault.get("shift", 0.0) / fault.get("scale", 1.0)
    assert abs(shift.value - expected) < 5 * shift.stderr + 0.02
    assert result.curves["reweighted_quantiles"].shape == (5, 1, 2)


def test_the_worst_of_several_observations_counts(rng: np.random.Generator) -> None:
    good, arrays = normal_answer(np.ones((1, 1)), rng)
    bad, more = normal_answer(np.ones((1, 1)), rng, shift=1.2)
    both = {name: np.concatenate([arrays[name], more[name]], axis=1) for name in arrays}
    draws = Draws(
        good.names,
        good.bounds,
        good.units,
        np.concatenate([good.draws, bad.draws], axis=1),
        log_density=np.concatenate([good.log_density, bad.log_density], axis=1),
    )
    result = checks.build("importance").run(draws, rng, densities=both)
    assert result.passed is False
    assert value(result, "reweighted_shift_sd", "p0").value == pytest.approx(1.2, abs=0.15)


def test_what_cannot_be_weighed_is_said(rng: np.random.Generator) -> None:
    draws, arrays = normal_answer(np.ones((1, 1)), rng)
    mute = Draws(draws.names, draws.bounds, draws.units, draws.draws)
    assert checks.build("importance").run(mute, rng, densities=arrays).passed is None
    nowhere = {**arrays, "log_likelihood": np.full_like(arrays["log_prior"], -np.inf)}
    result = checks.build("importance").run(draws, rng, densities=nowhere)
    assert result.passed is False and "zero" in result.notes[0]


# ---- power-scaling -----------------------------------------------------------------------------------


def test_distance_of_cumulative_distributions(rng: np.random.Generator) -> None:
    draws = np.linspace(-9, 9, 6001)
    weights = np.stack([stats.norm.pdf(draws), stats.norm(1).pdf(draws)])
    assert distance(draws, weights[[0, 0]]) == 0
    p, q = stats.norm.cdf(draws), stats.norm(1).cdf(draws)
    squares = []
    for f, g in ((p, q), (1 - p, 1 - q)):
        m = (f + g) / 2
        inner = special.xlogy(f, f / m) + special.xlogy(g, g / m)
        squares.append(integrate.simpson(inner, draws) / np.log(2) / integrate.simpson(f + g, draws))
    assert distance(draws, weights) == pytest.approx(np.sqrt(max(squares)), rel=1e-3)
    assert sensitivity(draws, draws, rng.random((3, len(draws)))).shape == (3,)


@pytest.mark.parametrize(
    ("noise", "x", "published"), [(0.2, 0.0, 0.003), (1.0, 2.0, 0.134), (1.0, 4.0, 0.240)]
)
def test_sensitivity_has_the_known_values(
    noise: float, x: float, published: float, rng: np.random.Generator
) -> None:
    draws, arrays = normal_answer(np.array([[x]]), rng, noise=noise)
    result = checks.build("prior_sensitivity").run(draws, rng, densities=arrays)
    found = value(result, "prior_sensitivity", "p0")
    assert abs(found.value - published) < 5 * found.stderr + 0.1 * published + 0.003


def test_answers_far_from_what_the_likelihood_says_have_numbers_still(rng: np.random.Generator) -> None:
    draws, arrays = normal_answer(np.ones((1, 1)), rng)
    arrays = {"log_prior": 1e6 * arrays["log_prior"], "log_likelihood": 1e7 * arrays["log_likelihood"]}
    arrays["log_likelihood"][:10] = -np.inf
    result = checks.build("prior_sensitivity").run(draws, rng, densities=arrays)
    assert all(np.isfinite(metric.value) for metric in result.metrics())
    assert result.passed is None, "the weights of the scaled prior fail"


@pytest.mark.parametrize("x", [0.5, 1.0])
def test_shift_is_that_of_a_scaled_prior(x: float, rng: np.random.Generator) -> None:
    """With the prior to a power a the posterior of N(0, 1 / a) and x = theta + e has mean x / (1 + a)."""
    draws, arrays = normal_answer(np.array([[x]]), rng)
    found = value(checks.build("prior_sensitivity").run(draws, rng, densities=arrays), "prior_shift_sd", "p0")
    expected = max(abs(x / (1 + a) - x / 2) for a in (0.5, 2.0)) / np.sqrt(0.5)
    assert abs(found.value - expected) < 5 * found.stderr + 0.02


def conflict(x: float, rng: np.random.Generator, flat: bool = False) -> CheckResult:
    """x of one parameter beside the answers to 500 test sets, with noise of 0.2."""
    theta = rng.normal(size=500)
    tests = theta + 0.2 * rng.normal(size=500)
    draws, arrays = normal_answer(np.array([[x]]), rng, noise=0.2)
    null = normal_answer(tests[:, None], rng, noise=0.2, s=200)[1]["log_prior"].mean(axis=0)
    arrays |= {"log_prior_mean": arrays["log_prior"][:200].mean(axis=0), "log_prior_null": null}
    arrays |= {"edge": np.zeros(1), "edge_null": np.zeros(500)}
    if flat:
        arrays |= {"log_prior_mean": np.zeros(1), "log_prior_null": np.zeros(500)}
        arrays |= {"edge": np.array([min(1.0, abs(x) / 5)]), "edge_null": 0.3 * rng.random(500)}
    return checks.build("prior_sensitivity", bootstrap=2).run(draws, rng, densities=arrays)


@pytest.mark.parametrize("flat", [False, True])
def test_conflict_of_prior_and_data(flat: bool, rng: np.random.Generator) -> None:
    assert conflict(0.4, rng, flat).p_value > 0.01
    found = conflict(4.5, rng, flat)
    assert found.passed is False and found.p_value == pytest.approx(1 / 501)


def test_conflict_holds_its_level(rng: np.random.Generator) -> None:
    x = rng.normal(size=60) * np.sqrt(1.04)
    p_values = np.array([conflict(one, rng).p_value for one in x])
    assert stats.kstest(p_values - rng.random(60) / 501, "uniform").pvalue > 1e-4

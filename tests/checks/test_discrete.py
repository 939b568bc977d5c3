"""Checks of discrete parameters, judged by a model whose exact posterior is a sum over its values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.checks.gaussian_model import Draws
from veridical import checks
from veridical.tasks.supports import OneOf, Whole

N, S = 1500, 199
K = np.arange(1, 7)


def masses(x: np.ndarray, sd: float) -> np.ndarray:
    """Probabilities (N, 6) of k = 1, ..., 6, uniform before, given x = k + noise of this sd."""
    log_p = -0.5 * ((x[:, None] - K) / sd) ** 2
    p = np.exp(log_p - log_p.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def channels(rng: np.random.Generator, stated: float = 0.8, *, beside: bool = False) -> Draws:
    """Draws of k given x = k + 0.8 z; `stated` is the sd of the noise that the posterior believes in.

    Beside k, a number g given y = g + 0.3 z + 0.2 k, g ~ N(0, 1), so that both are dependent in the
    posterior.
    """
    k, g = rng.integers(1, 7, N), rng.normal(size=N)
    x, y = k + 0.8 * rng.normal(size=N), g + 0.2 * k + 0.3 * rng.normal(size=N)
    p, s2 = masses(x, stated), 1 + 0.3**2
    if beside:
        log_p = np.log(p) - 0.5 * (y[:, None] - 0.2 * K) ** 2 / s2
        p = np.exp(log_p - log_p.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
    drawn = K[(rng.random((S, N, 1)) > p.cumsum(axis=1)[None]).sum(axis=-1).clip(max=5)]

    def log_prob(k: np.ndarray, g: np.ndarray) -> np.ndarray:
        mass = np.log(p[np.arange(N), k - 1])
        mean, sd = (y - 0.2 * k) / s2, 0.3 / np.sqrt(s2)
        normal = -0.5 * ((g - mean) / sd) ** 2 - np.log(sd * np.sqrt(2 * np.pi))
        return mass + normal if beside else mass

    g_drawn = (y - 0.2 * drawn) / s2 + 0.3 / np.sqrt(s2) * rng.normal(size=(S, N))
    pick = slice(None) if beside else slice(1)
    of_draws = log_prob(drawn, g_drawn) + 1e-6 * rng.normal(size=(S, N))  # single precision
    return Draws(
        names=("k", "g")[pick],
        draws=np.stack([drawn, g_drawn], -1)[..., pick].astype(float),
        log_density=of_draws,
        truth=np.stack([k, g], -1)[:, pick].astype(float),
        log_density_truth=log_prob(k, g),
        x=np.stack([x, y], -1),
        constraints=(Whole("k", 1, 6),),
    )


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("name", ["sbc", "coverage", "tarp"])
def test_ranks_of_an_exact_posterior_are_uniform(name: str, beside: bool, rng: np.random.Generator) -> None:
    """Six repeats: p-values of a uniform statistic are not small together (Fisher)."""
    p = []
    for _ in range(6):
        result = checks.check_class(name)().run(channels(rng, beside=beside), rng)
        own = [m.value for m in result.table if m.name == "sbc_p" and m.parameter == "log_density"]
        p.append(min(1.0, result.p_value if not own else 2 * min(result.p_value, *own)))
    from scipy.stats import chi2

    assert chi2.sf(-2 * np.sum(np.log(p)), 2 * len(p)) > 1e-3


@pytest.mark.parametrize("stated", [0.45, 1.4])
@pytest.mark.parametrize(
    ("name", "beside"), [("sbc", False), ("coverage", False), ("coverage", True), ("tarp", False)]
)
def test_a_posterior_of_wrong_width_is_seen(
    name: str, beside: bool, stated: float, rng: np.random.Generator
) -> None:
    result = checks.check_class(name)().run(channels(rng, stated, beside=beside), rng)
    assert result.p_value is not None and result.p_value < 1e-3


def test_ties_need_to_be_seen(rng: np.random.Generator) -> None:
    """Without ties, noise of single precision alone would break the levels of an exact posterior."""
    from veridical.checks.coverage import hpd_levels
    from veridical.checks.inputs import densities

    draws = channels(rng)
    of_draws, of_truth = densities(draws)  # type: ignore[misc, arg-type]
    good = hpd_levels(of_draws, of_truth, rng)
    bad = hpd_levels(draws.log_density, draws.log_density_truth, rng)  # type: ignore[arg-type]
    from scipy.stats import kstest

    assert kstest(good, "uniform").pvalue > 1e-3
    assert kstest(bad, "uniform").pvalue < 1e-3


def test_scores_are_the_closed_forms(rng: np.random.Generator) -> None:
    draws = channels(rng)
    result = checks.check_class("scores")().run(draws, rng)
    found = {(m.name, m.parameter): m for m in result.table}
    p = masses(draws.x[:, 0], 0.8)  # type: ignore[index]
    entropy = -(p * np.log(np.maximum(p, 1e-300))).sum(axis=1).mean()
    nltp = found["nltp", ""]
    assert abs(nltp.value - entropy) < 4 * nltp.stderr  # type: ignore[operator]
    error = found["calibration_error", "k"]
    assert error.value < 0.02 + 4 * error.stderr  # type: ignore[operator]


def test_a_value_known_for_certain_can_be_scored(rng: np.random.Generator) -> None:
    truth = rng.integers(0, 3, size=(50, 1)).astype(float)
    certain: dict[str, Any] = {"names": ("kind",), "constraints": (OneOf("kind", ("x", "y", "z")),)}
    draws = Draws(draws=np.broadcast_to(truth, (99, 50, 1)), truth=truth, **certain)
    result = checks.check_class("scores")().run(draws, rng)
    assert {m.name: m.value for m in result.table if not m.parameter}["contraction"] == 1

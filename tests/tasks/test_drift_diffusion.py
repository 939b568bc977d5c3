"""Decisions as a diffusion: the known mean time and choices, the density, and a walk in small steps."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from veridical.tasks.drift_diffusion import CONTAMINATED, DriftDiffusion, _log_density, _survival

CASES = [(0.0, 1.0, 0.3), (1.5, 2.0, 0.2), (-3.0, 0.8, 0.5), (6.0, 3.0, 0.1)]


@pytest.mark.parametrize(("drift", "boundary", "other"), CASES)
def test_times_and_choices_have_the_known_means(
    drift: float, boundary: float, other: float, rng: np.random.Generator
) -> None:
    """E T = a / (2 v) tanh(v a / 2), a^2 / 4 without a drift; times do not depend on choices."""
    task, n = DriftDiffusion(), 300
    x = task.simulate(np.tile([drift, boundary, other], (n, 1)), task.noise(rng, n), "model")
    times, choices = x[..., 0].ravel() - other, x[..., 1].ravel()
    mean = boundary**2 / 4 if drift == 0 else boundary / (2 * drift) * np.tanh(drift * boundary / 2)
    assert abs(times.mean() - mean) < 4.5 * times.std() / np.sqrt(times.size)
    upper = 1 / (1 + np.exp(-drift * boundary))
    assert abs(choices.mean() - upper) < 4.5 * np.sqrt(upper * (1 - upper) / choices.size) + 1e-9
    if 0.05 < upper < 0.95:
        assert stats.ks_2samp(times[choices == 1], times[choices == 0]).pvalue > 1e-4


@pytest.mark.parametrize("drift", [0.0, 1.3, 8.0])
def test_the_density_is_that_of_the_survival_function(drift: float) -> None:
    t = np.geomspace(0.0025, 8, 20_001)[None]
    density, v = np.exp(_log_density(t, np.array([[drift]])))[0], np.array([[drift]])
    survival = _survival(t, v)[0]
    np.testing.assert_allclose(
        -np.diff(survival), np.diff(t[0]) * 0.5 * (density[1:] + density[:-1]), atol=2e-6
    )
    assert survival[0] == pytest.approx(1, abs=2e-6) and survival[-1] < 1e-4
    assert _log_density(np.array([[-0.1, 0.0]]), v).tolist() == [[-np.inf, -np.inf]]


def test_times_are_those_of_a_walk_in_small_steps(rng: np.random.Generator) -> None:
    """Steps see a boundary late, as if it lay 0.58 standard deviations of a step farther out."""
    drift, boundary, n, dt = 1.0, 1.2, 2000, 5e-4
    at, times = np.full(n, boundary / 2), np.full(n, np.inf)
    late = 0.5826 * np.sqrt(dt)
    for step in range(1, 10_000):
        alive = np.isinf(times)
        if not alive.any():
            break
        at[alive] += drift * dt + np.sqrt(dt) * rng.standard_normal(alive.sum())
        out = alive & ((at < late) | (at > boundary - late))
        times[out] = step * dt
    task = DriftDiffusion()
    x = task.simulate(np.tile([drift, boundary, 0.2], (100, 1)), task.noise(rng, 100), "model")
    assert stats.ks_2samp(x[..., 0].ravel() - 0.2, times).pvalue > 1e-3


@pytest.mark.parametrize("step", [[0.1, 0.0, 0.0], [0.0, 0.05, 0.0], [-0.1, -0.02, -0.005]])
def test_simulations_follow_the_likelihood(step: list[float], rng: np.random.Generator) -> None:
    """The mean of p(x | other) / p(x | theta) over simulations at theta is one, whatever the other is."""
    task, theta = DriftDiffusion(trials=20), np.array([1.0, 1.5, 0.3])
    at = np.array([theta, theta + step])
    x = task.simulate(np.tile(theta, (400, 1)), task.noise(rng, 400), "model")
    log_p = np.array([task.log_likelihood(at, one) for one in x])
    ratio = np.exp(log_p[:, 1] - log_p[:, 0])
    error = ratio.std() / 20
    assert 1e-3 < error < 0.2 and abs(ratio.mean() - 1) < 4.5 * error


@pytest.mark.parametrize("wrong", ["fast", "slow"])
@pytest.mark.parametrize("severity", [1.0, 0.5])
def test_contaminants_have_their_share_and_times(
    wrong: str, severity: float, rng: np.random.Generator
) -> None:
    task, n = DriftDiffusion(wrong=wrong, severity=severity), 200
    theta, noise = np.tile([4.0, 1.0, 0.6], (n, 1)), task.noise(rng, n)
    real, model = (task.simulate(theta, noise, level) for level in ("real", "model"))
    share, least, longest = CONTAMINATED[wrong]
    changed = (real != model)[..., 0]
    assert abs(changed.mean() - share * severity) < 4.5 * np.sqrt(0.25 / changed.size)
    found = real[changed]
    assert stats.kstest(found[:, 0], stats.uniform(least, longest - least).cdf).pvalue > 1e-4
    assert abs(found[:, 1].mean() - 0.5) < 4.5 * 0.5 / np.sqrt(len(found))

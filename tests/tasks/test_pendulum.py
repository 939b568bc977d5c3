"""The pendulum: closed forms of its levels, what they share, and how far each is from nature."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from veridical.tasks.pendulum import DURATION, POINTS, Pendulum

STEP = DURATION / (POINTS - 1)


def quiet(noise: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same phases and frictions without the noise of the points."""
    return {**noise, "observation": np.zeros_like(noise["observation"])}


def test_the_prior_has_the_published_log_density(rng: np.random.Generator) -> None:
    task = Pendulum()
    np.testing.assert_allclose(task.prior.log_prob(task.prior.sample(rng, 3)), -3.350, atol=5e-4)
    assert list(task.fidelities) == ["euler", "harmonic", "real"]


def test_without_friction_nature_is_the_harmonic_oscillator(rng: np.random.Generator) -> None:
    task, n = Pendulum(), 50
    theta, noise = task.prior.sample(rng, n), quiet(task.noise(rng, n))
    harmonic = task.simulate(theta, noise, "harmonic")
    expected = theta[:, 1:] * np.cos(theta[:, :1] * task.times + noise["phase"])
    np.testing.assert_allclose(harmonic, expected)
    without = task.simulate(theta, {**noise, "friction": np.zeros((n, 1))}, "real")
    np.testing.assert_array_equal(without, harmonic)


@pytest.mark.parametrize("severity", [1.0, 0.3])
def test_friction_damps_by_the_stated_factor(severity: float, rng: np.random.Generator) -> None:
    task, n = Pendulum(severity=severity), 20
    theta, noise = task.prior.sample(rng, n), quiet(task.noise(rng, n))
    real, harmonic = (task.simulate(theta, noise, level) for level in ("real", "harmonic"))
    np.testing.assert_allclose(real, harmonic * np.exp(-severity * noise["friction"] * task.times))
    np.testing.assert_array_equal(real[:, 0], harmonic[:, 0])


@pytest.mark.parametrize("substeps", [1, 3])
def test_the_euler_level_is_explicit_euler(substeps: int, rng: np.random.Generator) -> None:
    """Against the recursion x += h v, v -= h omega^2 x itself."""
    task, n = Pendulum(substeps=substeps), 20
    theta, noise = task.prior.sample(rng, n), quiet(task.noise(rng, n))
    frequency, amplitude, phase = theta[:, 0], theta[:, 1], noise["phase"][:, 0]
    x, v = amplitude * np.cos(phase), -amplitude * frequency * np.sin(phase)
    h, path = STEP / substeps, [x]
    for _ in range(POINTS - 1):
        for _ in range(substeps):
            x, v = x + h * v, v - h * frequency**2 * x
        path.append(x)
    euler = task.simulate(theta, noise, "euler")
    np.testing.assert_allclose(euler, np.stack(path, axis=1), rtol=1e-9, atol=1e-9)


def test_euler_is_wrong_for_fast_pendulums_and_right_with_many_steps() -> None:
    theta = np.array([[0.1, 1.0], [1.0, 1.0], [3.0, 1.0]])
    noise = {"phase": np.zeros((3, 1)), "friction": np.ones((3, 1)), "observation": np.zeros((3, POINTS))}
    exact = Pendulum().simulate(theta, noise, "harmonic")
    errors = np.abs(Pendulum().simulate(theta, noise, "euler") - exact).max(axis=1)
    assert errors[0] < 0.01 < 0.1 < errors[1] < 1 < errors[2]
    fine = np.abs(Pendulum(substeps=1000).simulate(theta, noise, "euler") - exact).max(axis=1)
    np.testing.assert_array_less(fine, 0.003)


def test_levels_share_their_randomness_and_the_noise_has_its_size(rng: np.random.Generator) -> None:
    task, n = Pendulum(noise_sd=0.3), 200
    theta, noise = task.prior.sample(rng, n), task.noise(rng, n)
    for level in task.fidelities:
        difference = task.simulate(theta, noise, level) - task.simulate(theta, quiet(noise), level)
        np.testing.assert_allclose(difference, 0.3 * noise["observation"], atol=1e-9)
    assert np.std(noise["observation"]) == pytest.approx(1, abs=4 / np.sqrt(2 * n * POINTS))


def test_phase_and_friction_follow_their_laws(rng: np.random.Generator) -> None:
    noise = Pendulum().noise(rng, 5000)
    assert stats.kstest(noise["phase"][:, 0], stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-4
    assert stats.kstest(noise["friction"][:, 0], stats.uniform().cdf).pvalue > 1e-4

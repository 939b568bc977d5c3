"""The wind tunnel: its equation, its limits, and what the real one does."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from veridical.tasks.wind_tunnel import GAP, WindTunnel, _late, _speed

QUIET = {"start": np.full((3, 1), 0.4), "observation": np.zeros((3, 50))}
THETA = np.array([[0.0], [20.0], [45.0]])


@pytest.mark.parametrize("spin_down", [0.6, 0.9])
def test_the_fan_follows_its_equation(spin_down: float) -> None:
    since = np.linspace(-0.5, 6, 200)
    length = 20 * GAP

    def rate(t: float, speed: np.ndarray) -> np.ndarray:
        load, constant = (1.0, 0.6) if t < length else (0.01, spin_down)
        return (load**2 - speed**2) / constant

    solved = solve_ivp(rate, (0, 6), [0.01], t_eval=since[since > 0], rtol=1e-6, max_step=0.05)
    found = _speed(since[None], spin_down)[0]
    np.testing.assert_allclose(found[since > 0], solved.y[0], atol=2e-3)
    assert (found[since <= 0] == 0.01).all()


def test_the_wider_the_hatch_the_lower_the_pressure() -> None:
    x = WindTunnel().simulate(THETA, QUIET, "model")
    np.testing.assert_allclose(x[:, :5], 60 * 1e-4 / (1 + (THETA / 20) ** 2) * np.ones(5))
    np.testing.assert_allclose(x[:, 23], 60 / (1 + (THETA[:, 0] / 20) ** 2), rtol=1e-3)
    assert WindTunnel().prior.log_prob(THETA[1:2])[0] == pytest.approx(-3.807, abs=5e-4)


def test_the_real_barometer_is_late_and_the_second_fan_draws() -> None:
    real, model = (WindTunnel().simulate(THETA, QUIET, level) for level in ("real", "model"))
    drawn = 15 * (1 - 1 / (1 + (THETA / 20) ** 2))
    np.testing.assert_allclose(real[:, :5], model[:, :5] - drawn, atol=1e-9)
    assert (real[:, 6:10] < model[:, 6:10] - drawn).all() and (real[:, 27:] > model[:, 27:] - drawn).all()
    half = WindTunnel(severity=0.5).simulate(THETA, QUIET, "real")
    np.testing.assert_allclose(half[:, :5], model[:, :5] - drawn / 2, atol=1e-9)


def test_a_late_barometer_follows_a_step_exponentially() -> None:
    step = np.r_[0.0, np.ones(300)][None]
    np.testing.assert_allclose(_late(step, 0.3)[0], 1 - np.exp(-np.arange(301) * GAP / 10 / 0.3))


def test_the_impulse_begins_between_two_readings(rng: np.random.Generator) -> None:
    task = WindTunnel(noise_sd=1e-9)
    x = task.simulate(np.full((500, 1), 5.0), task.noise(rng, 500), "model")
    assert (x[:, 4] < 0.01).all() and (x[:, 5] > x[:, 4]).all()
    fastest = (0.01 + np.tanh(GAP / 0.6)) / (1 + 0.01 * np.tanh(GAP / 0.6))
    assert x[:, 5].max() == pytest.approx(60 / (1 + 1 / 16) * fastest**2, rel=0.03)

"""Efficiencies of a window: shifts of log ratios, their derivatives, and their scatter."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from veridical.errors import DataError
from veridical.inference.windows import Window


def test_shifts_turn_ratios_of_all_events_into_those_inside() -> None:
    """Three Gaussians and their pool, without and with a window: exact densities either way."""
    means, x = np.array([-0.5, 0.2, 1.1]), np.linspace(-1, 1, 9)
    inside = stats.norm.cdf(1, means) - stats.norm.cdf(-1, means)
    density = stats.norm.pdf(x[:, None], means)
    without = np.log(density / density.mean(axis=1, keepdims=True))
    pool = density.mean(axis=1, keepdims=True) / inside.mean()
    window = Window.of(1e6 * inside, np.full(3, 1e6))
    np.testing.assert_allclose(without + window.shifts, np.log(density / inside / pool), atol=1e-12)


def test_gradient_and_covariance(rng: np.random.Generator) -> None:
    total = np.array([4000.0, 9000.0, 2500.0])
    window = Window.of(total * [0.7, 0.3, 0.5], total)
    h = 1e-6
    for k in range(3):
        up, down = (Window(window.passed + sign * h * total * np.eye(3)[k], total) for sign in (1, -1))
        np.testing.assert_allclose(window.gradient[:, k], (up.shifts - down.shifts) / (2 * h), rtol=1e-6)
    drawn = [Window(rng.binomial(total.astype(int), window.efficiencies), total).shifts for _ in range(4000)]
    scale = np.sqrt(np.diag(window.shifts_covariance))
    error = np.cov(np.array(drawn) / scale, rowvar=False) - window.shifts_covariance / np.outer(scale, scale)
    assert np.abs(error).max() < 4 * np.sqrt(2 / 4000)


def test_a_window_that_all_events_pass_changes_nothing() -> None:
    window = Window.of([50, 80], [50, 80])
    assert not window.shifts.any() and not window.shifts_covariance.any()


@pytest.mark.parametrize("passed", [[0, 10], [10, 21]])
def test_empty_and_overfull_windows_are_refused(passed: list[int]) -> None:
    with pytest.raises(DataError, match="some events of each template inside"):
        Window.of(passed, [20, 20])

"""Newton steps with damping: from saddles and along curved valleys; what has no minimum is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize

from veridical.errors import DataError
from veridical.inference.damped_newton import minimise


def saddle(x: np.ndarray) -> float:
    return float((x[0] ** 2 - 1) ** 2 + x[1] ** 2)


def saddle_derivatives(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    gradient = np.array([4 * x[0] * (x[0] ** 2 - 1), 2 * x[1]])
    return gradient, np.diag([12 * x[0] ** 2 - 4, 2.0])


@pytest.mark.parametrize(("start", "end"), [(0.01, 1), (-0.01, -1), (0.4, 1)])
def test_steps_lead_away_from_a_saddle(start: float, end: float) -> None:
    found = minimise(saddle, saddle_derivatives, np.array([start, 0.3]))
    np.testing.assert_allclose(found.at, [end, 0], atol=1e-7)
    np.testing.assert_allclose(found.hessian, np.diag([8, 2]), rtol=1e-6)
    assert found.value < 1e-12 and found.steps < 30


def test_a_curved_valley_is_followed() -> None:
    derivatives = optimize.rosen_der, optimize.rosen_hess
    found = minimise(optimize.rosen, lambda x: tuple(f(x) for f in derivatives), np.array([-1.2, 1.0, -1.5]))  # type: ignore[arg-type, return-value]
    np.testing.assert_allclose(found.at, 1, atol=1e-6)


def test_a_direction_that_a_ridge_alone_holds_costs_few_steps() -> None:
    """An eigenvalue nine orders below the largest, and a minimum ten lengths of the longest step away."""
    scales, target = np.array([1e5, 1e-4]), np.array([1.0, 10.0])

    def value(x: np.ndarray) -> float:
        return float(0.5 * scales @ (x - target) ** 2)

    found = minimise(value, lambda x: (scales * (x - target), np.diag(scales)), np.zeros(2))
    np.testing.assert_allclose(found.at, target, rtol=1e-9)
    assert found.steps < 40


def test_walls_are_not_crossed() -> None:
    def value(x: np.ndarray) -> float:
        return float(x[0] - np.log(x[0])) if x[0] > 0 else np.inf

    found = minimise(value, lambda x: (1 - 1 / x, np.diag(1 / x**2)), np.array([2.9]))
    assert found.at[0] == pytest.approx(1, abs=1e-8)


def test_what_has_no_minimum_is_refused() -> None:
    with pytest.raises(DataError, match="not finite where the search begins"):
        minimise(lambda x: np.inf, saddle_derivatives, np.zeros(2))
    with pytest.raises(DataError, match="no minimum in 200"):
        minimise(lambda x: float(x[0]), lambda x: (np.ones(1), 1e-9 * np.eye(1)), np.zeros(1))
    with pytest.raises(DataError, match="no step lowers"):
        minimise(lambda x: float(x[0]), lambda x: (-np.ones(1), np.eye(1)), np.zeros(1))

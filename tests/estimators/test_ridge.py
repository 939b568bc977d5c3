"""Ridge regression: closed forms, leaving out by hand, and the exact answer of a linear task."""

from __future__ import annotations

import numpy as np
import pytest

from tests.estimators.small import BOUNDED, bounded_data, mass, pairs
from veridical.errors import TrainingError
from veridical.estimators.base import Material, TaskInfo
from veridical.estimators.ridge import Ridge, regress
from veridical.estimators.ridge_settings import RidgeSettings
from veridical.tasks.base import Array
from veridical.tasks.gaussian_chain import GaussianChain
from veridical.training.session import Session

RUN = Session(3, ("ridge", 0))


def by_hand(x: Array, z: Array, penalty: float) -> tuple[Array, Array]:
    """Coefficients (F, D) and intercept (D,) from the normal equations with a penalty for all rows."""
    centre, mean = x.mean(axis=0), z.mean(axis=0)
    coefficients = np.linalg.solve(
        (x - centre).T @ (x - centre) + penalty * np.eye(x.shape[1]), (x - centre).T @ (z - mean)
    )
    return coefficients, mean - centre @ coefficients


def test_coefficients_solve_the_normal_equations(rng: np.random.Generator) -> None:
    x, z = rng.normal(size=(30, 6)), rng.normal(size=(30, 2))
    found = regress(x, z, np.array([0.37]))
    coefficients, intercept = by_hand(x, z, 30 * 0.37)
    np.testing.assert_allclose(found.coefficients, coefficients)
    np.testing.assert_allclose(found.intercept, intercept)


@pytest.mark.parametrize("features", [4, 40])
def test_residuals_are_those_of_fits_without_the_row(features: int, rng: np.random.Generator) -> None:
    """Against n fits with an unpenalised intercept, also with more numbers than rows."""
    n, penalty = 15, 0.2
    x, z = rng.normal(size=(n, features)), rng.normal(size=(n, 2))
    found = regress(x, z, np.array([penalty]))
    for i in range(n):
        rest = np.arange(n) != i
        coefficients, intercept = by_hand(x[rest], z[rest], n * penalty)
        np.testing.assert_allclose(found.residuals[i], z[i] - x[i] @ coefficients - intercept)


def test_the_penalty_is_large_where_x_tells_nothing_and_small_where_it_tells_all(
    rng: np.random.Generator,
) -> None:
    grid = np.geomspace(1e-6, 1e4, 41)
    x = rng.normal(size=(200, 5))
    assert regress(x, rng.normal(size=(200, 1)), grid).penalty > 1
    assert regress(x, x[:, :1] + 0.01 * rng.normal(size=(200, 1)), grid).penalty < 1e-2


def test_a_linear_task_is_solved(rng: np.random.Generator) -> None:
    """With 2,000 pairs of the Gaussian chain the answer is the exact posterior p(theta | y).

    F + 1 coefficients and the covariance cost about D (F + 2) / 2n = 0.01 nat.
    """
    task, n = GaussianChain(), 2000
    theta = task.prior.sample(rng, 2 * n)
    y = task.simulate(theta, task.noise(rng, 2 * n), "real")
    estimator, result = Ridge.fit(RidgeSettings(), TaskInfo.of(task), pairs(theta[:n], y[:n]), RUN)
    gap = task.posterior_log_prob(theta[n:], y[n:], "real") - estimator.log_prob(theta[n:], y[n:])
    assert result is None
    assert -4 * gap.std() / np.sqrt(n) < gap.mean() < 0.03
    covariance = task.level("real").posterior(task.prior, y[:1])[1]
    draws = estimator.sample(y[n : n + 1], 4000, rng)[:, 0]
    np.testing.assert_allclose(np.diag(np.cov(draws.T) / covariance), 1, atol=5 * np.sqrt(2 / 4000 + 2 / n))


def test_few_pairs_are_not_over_confident(rng: np.random.Generator) -> None:
    """30 normal pairs that say nothing: truths lie in the answer's spread as often as they should."""
    task = TaskInfo("free", ("a", "b"), np.array([(-np.inf, np.inf)] * 2), ("", ""), (20,))
    squares = []
    for _ in range(40):
        theta, x = rng.normal(size=(130, 2)), rng.normal(size=(130, 20))
        estimator, _ = Ridge.fit(RidgeSettings(), task, pairs(theta[:30], x[:30]), RUN)
        means, factors = estimator.moments(x[30:])
        z = estimator.parameters.forward(theta[30:])[0]
        squares.append((np.linalg.solve(factors, (z - means)[..., None]) ** 2).sum(axis=(1, 2)).mean())
    assert np.mean(squares) == pytest.approx(2, abs=0.3)


def test_what_cannot_be_fitted_is_refused(rng: np.random.Generator) -> None:
    theta, x = rng.uniform(0.1, 0.9, (20, 2)), rng.normal(size=(20, 3))
    with pytest.raises(TrainingError, match="at least 5 calibration pairs for 2 parameters, got 4"):
        Ridge.fit(RidgeSettings(), BOUNDED, pairs(theta[:4], x[:4]), RUN)
    with pytest.raises(TrainingError, match="needs calibration"):
        Ridge.fit(RidgeSettings(), BOUNDED, Material(), RUN)
    with pytest.raises(ValueError, match="expected smallest <= largest"):
        Ridge.fit(RidgeSettings(smallest=2.0, largest=1.0), BOUNDED, pairs(theta, x), RUN)


def test_the_density_integrates_to_one_over_the_bounds(rng: np.random.Generator) -> None:
    bounded, _ = Ridge.fit(RidgeSettings(), BOUNDED, pairs(*bounded_data(rng, 60)), RUN)
    assert mass(bounded, np.full((1, 3), 0.5)) == pytest.approx(1, abs=1e-4)

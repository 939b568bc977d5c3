"""Ridge regression: closed forms, leaving out by hand, and the exact answer of a linear task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from veridical import artifacts, seeds
from veridical.errors import ArtifactError, TrainingError
from veridical.estimators.base import Material, Rows, TaskInfo
from veridical.estimators.ridge import Ridge, regress
from veridical.tasks.base import Array
from veridical.tasks.gaussian_chain import GaussianChain
from veridical.training.session import Session

RUN = Session(3, ("ridge", 0))
BOUNDED = TaskInfo("bounded", ("rate", "share"), np.array([(0, np.inf), (0, 1)]), ("1/s", ""), (3,))


def pairs(theta: Array, x: Array) -> Material:
    return Material(calibration=Rows(theta, x, np.zeros(len(x), bool)))


@pytest.fixture(scope="module")
def bounded() -> Ridge:
    rng = seeds.generator(7, "test", "ridge")
    theta = np.stack([rng.gamma(2, size=80), rng.beta(2, 2, size=80)], axis=1)
    x = theta @ rng.normal(size=(2, 3)) + 0.3 * rng.normal(size=(80, 3))
    return Ridge.fit({}, BOUNDED, pairs(theta, x), RUN)[0]


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
    estimator, result = Ridge.fit({}, TaskInfo.of(task), pairs(theta[:n], y[:n]), RUN)
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
        estimator, _ = Ridge.fit({}, task, pairs(theta[:30], x[:30]), RUN)
        means, factors = estimator.moments(x[30:])
        z = estimator.parameters.forward(theta[30:])[0]
        squares.append((np.linalg.solve(factors, (z - means)[..., None]) ** 2).sum(axis=(1, 2)).mean())
    assert np.mean(squares) == pytest.approx(2, abs=0.3)


def test_draws_have_the_stated_density_and_respect_the_bounds(
    bounded: Ridge, rng: np.random.Generator
) -> None:
    x = np.array([[0, 0, 0], [3, -3, 3], [-50, 50, -50]], float)
    draws, log_p = bounded.sample_and_log_prob(x, 500, rng)
    assert draws.shape == (500, 3, 2) and log_p.shape == (500, 3)
    lower, upper = BOUNDED.bounds.T
    assert (draws > lower).all() and (draws < upper).all()
    np.testing.assert_allclose(bounded.log_prob(draws, x), log_p, rtol=1e-9)
    assert np.isneginf(bounded.log_prob(np.array([[[-1, 0.5]] * 3, [[1, 1.5]] * 3]), x)).all()
    assert bounded.log_prob(draws[0], x).shape == (3,)
    assert bounded.summary(x) is None and bounded.cloud is None


def test_the_density_integrates_to_one_over_the_bounds(bounded: Ridge) -> None:
    rate, logit = np.exp(np.linspace(-12, 8, 500)), np.linspace(-16, 16, 500)
    share = 1 / (1 + np.exp(-logit))
    theta = np.stack(np.meshgrid(rate, share, indexing="ij"), -1).reshape(-1, 1, 2)
    p = np.exp(bounded.log_prob(theta, np.full((1, 3), 0.5))).reshape(500, 500)
    inner = np.trapezoid(p * share * (1 - share), logit, axis=1)
    assert np.trapezoid(inner * rate, np.log(rate)) == pytest.approx(1, abs=1e-4)


def test_draws_do_not_depend_on_batches(bounded: Ridge, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.linspace(-1, 1, 15).reshape(5, 3)
    whole = bounded.sample(x, 30, seeds.generator(1, "test"))
    monkeypatch.setattr("veridical.estimators.gaussian.ROWS", 40)
    np.testing.assert_allclose(bounded.sample(x, 30, seeds.generator(1, "test")), whole)
    np.testing.assert_allclose(bounded.sample(x[:1], 30, seeds.generator(1, "test")), whole[:, :1])


def test_what_is_saved_comes_back_with_the_same_bits(bounded: Ridge, tmp_path: Path) -> None:
    artifacts.save_estimator(bounded, tmp_path)
    again = artifacts.load_estimator(tmp_path)
    assert isinstance(again, Ridge) and again.settings == bounded.settings
    assert again.transforms() == bounded.transforms()
    x = np.zeros((2, 3))
    one, other = (e.sample_and_log_prob(x, 5, seeds.generator(1, "test")) for e in (bounded, again))
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])


def test_what_cannot_be_fitted_is_refused(bounded: Ridge, rng: np.random.Generator) -> None:
    theta, x = rng.uniform(0.1, 0.9, (20, 2)), rng.normal(size=(20, 3))
    with pytest.raises(TrainingError, match="at least 5 calibration pairs for 2 parameters, got 4"):
        Ridge.fit({}, BOUNDED, pairs(theta[:4], x[:4]), RUN)
    with pytest.raises(TrainingError, match="needs calibration"):
        Ridge.fit({}, BOUNDED, Material(), RUN)
    with pytest.raises(ArtifactError, match="missing"):
        Ridge.from_arrays({"type": "ridge"}, BOUNDED, {})
    with pytest.raises(ValueError, match="expected smallest <= largest"):
        Ridge.fit({"smallest": 2.0, "largest": 1.0}, BOUNDED, pairs(theta, x), RUN)

"""The regression by a dense network: its density, its stopping rule, and a task that it can learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.estimators.small import BOUNDED, bounded_data, mass, pairs
from veridical import seeds
from veridical.errors import TrainingError
from veridical.estimators.base import TaskInfo
from veridical.estimators.regression import MLPRegression, held_out
from veridical.estimators.regression_settings import MLPSettings
from veridical.tasks.base import Array
from veridical.training.session import Session

QUICK = {"hidden": [16], "training": {"max_steps": 40}}


@pytest.fixture(scope="module")
def bounded() -> MLPRegression:
    material = pairs(*bounded_data(seeds.generator(7, "test", "mlp"), 60))
    return MLPRegression.fit(MLPSettings(**QUICK), BOUNDED, material, Session(3, ("mlp", 0)))[0]


def test_a_normal_posterior_whose_spread_depends_on_x_is_learned(rng: np.random.Generator) -> None:
    """Theta | x ~ N(x_0 / 2, s(x_1)^2): the gap to its exact log density is small, and so on new rows."""

    def draw(n: int) -> tuple[Array, Array, Array]:
        x = rng.normal(size=(n, 2))
        sd = np.exp(0.5 * np.tanh(x[:, 1]) - 0.5)
        theta = 0.5 * x[:, 0] + sd * rng.normal(size=n)
        exact = -0.5 * ((theta - 0.5 * x[:, 0]) / sd) ** 2 - np.log(sd * np.sqrt(2 * np.pi))
        return theta[:, None], x, exact

    task = TaskInfo("normal", ("a",), np.array([(-np.inf, np.inf)]), ("",), (2,))
    spec = {"hidden": [32], "training": {"learning_rate": 3e-3, "batch_size": 128, "max_steps": 600}}
    estimator, result = MLPRegression.fit(
        MLPSettings(**spec), task, pairs(*draw(2000)[:2]), Session(3, ("mlp", 0))
    )
    theta, x, exact = draw(4000)
    gap = exact - estimator.log_prob(theta, x)
    assert -4 * gap.std() / np.sqrt(len(gap)) < gap.mean() < 0.05
    best = result.rounds[result.best]["validation_loss"]
    assert best == min(look["validation_loss"] for look in result.rounds)
    assert best == pytest.approx(-exact.mean(), abs=4 * exact.std() / np.sqrt(400)), "in theta's units"


def test_the_loss_is_the_negative_log_density(bounded: MLPRegression, rng: np.random.Generator) -> None:
    theta, x = bounded_data(rng, 50)
    z, log_slope = bounded.parameters.forward(theta)
    with torch.no_grad():
        loss = bounded.precise.loss(torch.from_numpy(z), torch.from_numpy(bounded.inputs(x)))
    expected = (log_slope - bounded.log_prob(theta, x)).mean()
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_the_density_integrates_to_one_over_the_bounds(bounded: MLPRegression) -> None:
    assert mass(bounded, np.full((1, 3), 0.5)) == pytest.approx(1, abs=1e-4)


def test_standard_deviations_keep_their_bounds(bounded: MLPRegression) -> None:
    x = 1e4 * np.array([[1, 1, 1], [-1, 1, -1], [0, 0, 1]], np.float32)
    _, factors = bounded.moments(x)
    sd = np.diagonal(factors, axis1=1, axis2=2)
    assert (sd >= 0.1 - 1e-9).all() and (sd <= 10 + 1e-6).all()


def test_pairs_held_out_do_not_change_the_transforms(rng: np.random.Generator) -> None:
    """Every fifth pair is held out: it decides when to stop, and nothing else."""
    apart = held_out(60, "mlp")
    assert np.flatnonzero(apart).tolist() == list(range(4, 60, 5))
    theta, x = bounded_data(rng, 60)
    moved = x.copy()
    moved[apart] += 5
    one, other = (
        MLPRegression.fit(MLPSettings(**QUICK), BOUNDED, pairs(theta, d), Session(3, ("m", 0)))[0]
        for d in (x, moved)
    )
    np.testing.assert_array_equal(one.inputs.mean, other.inputs.mean)
    np.testing.assert_array_equal(one.parameters.mean, other.parameters.mean)


def test_what_cannot_be_fitted_is_refused(rng: np.random.Generator) -> None:
    theta, x = bounded_data(rng, 20)
    with pytest.raises(TrainingError, match="at least 10 calibration pairs, got 9"):
        MLPRegression.fit(MLPSettings(), BOUNDED, pairs(theta[:9], x[:9]), Session(3, ("mlp", 0)))

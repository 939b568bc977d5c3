"""The regression by a dense network: its density, its stopping rule, and a task that it can learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from veridical import artifacts, seeds
from veridical.errors import ArtifactError, TrainingError
from veridical.estimators.base import Material, Rows, TaskInfo
from veridical.estimators.regression import MLPRegression, held_out
from veridical.tasks.base import Array
from veridical.training.session import Session

BOUNDED = TaskInfo("bounded", ("rate", "share"), np.array([(0, np.inf), (0, 1)]), ("1/s", ""), (3,))
QUICK = {"hidden": [16], "training": {"max_steps": 40}}


def pairs(theta: Array, x: Array) -> Material:
    return Material(calibration=Rows(theta, x, np.zeros(len(x), bool)))


def bounded_data(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
    theta = np.stack([rng.gamma(2, size=n), rng.beta(2, 2, size=n)], axis=1)
    return theta, (theta @ rng.normal(size=(2, 3)) + 0.1 * rng.normal(size=(n, 3))).astype(np.float32)


@pytest.fixture(scope="module")
def bounded() -> MLPRegression:
    material = pairs(*bounded_data(seeds.generator(7, "test", "mlp"), 60))
    return MLPRegression.fit(QUICK, BOUNDED, material, Session(3, ("mlp", 0)))[0]


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
    estimator, result = MLPRegression.fit(spec, task, pairs(*draw(2000)[:2]), Session(3, ("mlp", 0)))
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
        loss = bounded._precise.loss(torch.from_numpy(z), torch.from_numpy(bounded.inputs(x)))
    expected = (log_slope - bounded.log_prob(theta, x)).mean()
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_standard_deviations_keep_their_bounds(bounded: MLPRegression) -> None:
    x = 1e4 * np.array([[1, 1, 1], [-1, 1, -1], [0, 0, 1]], np.float32)
    _, factors = bounded.moments(x)
    sd = np.diagonal(factors, axis1=1, axis2=2)
    assert (sd >= 0.1 - 1e-9).all() and (sd <= 10 + 1e-6).all()


def test_draws_have_the_stated_density_and_respect_the_bounds(
    bounded: MLPRegression, rng: np.random.Generator
) -> None:
    x = np.array([[0, 0, 0], [3, -3, 3], [-50, 50, -50]], np.float32)
    draws, log_p = bounded.sample_and_log_prob(x, 500, rng)
    lower, upper = BOUNDED.bounds.T
    assert draws.shape == (500, 3, 2) and (draws > lower).all() and (draws < upper).all()
    np.testing.assert_allclose(bounded.log_prob(draws, x), log_p, rtol=1e-9)
    assert np.isneginf(bounded.log_prob(np.array([[[-1, 0.5]] * 3, [[1, 1.5]] * 3]), x)).all()
    assert bounded.summary(x) is None


def test_the_density_integrates_to_one_over_the_bounds(bounded: MLPRegression) -> None:
    rate, logit = np.exp(np.linspace(-12, 8, 500)), np.linspace(-16, 16, 500)
    share = 1 / (1 + np.exp(-logit))
    theta = np.stack(np.meshgrid(rate, share, indexing="ij"), -1).reshape(-1, 1, 2)
    p = np.exp(bounded.log_prob(theta, np.full((1, 3), 0.5))).reshape(500, 500)
    inner = np.trapezoid(p * share * (1 - share), logit, axis=1)
    assert np.trapezoid(inner * rate, np.log(rate)) == pytest.approx(1, abs=1e-4)


def test_the_same_seeds_give_the_same_bits_and_files_too(bounded: MLPRegression, tmp_path: Path) -> None:
    material = pairs(*bounded_data(seeds.generator(7, "test", "mlp"), 60))
    refit = MLPRegression.fit(QUICK, BOUNDED, material, Session(3, ("mlp", 0)))[0]
    other = MLPRegression.fit(QUICK, BOUNDED, material, Session(3, ("mlp", 1)))[0]
    artifacts.save_estimator(bounded, tmp_path)
    again = artifacts.load_estimator(tmp_path)
    for name, array in bounded.arrays().items():
        np.testing.assert_array_equal(refit.arrays()[name], array)
        np.testing.assert_array_equal(again.arrays()[name], array)
    assert not np.array_equal(
        other.arrays()["network.layers.0.weight"], bounded.arrays()["network.layers.0.weight"]
    )
    x = np.zeros((2, 3), np.float32)
    one, same = (e.sample_and_log_prob(x, 5, seeds.generator(1, "test")) for e in (bounded, again))
    np.testing.assert_array_equal(one[0], same[0])
    np.testing.assert_array_equal(one[1], same[1])


def test_pairs_held_out_do_not_change_the_transforms(rng: np.random.Generator) -> None:
    """Every fifth pair is held out: it decides when to stop, and nothing else."""
    apart = held_out(60, "mlp")
    assert np.flatnonzero(apart).tolist() == list(range(4, 60, 5))
    theta, x = bounded_data(rng, 60)
    moved = x.copy()
    moved[apart] += 5
    one, other = (
        MLPRegression.fit(QUICK, BOUNDED, pairs(theta, d), Session(3, ("m", 0)))[0] for d in (x, moved)
    )
    np.testing.assert_array_equal(one.inputs.mean, other.inputs.mean)
    np.testing.assert_array_equal(one.parameters.mean, other.parameters.mean)


def test_what_cannot_be_fitted_is_refused(bounded: MLPRegression, rng: np.random.Generator) -> None:
    theta, x = bounded_data(rng, 20)
    with pytest.raises(TrainingError, match="at least 10 calibration pairs, got 9"):
        MLPRegression.fit({}, BOUNDED, pairs(theta[:9], x[:9]), Session(3, ("mlp", 0)))
    with pytest.raises(ArtifactError, match="do not fit"):
        MLPRegression.from_arrays({**QUICK, "hidden": [8]}, BOUNDED, bounded.arrays())
    broken = {n: np.full_like(a, np.nan) if "weight" in n else a for n, a in bounded.arrays().items()}
    with pytest.raises(ArtifactError, match="not finite"):
        MLPRegression.from_arrays(QUICK, BOUNDED, broken).sample(x[:1], 2, rng)

"""NPE: near the exact posterior where that is known, within bounds, reproducible."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from veridical.errors import ArtifactError, DataError, ShapeError, TrainingError
from veridical.estimators import estimator_class, npe
from veridical.estimators.base import Estimator, Material, Rows, TaskInfo
from veridical.estimators.npe import NPE
from veridical.tasks.base import Array
from veridical.training import session

FREE = np.array([(-np.inf, np.inf)] * 2)
BOUNDED = TaskInfo("bounded", ("rate", "share"), np.array([(0, np.inf), (0, 1)]), ("1/s", ""), (3,))
RUN = session.Session(11, ("npe", 0))


def material(theta: Array, x: Array) -> Material:
    return Material(Rows(theta, x, every_tenth(len(x))))


def every_tenth(n: int) -> Array:
    return np.arange(n) % 10 == 9


def bounded_data(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
    theta = np.stack([rng.gamma(2, size=n), rng.beta(0.6, 0.6, size=n)], 1)
    return theta, (theta @ rng.normal(size=(2, 3)) + 0.1 * rng.normal(size=(n, 3))).astype(np.float32)


@pytest.fixture(scope="module")
def bounded() -> Iterator[NPE]:
    """A posterior with bounds, hardly trained."""
    rng = np.random.Generator(np.random.PCG64(5))
    theta, x = bounded_data(rng, 600)
    spec = {"training": {"epochs": 2, "batch_size": 64}, "summary": {"hidden": [16], "features": 4}}
    yield NPE.fit(spec, BOUNDED, material(theta, x), RUN)[0]


def test_a_gaussian_posterior_is_learned(rng: np.random.Generator) -> None:
    """Theta ~ N(0, 1), x | theta ~ N(theta, 1/4): the posterior is N(4x/5, 1/5).

    The mean over x of KL(exact || learned) is the gap in -log q to the entropy; bound: 0.05 nat for
    10,000 simulations, the standard error being below 0.02 for 20,000 test rows.
    """
    n, sd = 11_000, 0.5
    theta = rng.normal(size=(n, 2))
    x = (theta + sd * rng.normal(size=(n, 2))).astype(np.float32)
    task = TaskInfo("gaussian", ("a", "b"), FREE, ("", ""), (2,))
    spec = {"summary": {"type": "none"}, "training": {"epochs": 12}}
    estimator, result = NPE.fit(spec, task, material(theta, x), RUN)

    theta_new = rng.normal(size=(20_000, 2))
    x_new = theta_new + sd * rng.normal(size=theta_new.shape)
    variance = sd**2 / (1 + sd**2)
    exact = -0.5 * ((theta_new - x_new / (1 + sd**2)) ** 2 / variance + np.log(2 * np.pi * variance)).sum(1)
    gap = exact - estimator.log_prob(theta_new, x_new)
    assert -4 * gap.std() / np.sqrt(len(gap)) < gap.mean() < 0.05
    best = result.rounds[result.best]
    assert best["validation_loss"] == pytest.approx(-exact.mean(), abs=0.15), "history is in theta's units"

    draws = estimator.sample(x_new[:20], 4000, rng)
    shifts = (draws.mean(0) - x_new[:20] / (1 + sd**2)) / np.sqrt(variance)
    ratios = draws.std(0) / np.sqrt(variance)
    assert np.sqrt((shifts**2).mean()) < np.sqrt(0.05)  # the shift that costs 0.05 nat in two dimensions
    assert np.sqrt((np.log(ratios) ** 2).mean()) < np.sqrt(0.05 / 2)  # the width that costs as much


def test_contract(bounded: NPE, rng: np.random.Generator) -> None:
    estimator: Estimator = bounded
    assert isinstance(estimator, estimator_class("npe"))
    _, x = bounded_data(rng, 7)
    draws, log_density = estimator.sample_and_log_prob(x, 50, rng)
    assert draws.shape == (50, 7, 2) and draws.dtype == np.float64
    assert log_density.shape == (50, 7)
    np.testing.assert_allclose(estimator.log_prob(draws, x), log_density, atol=2e-3)
    assert estimator.log_prob(draws[0], x).shape == (7,)
    summary = estimator.summary(x)
    assert summary.shape == (7, len(estimator.cloud.mean)) and np.isfinite(summary).all()
    assert estimator.cloud.covariance.shape == (len(estimator.cloud.mean),) * 2
    assert set(estimator.transforms()["parameters"]) == set(estimator.task.parameters)


def test_draws_respect_bounds_even_far_from_the_training_data(bounded: NPE, rng: np.random.Generator) -> None:
    x = np.array([[0, 0, 0], [30, -30, 30], [-1e3, 1e3, 1e3]], np.float32)
    draws = bounded.sample(x, 2000, rng)
    lower, upper = BOUNDED.bounds.T
    assert (draws > lower).all() and (draws < upper).all()


def test_there_is_no_density_outside_the_bounds(bounded: NPE) -> None:
    theta = np.array([[1.0, 0.5], [-1.0, 0.5], [1.0, 1.0], [1.0, 0.0]])
    log_p = bounded.log_prob(theta, np.zeros((4, 3), np.float32))
    assert np.isfinite(log_p[0]) and np.isneginf(log_p[1:]).all()


def test_the_density_integrates_to_one_over_the_bounds(bounded: NPE) -> None:
    rate = np.exp(np.linspace(-12, 6, 400))
    logit = np.linspace(-16, 16, 400)
    share = 1 / (1 + np.exp(-logit))
    theta = np.stack(np.meshgrid(rate, share, indexing="ij"), -1).reshape(-1, 1, 2)
    p = np.exp(bounded.log_prob(theta, np.full((1, 3), 0.5, np.float32))).reshape(400, 400)
    inner = np.trapezoid(p * share * (1 - share), logit, axis=1)
    assert np.trapezoid(inner * rate, np.log(rate)) == pytest.approx(1, abs=0.01)


def test_draws_depend_on_the_generator_alone_not_on_batches(
    bounded: NPE, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.linspace(-1, 1, 15, dtype=np.float32).reshape(5, 3)
    whole = bounded.sample(x, 30, np.random.Generator(np.random.PCG64(1)))
    monkeypatch.setattr(npe, "ROWS", 7)
    parts = bounded.sample(x, 30, np.random.Generator(np.random.PCG64(1)))
    np.testing.assert_allclose(parts, whole, rtol=1e-4)
    alone = bounded.sample(x[:1], 30, np.random.Generator(np.random.PCG64(1)))
    np.testing.assert_allclose(alone, whole[:, :1], rtol=1e-4)


def test_rows_that_fail_in_single_precision_are_done_in_double(
    bounded: NPE, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.zeros((1, 3), np.float32)
    expected = bounded.sample(x, 20, np.random.Generator(np.random.PCG64(1)))
    push = bounded.network.flow.push

    def failing(*args: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        theta, log_p = push(*args)
        theta[3], log_p[5] = torch.nan, torch.inf
        return theta, log_p

    monkeypatch.setattr(bounded.network.flow, "push", failing)
    draws = bounded.sample(x, 20, np.random.Generator(np.random.PCG64(1)))
    np.testing.assert_allclose(draws, expected, rtol=1e-4)


def test_a_broken_network_is_an_error_not_a_nan(bounded: NPE, rng: np.random.Generator) -> None:
    arrays = dict(bounded.arrays())
    name = next(n for n in arrays if n.startswith("network.flow") and n.endswith("weight"))
    arrays[name] = np.full_like(arrays[name], np.nan)
    broken = NPE.from_arrays(bounded.settings.model_dump(), BOUNDED, arrays)
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(ArtifactError, match="not finite"):
        broken.sample(x, 5, rng)
    with pytest.raises(ArtifactError, match="not numbers"):
        broken.log_prob(np.full((2, 2), 0.5), x)


def test_arrays_that_do_not_fit_the_settings_are_refused(bounded: NPE) -> None:
    with pytest.raises(ArtifactError, match="do not fit"):
        NPE.from_arrays({**bounded.settings.model_dump(), "flow": {"bins": 4}}, BOUNDED, bounded.arrays())


def test_the_same_seeds_give_the_same_weights_and_other_replicates_others(rng: np.random.Generator) -> None:
    theta, x = bounded_data(rng, 200)
    spec = {"training": {"epochs": 1, "batch_size": 64}, "flow": {"transforms": 1, "hidden": [8]}}

    def weights(replicate: int) -> dict[str, Array]:
        run = session.Session(11, ("npe", replicate))
        return NPE.fit(spec, BOUNDED, material(theta, x), run)[0].arrays()

    first, again, other = weights(0), weights(0), weights(1)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["network.flow.transforms.0.hyper.0.weight"],
                              other["network.flow.transforms.0.hyper.0.weight"])  # fmt: skip


def test_data_that_cannot_be_learned_from_are_refused(rng: np.random.Generator) -> None:
    theta, x = bounded_data(rng, 200)
    with pytest.raises(TrainingError, match="at least 10 valid training rows"):
        NPE.fit({}, BOUNDED, material(theta[:9], x[:9]), RUN)
    with pytest.raises(DataError, match="'log' expects positive"):
        NPE.fit({"inputs": {"transform": "log"}}, BOUNDED, material(theta, x), RUN)
    with pytest.raises(ShapeError, match="expected shape"):
        NPE.fit({}, BOUNDED, material(theta, x[:, :2]), RUN)
    with pytest.raises(ShapeError):
        NPE.fit({}, BOUNDED, material(theta[:, :1], x), RUN)


def test_training_leaves_no_trace(
    rng: np.random.Generator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """No file in the working directory, no output, other thread numbers and global generators untouched."""
    monkeypatch.chdir(tmp_path)
    theta, x = bounded_data(rng, 200)
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    NPE.fit({"training": {"epochs": 1, "threads": 2}}, BOUNDED, material(theta, x), RUN)
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)

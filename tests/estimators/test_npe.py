"""NPE: near the exact posterior where that is known, within bounds, reproducible."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.estimators.small import BOUNDED, bounded_data, mass
from veridical.errors import ArtifactError, DataError, ShapeError, TrainingError
from veridical.estimators.base import Material, Rows, TaskInfo
from veridical.estimators.npe import NPE
from veridical.estimators.npe_settings import NPESettings
from veridical.tasks.base import Array
from veridical.training import session

FREE = np.array([(-np.inf, np.inf)] * 2)
RUN = session.Session(11, ("npe", 0))


def material(theta: Array, x: Array) -> Material:
    return Material(Rows(theta, x, np.arange(len(x)) % 10 == 9))


@pytest.fixture(scope="module")
def bounded() -> NPE:
    """A posterior with bounds, hardly trained."""
    rng = np.random.Generator(np.random.PCG64(5))
    theta, x = bounded_data(rng, 600)
    spec = {"training": {"epochs": 2, "batch_size": 64}, "summary": {"hidden": [16], "features": 4}}
    return NPE.fit(NPESettings(**spec), BOUNDED, material(theta, x), RUN)[0]


def test_a_gaussian_posterior_is_learned(rng: np.random.Generator) -> None:
    """Theta ~ N(0, 1), x | theta ~ N(theta, 1/4): the posterior is N(4x/5, 1/5).

    The mean over x of KL(exact || learned) is the gap in -log q to the entropy; bound: 0.05 nat for
    10,000 simulations, the standard error being below 0.02 for 20,000 test rows.
    """
    n, sd = 11_000, 0.5
    theta = rng.normal(size=(n, 2))
    x = (theta + sd * rng.normal(size=(n, 2))).astype(np.float32)
    task = TaskInfo("gaussian", ("a", "b"), FREE, ("", ""), (2,))
    spec = {"summary": {"type": "none"}, "training": {"epochs": 6, "batch_size": 256}}
    estimator, result = NPE.fit(NPESettings(**spec), task, material(theta, x), RUN)

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


def test_draws_respect_bounds_even_far_from_the_training_data(bounded: NPE, rng: np.random.Generator) -> None:
    x = np.array([[0, 0, 0], [30, -30, 30], [-1e3, 1e3, 1e3]], np.float32)
    draws = bounded.sample(x, 2000, rng)
    lower, upper = BOUNDED.bounds.T
    assert (draws > lower).all() and (draws < upper).all()


def test_the_density_integrates_to_one_over_the_bounds(bounded: NPE) -> None:
    assert mass(bounded, np.full((1, 3), 0.5, np.float32)) == pytest.approx(1, abs=0.01)


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


def test_arrays_that_do_not_fit_the_settings_are_refused(bounded: NPE) -> None:
    with pytest.raises(ArtifactError, match="do not fit"):
        NPE.from_arrays(
            NPESettings(**bounded.settings.model_dump() | {"flow": {"bins": 4}}), BOUNDED, bounded.arrays()
        )


def test_data_that_cannot_be_learned_from_are_refused(rng: np.random.Generator) -> None:
    theta, x = bounded_data(rng, 200)
    with pytest.raises(TrainingError, match="at least 10 valid training rows"):
        NPE.fit(NPESettings(), BOUNDED, material(theta[:9], x[:9]), RUN)
    with pytest.raises(DataError, match="'log' expects positive"):
        NPE.fit(NPESettings(inputs={"transform": "log"}), BOUNDED, material(theta, x), RUN)
    with pytest.raises(ShapeError, match="expected shape"):
        NPE.fit(NPESettings(), BOUNDED, material(theta, x[:, :2]), RUN)
    with pytest.raises(ShapeError):
        NPE.fit(NPESettings(), BOUNDED, material(theta[:, :1], x), RUN)


def test_training_leaves_no_trace(
    rng: np.random.Generator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """No file in the working directory, no output but what it trains, no thread number or generator moved."""
    monkeypatch.chdir(tmp_path)
    theta, x = bounded_data(rng, 200)
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    NPE.fit(NPESettings(training={"epochs": 1, "threads": 2}), BOUNDED, material(theta, x), RUN)
    assert not list(tmp_path.iterdir())
    told, error = capfd.readouterr()
    assert re.fullmatch(r"summary: auto takes {'type': 'mlp', .*}\n[\d,]+ weights, 180 training rows\n", told)
    assert not error
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)

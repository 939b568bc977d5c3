"""Fine-tuned encoders: they undo a known shift, never get worse on held-back pairs, spare their parent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.remedies.shifted_task import SHIFTED, rows, simulate
from veridical import artifacts
from veridical.errors import ArtifactError, TrainingError
from veridical.estimators.base import Material, Rows
from veridical.estimators.npe import NPE
from veridical.remedies import tuned as module
from veridical.remedies.tuned import Tuned, simulator
from veridical.remedies.tuned_settings import TunedSettings
from veridical.tasks.base import Array
from veridical.training import session

RUN = session.Session(11, ("tuned", 0))
SPEC = {"type": "tuned", "of": "npe", "steps": 300, "learning_rate": 3e-3, "looks": 30}


def material(npe: NPE, pairs: int, rng: np.random.Generator) -> Material:
    return Material(calibration=rows(pairs, True, rng), parent=npe, simulate=simulate)


def test_tuning_undoes_a_shift(npe: NPE, rng: np.random.Generator) -> None:
    """In one dimension the shift can be undone, so that the tuned posterior of real data is nearly as good as
    the original's of simulations; the original is far off.
    """
    tuned, result = Tuned.fit(SPEC, SHIFTED, material(npe, 100, rng), RUN)
    assert tuned.helped and tuned.norms[1] < tuned.norms[0] / 3
    assert (
        result.best > 0 and result.rounds[0]["step"] == 0 and result.rounds[-1]["step"] == result.steps == 300
    )
    assert result.rounds[0]["validation_loss"] == tuned.norms[0]
    assert min(entry["validation_loss"] for entry in result.rounds) == tuned.norms[1]
    simulated, real = rows(500, False, rng), rows(500, True, rng)
    best = npe.log_prob(simulated.theta, simulated.x).mean()
    assert npe.log_prob(real.theta, real.x).mean() < best - 2
    assert tuned.log_prob(real.theta, real.x).mean() > best - 0.8


def test_where_tuning_never_helps_the_encoder_stays(npe: NPE, rng: np.random.Generator) -> None:
    """The pairs are simulations, which h was trained for, and a learning rate of one breaks it at once."""
    pairs = Material(calibration=rows(20, False, rng), parent=npe, simulate=simulate)
    tuned, result = Tuned.fit({**SPEC, "learning_rate": 1.0, "steps": 20}, SHIFTED, pairs, RUN)
    assert result.best == 0 and not tuned.helped and "original" in tuned.transforms()["encoder"]
    x = rows(10, True, rng).x
    np.testing.assert_array_equal(tuned.summary(x), npe.summary(x))


def test_contract(npe: NPE, rng: np.random.Generator) -> None:
    before = {name: array.copy() for name, array in npe.arrays().items()}
    tuned, _ = Tuned.fit({**SPEC, "steps": 10}, SHIFTED, material(npe, 20, rng), RUN)
    assert all(np.array_equal(npe.arrays()[name], before[name]) for name in before), "the parent is as it was"
    x = rows(7, True, rng).x
    draws, log_density = tuned.sample_and_log_prob(x, 50, rng)
    assert draws.shape == (50, 7, 1) and log_density.shape == (50, 7)
    np.testing.assert_allclose(tuned.log_prob(draws, x), log_density, atol=2e-3)
    assert all(name.startswith("encoder.") or name == "norms" for name in tuned.arrays())
    again = Tuned.from_arrays(tuned.settings.model_dump(), SHIFTED, tuned.arrays(), npe)
    np.testing.assert_array_equal(again.log_prob(draws, x), tuned.log_prob(draws, x))
    assert tuned.summary(x).shape == (7, 4) and tuned.cloud is npe.cloud
    assert tuned.transforms()["parameters"] == npe.transforms()["parameters"]


def test_it_is_saved_and_loaded_with_its_parent(npe: NPE, tmp_path: Path, rng: np.random.Generator) -> None:
    tuned, result = Tuned.fit({**SPEC, "steps": 10}, SHIFTED, material(npe, 20, rng), RUN)
    artifacts.save_estimator(npe, tmp_path / "npe")
    artifacts.save_estimator(tuned, tmp_path / "tuned", result, parent=tmp_path / "npe")
    loaded = artifacts.load_estimator(tmp_path / "tuned")
    real = rows(5, True, rng)
    np.testing.assert_array_equal(loaded.log_prob(real.theta, real.x), tuned.log_prob(real.theta, real.x))


def test_the_same_seeds_give_the_same_weights_and_others_others(npe: NPE) -> None:
    def weights(replicate: int) -> dict[str, Array]:
        data = material(npe, 20, np.random.Generator(np.random.PCG64(3)))
        return Tuned.fit({**SPEC, "steps": 10}, SHIFTED, data, session.Session(11, ("t", replicate)))[
            0
        ].arrays()

    first, again, other = weights(0), weights(0), weights(1)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert any(not np.array_equal(first[name], other[name]) for name in first)


def test_simulating_in_other_chunks_takes_the_same_number_of_steps(
    npe: NPE, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.setattr(module, "SIMULATED_ROWS", 40)
    _, result = Tuned.fit({**SPEC, "steps": 7, "batch_size": 8}, SHIFTED, material(npe, 30, rng), RUN)
    assert result.rounds[-1]["step"] == 7
    assert result.rounds[-1]["epoch"] == pytest.approx(7 * 8 / 24)


def test_the_loss_is_a_mean_of_norms_not_of_squares() -> None:
    summary = torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.0, 1.0]])
    assert float(module._norm(summary, torch.zeros(3, 2))) == pytest.approx(2.0)


def test_held_back_targets_are_mean_summaries_and_pairs_are_split_once(
    npe: NPE, rng: np.random.Generator
) -> None:
    """The mean of 50 noisy simulations is within 4 standard errors of that of 5000."""
    data = material(npe, 50, rng)
    assert data.calibration is not None
    settings = TunedSettings.model_validate(SPEC)
    tuning = module._Tuning(settings, npe, data.calibration, simulate, RUN)
    assert (len(tuning.theta), len(tuning.held_y)) == (40, 10)
    held = [theta for theta in data.calibration.theta if theta not in tuning.theta]
    for theta, target in zip(held, tuning.held_target.numpy(), strict=True):
        summaries = npe.summary(simulate(np.repeat(theta[None], 5000, axis=0), rng))
        assert (np.abs(target - summaries.mean(axis=0)) < 4.5 * summaries.std(axis=0) / np.sqrt(49)).all()


def test_failed_simulations_sit_out(npe: NPE, rng: np.random.Generator) -> None:
    def often_failing(theta: Array, rng: np.random.Generator) -> Array:
        x = simulate(theta, rng)
        x[rng.random(len(x)) < 0.5] = np.nan
        return x

    data = Material(calibration=rows(100, True, rng), parent=npe, simulate=often_failing)
    tuned, _ = Tuned.fit(SPEC, SHIFTED, data, RUN)
    assert tuned.norms[1] < tuned.norms[0] / 2
    failing = Material(
        calibration=data.calibration, parent=npe, simulate=lambda theta, rng: np.full((len(theta), 2), np.nan)
    )
    with pytest.raises(TrainingError, match="simulations at"):
        Tuned.fit(SPEC, SHIFTED, failing, RUN)


def test_stored_simulations_of_nearest_parameters_stand_in(npe: NPE, rng: np.random.Generator) -> None:
    stored = rows(5000, False, rng)
    settings = TunedSettings.model_validate({**SPEC, "simulations": 5000})
    nearest = simulator(settings, Material(simulations=stored))
    theta = rng.random((20, 1))
    chosen = np.argmin(np.abs(theta - stored.theta[:, 0]), axis=1)
    np.testing.assert_array_equal(nearest(theta, rng), stored.x[chosen])
    data = Material(simulations=stored, calibration=rows(100, True, rng), parent=npe)
    tuned, _ = Tuned.fit({**SPEC, "simulations": 5000}, SHIFTED, data, RUN)
    assert tuned.norms[1] < tuned.norms[0] / 3
    assert settings.fit_rows == 5000 and TunedSettings(of="npe").fit_rows == 0


def test_what_cannot_be_tuned_is_refused(npe: NPE, rng: np.random.Generator) -> None:
    good = material(npe, 20, rng)
    with pytest.raises(TrainingError, match="at least 5"):
        Tuned.fit(SPEC, SHIFTED, material(npe, 4, rng), RUN)
    with pytest.raises(TrainingError, match="made elsewhere"):
        Tuned.fit(SPEC, SHIFTED, Material(calibration=good.calibration, parent=npe), RUN)
    with pytest.raises(TrainingError, match="needs calibration"):
        Tuned.fit(SPEC, SHIFTED, Material(parent=npe, simulate=simulate), RUN)
    tuned, _ = Tuned.fit({**SPEC, "steps": 2}, SHIFTED, good, RUN)
    with pytest.raises(TrainingError, match="name an npe"):
        Tuned.fit(SPEC, SHIFTED, Material(calibration=good.calibration, parent=tuned, simulate=simulate), RUN)
    with pytest.raises(ArtifactError, match="beside it"):
        Tuned.from_arrays(SPEC, SHIFTED, tuned.arrays())
    with pytest.raises(ArtifactError, match="do not fit"):
        Tuned.from_arrays(SPEC, SHIFTED, {"norms": tuned.norms}, npe)


def test_an_npe_without_summary_network_is_refused(rng: np.random.Generator) -> None:
    spec = {"summary": {"type": "none"}, "training": {"epochs": 1}, "flow": {"transforms": 1, "hidden": [4]}}
    bare, _ = NPE.fit(spec, SHIFTED, Material(rows(100, False, rng)), RUN)
    with pytest.raises(TrainingError, match="summary: none"):
        Tuned.fit(SPEC, SHIFTED, material(bare, 20, rng), RUN)


def test_a_loss_that_is_not_finite_is_an_error(npe: NPE, rng: np.random.Generator) -> None:
    pairs = rows(20, True, rng)
    data = Material(
        calibration=Rows(pairs.theta, (1e30 * pairs.x).astype(float), pairs.validation),
        parent=npe,
        simulate=simulate,
    )
    with pytest.raises(TrainingError, match="not finite"):
        Tuned.fit({**SPEC, "learning_rate": 1.0}, SHIFTED, data, RUN)

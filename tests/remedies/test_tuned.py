"""Fine-tuned encoders: they undo a known shift, never get worse on held-back pairs, spare their parent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.remedies.shifted_task import SHIFTED, rows, simulate, simulator
from veridical.errors import ArtifactError, TrainingError
from veridical.estimators.base import Material
from veridical.estimators.npe import NPE
from veridical.estimators.npe_settings import NPESettings
from veridical.remedies import tuned as module
from veridical.remedies.tuned import Tuned, simulations
from veridical.remedies.tuned_settings import TunedSettings
from veridical.tasks.base import Array
from veridical.training import session

RUN = session.Session(11, ("tuned", 0))
SPEC = {"type": "tuned", "of": "npe", "steps": 300, "learning_rate": 3e-3, "looks": 30}


def material(npe: NPE, pairs: int, rng: np.random.Generator) -> Material:
    return Material(calibration=rows(pairs, True, rng), parent=npe, simulate=simulator())


def tune(data: Material, **changes: float) -> tuple[Tuned, session.TrainingResult]:
    return Tuned.fit(TunedSettings(**SPEC | changes), SHIFTED, data, RUN)


def test_tuning_undoes_a_shift(npe: NPE, rng: np.random.Generator) -> None:
    """In one dimension the shift can be undone, so that the tuned posterior of real data is nearly as good as
    the original's of simulations; the original is far off.
    """
    tuned, result = tune(material(npe, 100, rng))
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
    pairs = Material(calibration=rows(20, False, rng), parent=npe, simulate=simulator())
    tuned, result = tune(pairs, learning_rate=1.0, steps=20)
    assert result.best == 0 and not tuned.helped and "original" in tuned.transforms()["encoder"]
    x = rows(10, True, rng).x
    np.testing.assert_array_equal(tuned.summary(x), npe.summary(x))


def test_simulating_in_other_chunks_takes_the_same_number_of_steps(
    npe: NPE, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.setattr(module, "SIMULATED_ROWS", 40)
    _, result = tune(material(npe, 30, rng), steps=7, batch_size=8)
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
    tuning = module._Tuning(settings, npe, data.calibration, simulations(settings, data), RUN)
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

    data = Material(calibration=rows(100, True, rng), parent=npe, simulate=simulator(often_failing))
    tuned, _ = tune(data)
    assert tuned.norms[1] < tuned.norms[0] / 2
    always = simulator(lambda theta, rng: np.full((len(theta), 2), np.nan))
    with pytest.raises(TrainingError, match="simulations at"):
        tune(replace(data, simulate=always))


def test_stored_simulations_of_nearest_parameters_stand_in(npe: NPE, rng: np.random.Generator) -> None:
    stored = rows(5000, False, rng)
    settings = TunedSettings.model_validate({**SPEC, "simulations": 5000})
    nearest = simulations(settings, Material(simulations=stored))
    theta = rng.random((20, 1))
    chosen = np.argmin(np.abs(theta - stored.theta[:, 0]), axis=1)
    x, valid = nearest(theta, rng)
    np.testing.assert_array_equal(x, stored.x[chosen])
    assert valid.all()
    data = Material(simulations=stored, calibration=rows(100, True, rng), parent=npe)
    tuned, _ = tune(data, simulations=5000)
    assert tuned.norms[1] < tuned.norms[0] / 3
    assert settings.fresh_rows == 5000 and TunedSettings(of="npe").fresh_rows == 0


def test_what_cannot_be_tuned_is_refused(npe: NPE, rng: np.random.Generator) -> None:
    good = material(npe, 20, rng)
    with pytest.raises(TrainingError, match="at least 5"):
        tune(material(npe, 4, rng))
    tuned, _ = tune(good, steps=2)
    lacks = {"made elsewhere": {"simulate": None}, "needs calibration": {"calibration": None}}
    for message, changes in {**lacks, "name an npe": {"parent": tuned}}.items():
        with pytest.raises(TrainingError, match=message):
            tune(replace(good, **changes))
    with pytest.raises(ArtifactError, match="beside it"):
        Tuned.from_arrays(TunedSettings(**SPEC), SHIFTED, tuned.arrays())
    spec = {"summary": {"type": "none"}, "training": {"epochs": 1}, "flow": {"transforms": 1, "hidden": [4]}}
    bare, _ = NPE.fit(NPESettings(**spec), SHIFTED, Material(rows(100, False, rng)), RUN)
    with pytest.raises(TrainingError, match="summary: none"):
        tune(material(bare, 20, rng))


def test_a_loss_that_is_not_finite_is_an_error(npe: NPE, rng: np.random.Generator) -> None:
    data, pairs = material(npe, 20, rng), rows(20, True, rng)
    data = replace(data, calibration=replace(pairs, x=(1e30 * pairs.x).astype(float)))
    with pytest.raises(TrainingError, match="not finite"):
        tune(data, learning_rate=1.0)

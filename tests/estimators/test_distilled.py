"""Matched features and a teacher: terms by hand, weights that end at 0, a wrong teacher, refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tests.estimators.test_multilevel import STUDY, UNCOUPLED
from tests.remedies.shifted_task import PRIOR, SHIFTED, coupled, simulate
from veridical import artifacts, seeds
from veridical.errors import SettingError, TrainingError
from veridical.estimators.base import Material
from veridical.estimators.distilled import DistilledNPE
from veridical.estimators.distilled_settings import DistilledSettings
from veridical.estimators.npe import NPE
from veridical.estimators.npe_settings import NPESettings
from veridical.estimators.posterior_network import PosteriorNetwork
from veridical.study import settings
from veridical.study.layout import Layout
from veridical.study.validation import validate
from veridical.training.checkpoints import CheckpointFolder
from veridical.training.distilled import Distilled, Weights, distance
from veridical.training.session import Session, seeded_initialisation

RUN = Session(1, ("d", 0))
FLOW = {"transforms": 1, "hidden": [8], "bins": 4}
ALONE: dict[str, Any] = {"lower": {"low": 100}, "flow": FLOW, "distillation": 0.0}
NOTHING = {**ALONE, "summary": "none", "joint": 0.0, "matching": 0.0}
ENCODER = {"type": "mlp", "hidden": [8], "features": 3}


# ---- weights and terms -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("anneal", "zero"), [(1.0, [200]), (0.75, [150, 151, 199, 200])])
def test_annealed_weights_end_at_exactly_zero(anneal: float, zero: list[int]) -> None:
    weights = Weights(joint=2.0, matching=3.0, distillation=0.5, anneal=anneal)
    assert weights.at(0.0) == (2.0, 3.0, 0.5)
    half = weights.at(anneal / 2)
    np.testing.assert_allclose(half, (1.0, 3.0, 0.25))
    assert [weights.at(step / 200) for step in zero] == [(0.0, 3.0, 0.0)] * len(zero)
    shares = [weights.at(step / 200)[0] for step in range(201)]
    assert (np.diff(shares) <= 0).all() and min(shares) == 0


def test_the_distance_of_features_by_hand() -> None:
    """One feature: 1, 3 beside 0, 2 has variance 5/4 and squares of 1; another one is ten times as large."""
    features = torch.tensor([[1.0, 10.0], [3.0, 30.0]], requires_grad=True)
    fixed = torch.tensor([[0.0, 0.0], [2.0, 20.0]], requires_grad=True)
    found = distance(features, fixed)
    assert found.item() == pytest.approx(1 / 1.25)
    found.backward()
    torch.testing.assert_close(features.grad, torch.tensor([[0.4, 0.04]] * 2))  # 2 (h - l) / v / 4 numbers
    assert fixed.grad is None, "those of the cheap level stay"
    one = torch.tensor([[5.0]])
    assert distance(one, -one).item() == pytest.approx(4) and distance(one, one).item() == 0


def network(summary: Any = ENCODER) -> PosteriorNetwork:
    with seeded_initialisation(RUN):
        return PosteriorNetwork(NPESettings(summary=summary, flow=FLOW, base="none"), (2,), (0,))


def test_a_loss_is_the_sum_of_its_terms_and_judged_rows_have_the_first(rng: np.random.Generator) -> None:
    """In steps 0 and 1 of 5, the last of which has only features left; draws of the teacher take turns."""
    z, x, below, low_z, low_x = (
        rng.normal(size=(n, k)).astype(np.float32) for n, k in ((6, 1), (6, 2), (6, 2), (9, 1), (9, 2))
    )
    draws = rng.normal(size=(6, 2, 1)).astype(np.float32)
    own = network()
    loss = Distilled(own, (low_z, low_x), 4, Weights(2.0, 3.0, 0.5, 1.0), 5, RUN)
    batch = [torch.from_numpy(part) for part in (z, x, below, draws)]
    with torch.no_grad():
        plain = own.loss(*batch[:2])
        features = own.summary(batch[1]), own.summary(batch[2])
        for step, left in enumerate((1.0, 0.75, 0.5, 0.25, 0.0)):
            rows = loss.rows(step)
            terms = [plain, 2 * left * own.loss(loss.lower_theta[rows], loss.lower_x[rows])]
            terms += [3 * distance(*features), 0.5 * left * own.loss(batch[3][:, step % 2], batch[1])]
            torch.testing.assert_close(loss.loss(*batch), sum(terms))
        torch.testing.assert_close(loss.eval().loss(*batch[:2]), plain)
        assert int(loss.done) == 5, "looks are no steps"
    assert all(name.startswith("posterior.") or name == "done" for name in loss.state_dict())
    seen = torch.cat([loss.rows(step) for step in range(20)])
    assert set(seen.tolist()) == set(range(9))


def test_without_weights_it_is_npe_on_the_dear_rows(rng: np.random.Generator) -> None:
    """With as many rows as make both take their transforms from these, to the bit."""
    levels = coupled(1200, rng, "low")
    training = {"max_steps": 8, "batch_size": 100, "rounds": 4, "weight_decay": 0.7}
    given = DistilledSettings(**NOTHING, training=training)
    found, course = DistilledNPE.fit(given, SHIFTED, Material(levels=levels), RUN)
    plain = NPESettings(summary="none", flow=FLOW, base="none", training=given.training.model_dump())
    other, wanted = NPE.fit(plain, SHIFTED, Material(levels[-1], prior=PRIOR), RUN)
    assert found.arrays().keys() == other.arrays().keys()
    for name, array in other.arrays().items():
        np.testing.assert_array_equal(found.arrays()[name], array, err_msg=name)
    assert course.rounds == wanted.rounds
    joint, _ = DistilledNPE.fit(
        given.model_copy(update={"joint": 1.0}), SHIFTED, Material(levels=levels), RUN
    )
    assert any(not np.array_equal(joint.arrays()[name], array) for name, array in found.arrays().items())


# ---- what remains of a teacher ---------------------------------------------------------------------------


class Wrong:
    """A teacher that says 0.9 whatever it is asked."""

    def sample(self, x: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
        return np.clip(0.9 + 0.02 * rng.normal(size=(n, len(x), 1)), 0.01, 0.99)


def test_a_wrong_teacher_does_not_remain(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Means at theta = 0.3 and 0.5. Fault: weights that are not annealed, whose answers are pulled to 0.9.

    A mean has an error of 0.045, the posterior's sd, and of what few steps leave.
    """
    x = np.array([[0.3, 0.6], [0.5, 1.0]], np.float32)
    levels, material = coupled(400, rng, "low"), Material(parent=Wrong())  # type: ignore[arg-type]
    training = {"epochs": 100, "max_steps": 400, "schedule": "constant", "weight_decay": 0.0}
    training |= {"learning_rate": 0.01}
    given = DistilledSettings(
        **{
            **NOTHING,
            "distillation": 2.0,
            "anneal": 0.5,
            "flow": {"type": "mixture", "components": 1, "hidden": [8]},
        },
        of="teacher",
        training=training,
    )

    def off() -> float:
        found, course = DistilledNPE.fit(given, SHIFTED, replace(material, levels=levels), RUN)
        assert course.steps == 400, "patience waits for the end"
        draws = found.sample(x, 400, seeds.generator(1, "test", "draws"))
        return float(np.abs(draws.mean(axis=0)[:, 0] - [0.3, 0.5]).max())

    assert off() < 0.08
    monkeypatch.setattr(Weights, "at", lambda self, share: (self.joint, self.matching, self.distillation))
    assert off() > 0.15


def test_it_is_saved_without_its_teacher(tmp_path: Path, rng: np.random.Generator) -> None:
    given = DistilledSettings(**{**NOTHING, "distillation": 0.5}, of="low", training={"max_steps": 2})
    material = Material(levels=coupled(100, rng, "low"), parent=Wrong())  # type: ignore[arg-type]
    found, course = DistilledNPE.fit(given, SHIFTED, material, RUN)
    artifacts.save_estimator(found, tmp_path / "d", course)
    loaded = artifacts.load_estimator(tmp_path / "d")
    assert loaded.settings == given and loaded.parent is None
    assert all(np.array_equal(loaded.arrays()[name], array) for name, array in found.arrays().items())


def test_matched_features_come_nearer(rng: np.random.Generator) -> None:
    """On pairs of rows that nothing has learned from; the cheap level is shifted by half of its spread."""
    base, top = coupled(200, rng, "low")
    shift = np.array([0.15, -0.3], np.float32)
    levels = [replace(base, x=top.x + shift), replace(top, below=top.x + shift)]
    theta = np.linspace(0.1, 0.9, 50)[:, None]
    x = simulate(theta, rng)
    apart = []
    for matching in (0.0, 1.0):
        given = DistilledSettings(
            **{**ALONE, "matching": matching, "summary": ENCODER},
            training={"max_steps": 300, "batch_size": 32},
            lower_batch=32,
        )
        found, _ = DistilledNPE.fit(given, SHIFTED, Material(levels=levels), RUN)
        h, low = (torch.from_numpy(found.summary(each)) for each in (x, x + shift))
        apart.append(float(distance(h, low)))
    assert apart[1] < 0.5 * apart[0]


def test_an_interrupted_training_ends_with_the_same_bits(tmp_path: Path) -> None:
    """Its count of steps, by which weights are annealed, is kept with the running state."""
    given = DistilledSettings(**ALONE, summary=ENCODER, training={"max_steps": 6, "rounds": 3})
    material = Material(levels=coupled(100, seeds.generator(4, "test"), "low"))
    whole, _ = DistilledNPE.fit(given, SHIFTED, material, RUN)
    with CheckpointFolder(tmp_path / "running") as folder:
        with pytest.raises(TrainingError, match="run again to go on"):
            DistilledNPE.fit(given, SHIFTED, material, replace(RUN, folder=folder, deadline=1.0))
        again, result = DistilledNPE.fit(given, SHIFTED, material, replace(RUN, folder=folder))
    assert result.resumed_from
    assert all(np.array_equal(again.arrays()[name], array) for name, array in whole.arrays().items())


# ---- refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"summary": "none"}, "matching: without a summary network features are x itself"),
        ({"distillation": 0.5}, "of: `distillation` needs a teacher"),
        ({"of": "low"}, "of: nothing of 'low' is distilled"),
        ({"lower": {"low": 100, "middle": 50}}, "lower: expected one cheaper level, got low, middle"),
        ({"flow": "flow_matching"}, "flow: its loss is made of log densities"),
        ({"training": {"augment": 0.1}}, "augment: not for a method of type 'distilled_npe'"),
        ({"training": {"captured": True}}, "captured: not for a method of type 'distilled_npe'"),
    ],
)
def test_settings_that_do_not_suit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DistilledSettings(**{**ALONE, **changes})


def test_a_teacher_that_is_missing_stops_it(rng: np.random.Generator) -> None:
    given = DistilledSettings(**{**ALONE, "distillation": 0.5}, of="low")
    with pytest.raises(TrainingError, match="'distilled_npe' needs parent"):
        DistilledNPE.fit(given, SHIFTED, Material(levels=coupled(100, rng, "low")), RUN)


DISTILLED = {"type": "distilled_npe", "of": "low", "lower": {"lf": 1000}}
LOW = {"type": "npe", "fidelity": "lf", "budgets": [800]}


def layout(**changes: Any) -> Layout:
    return Layout(settings.parse({**STUDY, "estimators": {"low": LOW, "d": DISTILLED}, **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"estimators": {"low": {"type": "npe"}, "d": DISTILLED}},
            "d.of: its teacher answers for 'lf', but 'low' has",
        ),
        ({"task": UNCOUPLED}, "expects levels that share their random numbers"),
    ],
)
def test_teachers_and_levels_that_do_not_fit_stop_a_study(changes: dict[str, Any], message: str) -> None:
    if "task" in changes:
        changes = {**changes, "estimators": {"d": {**DISTILLED, "of": None, "distillation": 0.0}}}
    with pytest.raises(SettingError, match=message):
        validate(layout(**changes))


def test_rows_that_teacher_and_method_share_count_once() -> None:
    found = layout()
    validate(found)
    run = next(run for run in found.runs if run.method == "d")
    assert found.parent_run(run).method == "low"  # type: ignore[union-attr]
    assert found.ledger(run) == {"lf": 1000, "hf": 100}
    assert found.ancestors(run) == [], "answers need no teacher"

"""ML-NPE: what it learns from and is judged on, what it refuses, and its way through the stages."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tests.remedies import shifted_task
from tests.remedies.shifted_task import SHIFTED, coupled
from veridical import artifacts, bank, seeds, tasks
from veridical.bank.filling import ShardRows
from veridical.coordinates import Run
from veridical.errors import SettingError, TrainingError
from veridical.estimators.base import CoupledRows, Material
from veridical.estimators.levelled import Levels, input_transform
from veridical.estimators.multilevel import MultilevelNPE
from veridical.estimators.multilevel_settings import MultilevelSettings
from veridical.networks.transforms import InputTransform, ParameterTransform
from veridical.saved import posteriors
from veridical.saved.observations import Observations
from veridical.stages.infer import infer
from veridical.stages.levels import coupled as coupled_rows
from veridical.stages.simulate import simulate_shard
from veridical.stages.train import Sources, train
from veridical.study import settings
from veridical.study.layout import Layout
from veridical.study.validation import validate
from veridical.tasks.base import Array
from veridical.training.checkpoints import CheckpointFolder
from veridical.training.session import Session

SMALL: dict[str, Any] = {
    "type": "ml_npe",
    "lower": {"lf": 60},
    "summary": {"type": "none"},
    "flow": {"transforms": 1, "hidden": [8], "bins": 4},
    "training": {"max_steps": 6, "rounds": 2},
}
UNCOUPLED = {"name": "shifted", "file": shifted_task.__file__, "class": "ShiftedTask"}
STUDY: dict[str, Any] = {
    "study": "s",
    "seed": 1,
    "task": "ornstein_uhlenbeck",
    "estimators": {"ml": {**SMALL, "lower": {"lf": 1000}}},
    "budgets": [100, 200],
}


def layout(**changes: Any) -> Layout:
    return Layout(settings.parse(settings.merge(STUDY, changes)))


# ---- what it learns from ---------------------------------------------------------------------------------


def test_one_transform_serves_all_levels(rng: np.random.Generator) -> None:
    """That of an equal mixture of the outer levels where the dearest has few rows; else of that alone."""
    given = MultilevelSettings(**SMALL)
    for n, few in ((100, True), (400, False)):
        levels = coupled(n, rng, "low", "middle")
        learn = ~levels[0].validation
        dearest, cheapest = levels[-1].x[learn], levels[0].x[learn]
        wanted = InputTransform.fit(np.concatenate([dearest, cheapest]) if few else dearest, "none")
        found = input_transform(
            given.model_copy(update={"inputs": NONE}), [rows.at(~rows.validation) for rows in levels], False
        )
        np.testing.assert_allclose(found.mean, wanted.mean, rtol=1e-6)
        np.testing.assert_allclose(found.scale, wanted.scale, rtol=1e-6)


NONE = MultilevelSettings(**SMALL, inputs={"transform": "none"}).inputs


@pytest.mark.parametrize("validation", ["dearest", "telescoped"])
def test_looks_judge_rows_held_out(rng: np.random.Generator, validation: str) -> None:
    """The weighted mean of f(x) is that of the dearest level, or the telescoping sum of means."""
    base, *pairs = coupled(200, rng, "low", "middle")
    sizes = zip(pairs, (100, 50), strict=True)
    pairs = [each.at(slice(m)) for each, m in sizes]
    levels = [base, *pairs]
    inputs = input_transform(MultilevelSettings(**SMALL), levels, False)
    parameters = ParameterTransform.fit(base.theta, SHIFTED.bounds)
    all_levels = Levels(levels, inputs, parameters)
    (z, x, weight), slope = all_levels.held_out(validation, 10_000)
    assert len(z) == len(x) == len(weight) == (5 if validation == "dearest" else 20 + 2 * 10 + 2 * 5)
    means = [inputs(each.x[each.validation]).mean() for each in levels]
    below = [inputs(each.below[each.validation]).mean() for each in pairs]
    whole = means[0] + sum(a - b for a, b in zip(means[1:], below, strict=True))
    found = (weight * x.mean(axis=1)).mean()
    assert found == pytest.approx(means[-1] if validation == "dearest" else whole, abs=1e-5)
    judged = levels[-1 if validation == "dearest" else 0]
    assert slope == pytest.approx(parameters.forward(judged.theta[judged.validation])[1].mean())
    few = all_levels.held_out(validation, 15)[0]
    assert len(few[0]) == (5 if validation == "dearest" else 5 * 3)


def test_an_interrupted_training_ends_with_the_same_bits(tmp_path: Path) -> None:
    """It stops at the first end of a round, for its time is over, and goes on from there."""
    given, run = MultilevelSettings(**SMALL), Session(1, ("ml", 0))
    material = Material(levels=coupled(100, seeds.generator(4, "test"), "low"))
    whole, _ = MultilevelNPE.fit(given, SHIFTED, material, run)
    with CheckpointFolder(tmp_path / "running") as folder:
        with pytest.raises(TrainingError, match="run again to go on"):
            MultilevelNPE.fit(given, SHIFTED, material, replace(run, folder=folder, deadline=1.0))
        again, result = MultilevelNPE.fit(given, SHIFTED, material, replace(run, folder=folder))
    assert result.resumed_from
    assert all(np.array_equal(again.arrays()[name], array) for name, array in whole.arrays().items())


def test_a_level_that_is_missing_stops_it(rng: np.random.Generator) -> None:
    given, levels = MultilevelSettings(**SMALL), coupled(100, rng, "low")
    for wrong in (levels[:1], (*levels, levels[-1]), (levels[1], levels[0])):
        with pytest.raises(TrainingError, match=r"expected simulations of 2 levels.*got \["):
            MultilevelNPE.fit(given, SHIFTED, Material(levels=wrong), Session(1, ("ml", 0)))
    few = [rows.at(slice(8)) for rows in levels]
    with pytest.raises(TrainingError, match="at least 10 valid training rows"):
        MultilevelNPE.fit(given, SHIFTED, Material(levels=few), Session(1, ("ml", 0)))


# ---- refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flow": {"type": "flow_matching"}}, "flow: its loss is made of log densities"),
        ({"lower": {}}, "at least 1 item"),
        ({"training": {"augment": 0.1}}, "augment: not for a method of type 'ml_npe'"),
        ({"training": {"streaming": 100}}, "streaming: not for a method of type 'ml_npe'"),
        ({"training": {"captured": True}}, "captured: not for a method of type 'ml_npe'"),
    ],
)
def test_settings_that_do_not_suit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MultilevelSettings(**{**SMALL, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": UNCOUPLED}, "expect.* levels that share their random numbers.*no `noise`.*`start`"),
        ({"estimators": {"ml": {"lower": {"hf": 1000}}}}, "cheaper than 'hf', got 'hf'"),
        ({"estimators": {"ml": {"lower": {"real": 1000}}}}, "cheaper than 'hf', got 'real'"),
        ({"estimators": {"ml": {"fidelity": "lf"}}}, "cheaper than 'lf', got 'lf'.*There are none"),
        ({"budgets": [100, 2000]}, "2000 of 'hf' and 1000 of 'lf'; raise the latter to 2000 or more"),
    ],
)
def test_levels_that_do_not_fit_stop_a_study(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        validate(layout(**changes))


# ---- stages ----------------------------------------------------------------------------------------------


def test_a_study_names_the_rows_of_each_level_and_counts_their_cost() -> None:
    found = layout()
    validate(found)
    run = found.runs[0]
    assert found.parts(run) == [("lf", "train-r0", 1000), ("hf", "train-r0", 100)]
    assert found.source_rows(run) == {"level_lf": 1000, "simulations": 100}
    assert {role: {Path(p).parts[-3] for p in paths} for role, paths in found.source_shards(run).items()} == {
        "level_lf": {"lf"},
        "simulations": {"hf"},
    }
    assert found.ledger(run) == {"lf": 1000, "hf": 100}
    assert found.ledgers()[run.folder]["nominal"] == 1000 * 1 + 100 * 100


def test_through_the_stages(tmp_path: Path, rng: np.random.Generator) -> None:
    """Shards of both levels hold coupled rows; training learns from them, and answers are drawn."""
    spec = {"name": "ornstein_uhlenbeck"}
    task, paths = tasks.build(spec), {}
    for level in ("lf", "hf"):
        rows = ShardRows(root=1, fidelity=level, split="train", first=0, last=task.block_rows - 1)
        paths[level] = tmp_path / level / bank.shard_name(rows.first, rows.last)
        simulate_shard(spec, paths[level], rows, key="k")
    inputs = {"level_lf": str(paths["lf"]), "simulations": str(paths["hf"])}
    sources = Sources.of(inputs, {"level_lf": 60, "simulations": 40}, "hf", 0.2)
    for out in ("first", "again"):
        train(
            spec, SMALL, sources, tmp_path / out, Run("ml", 40, 0), root=1, checkpoints=tmp_path / "running"
        )
    first, again = (artifacts.load_estimator(tmp_path / out) for out in ("first", "again"))
    assert all(np.array_equal(again.arrays()[name], array) for name, array in first.arrays().items())
    cost = json.loads((tmp_path / "first" / "cost.json").read_text())
    assert cost["n"] == cost["n_valid"] == 100
    theta = task.prior.sample(rng, 3)
    data = Observations(task.simulate(theta, task.noise(rng, 3), "hf"), theta, "simulated", "simulated")
    infer(tmp_path / "first", data, tmp_path / "draws.nc", draws=20, root=1, replicate=0)
    draws = posteriors.load(tmp_path / "draws.nc")
    assert draws.draws.shape == (20, 3, 2) and np.isfinite(draws.log_density_truth).all()


def test_pairs_are_valid_at_both_levels_and_rows_that_are_not_coupled_stop_it(tmp_path: Path) -> None:
    """Row 2 has failed at the cheaper level, row 4 at the dearer one. Fault: parameters in another order."""
    theta = np.arange(10.0)[:, None]
    low = shard(tmp_path / "low", theta, failed=2)
    (base, pairs), valid = coupled_rows([(low, 10), (shard(tmp_path / "high", theta[:8] + 0, failed=4), 8)])
    assert isinstance(pairs, CoupledRows) and valid == 9 + 7
    np.testing.assert_array_equal(base.theta[:, 0], [0, 1, 3, 4, 5, 6, 7, 8, 9])
    np.testing.assert_array_equal(base.validation, base.theta[:, 0] == 9)
    np.testing.assert_array_equal(pairs.theta[:, 0], [0, 1, 3, 5, 6, 7])
    np.testing.assert_array_equal(pairs.x, pairs.below)
    with pytest.raises(TrainingError, match="8 rows of a level have other parameters"):
        coupled_rows([(low, 10), (shard(tmp_path / "other", theta[:8][::-1], failed=4), 8)])


def shard(folder: Path, theta: Array, failed: int) -> list[str | Path]:
    """A shard in which x is theta, and one row has failed."""
    n, status = len(theta), np.zeros(len(theta), np.uint8)
    status[failed] = bank.STATUS["raised"]
    path = folder / bank.shard_name(0, n - 1)
    path.parent.mkdir()
    dims = {"theta": ("row", "parameter"), "x": ("row", "feature"), "status": ("row",)}
    arrays = {"theta": theta, "x": np.where(status[:, None] > 0, np.nan, theta), "status": status}
    bank.write(path, arrays, {"first": 0, "last": n - 1}, dims)
    return [path]

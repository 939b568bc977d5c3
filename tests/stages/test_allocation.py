"""Rule `allocation`: a plan from a pilot of coupled rows, and what is refused before any job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from veridical import artifacts, bank, seeds, tasks
from veridical.bank.filling import ShardRows
from veridical.coordinates import Run
from veridical.errors import SettingError
from veridical.progress.jobs import jobs
from veridical.stages.allocation import plan
from veridical.stages.simulate import simulate_shard
from veridical.stages.train import Sources, train
from veridical.study import settings
from veridical.study.layout import Layout
from veridical.study.validation import validate
from veridical.training.row_gradients import row_gradients

OU = {"name": "ornstein_uhlenbeck", "settings": {"parameters": 2}}
STUDY: dict[str, Any] = {
    "study": "s",
    "seed": 1,
    "task": OU,
    "estimators": {
        "low": {
            "type": "npe",
            "fidelity": "lf",
            "summary": {"type": "none"},
            "base": "none",
            "flow": {"transforms": 1, "bins": 4, "hidden": [8]},
            "training": {"epochs": 1},
        }
    },
    "budgets": [200],
    "allocation": {"method": "low", "total": 20_000, "pairs": 40},
}


def layout(**changes: Any) -> Layout:
    return Layout(settings.parse(settings.merge(STUDY, changes)))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[Path]]]:
    """A network trained on 200 cheap rows, and the shards of both levels."""
    folder = tmp_path_factory.mktemp("allocation")
    shards: dict[str, list[Path]] = {}
    last = tasks.build(OU).block_rows - 1
    for level in ("lf", "hf"):
        path = folder / level / bank.shard_name(0, last)
        simulate_shard(
            OU, path, ShardRows(root=1, fidelity=level, split="train", first=0, last=last), key="k"
        )
        shards[level] = [path]
    spec = layout().spec("low")
    train(
        OU,
        spec,
        Sources((shards["lf"], 200), fidelity="lf"),
        folder / "low",
        Run("low", 200, 0),
        root=1,
        checkpoints=folder / "checkpoints",
    )
    return folder, shards


def planned(made: tuple[Path, dict[str, list[Path]]], **changes: Any) -> dict[str, Any]:
    folder, shards = made
    about = {**layout().study.allocation.model_dump(), **changes}  # type: ignore[union-attr]
    plan(OU, folder / "low", shards, folder / "allocation.json", settings=about, root=1)
    return dict(json.loads((folder / "allocation.json").read_text()))


def test_a_plan_spends_what_it_may_and_says_whether_it_is_worth_it(
    made: tuple[Path, dict[str, list[Path]]],
) -> None:
    found = planned(made)
    assert (found["levels"], found["costs"], found["pairs"]) == (["lf", "hf"], [1.0, 100.0], 40)
    assert 0 <= found["total"] - np.dot(found["rows"], found["costs"]) < 100
    assert (found["worth"] == "yes") == (found["warning"] == "")
    low, high = found["interval"]
    assert low < found["gain"] < high
    assert planned(made) == found


def test_gradients_of_rows_add_up_to_that_of_their_mean(made: tuple[Path, dict[str, list[Path]]]) -> None:
    network = artifacts.load_estimator(made[0] / "low").network  # type: ignore[attr-defined]
    rng = seeds.generator(1, "test", "row_gradients")
    rows = [rng.standard_normal(shape).astype(np.float32) for shape in ((6, 2), (6, 10))]
    each = row_gradients(network, *rows)
    network.requires_grad_(True)
    parts = torch.autograd.grad(network.loss(*map(torch.from_numpy, rows)), network.trained())
    mean = torch.cat([part.flatten() for part in parts]).numpy()
    np.testing.assert_allclose(each.mean(axis=0), mean, rtol=1e-3, atol=1e-5)


def test_the_pilot_is_simulated_at_all_levels() -> None:
    found = layout()
    assert found.used_rows["hf/train-r0"] == 40
    assert found.used_rows["lf/train-r0"] == 200
    assert set(found.pilot_inputs()) == {"level_lf", "level_hf", "record", "weights"}
    measured = layout(allocation={"costs": "measured"}).pilot_inputs()
    assert [Path(path).parent.name for path in measured["probes"]] == ["lf", "hf"]
    assert layout(allocation=None).allocations() == []
    made = [job for job in jobs(found) if job.rule == "allocation"]
    assert [(job.log, job.outputs) for job in made] == [
        ("results/s/logs/allocation.log", ("results/s/allocation.json",))
    ]


CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"allocation": {"method": "lwo"}}, "Did you mean 'low'"),
    ({"task": "gaussian_mean", "estimators": {"low": {"fidelity": None}}}, "two levels or more"),
    ({"estimators": {"low": {"flow": {"type": "flow_matching"}}}}, "add an `npe` with a spline"),
]


@pytest.mark.parametrize(("changes", "says"), CHANGES)
def test_what_cannot_be_planned_is_refused_before_any_job(changes: dict[str, Any], says: str) -> None:
    raw: dict[str, Any] = {**STUDY, "task": changes.get("task", OU)}
    raw["allocation"] = {**STUDY["allocation"], **changes.get("allocation", {})}
    raw["estimators"] = {
        "low": {**STUDY["estimators"]["low"], **changes.get("estimators", {}).get("low", {})}
    }
    with pytest.raises(SettingError, match=says):
        validate(Layout(settings.parse(raw)))

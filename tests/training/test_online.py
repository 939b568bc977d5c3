"""Training while simulating: the rows of a larger bank, each once, the same after a kill; refusals."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tests.training.killed import whole_and_parts
from veridical import artifacts, bank, methods, seeds
from veridical.bank.filling import ShardRows
from veridical.bank.online import Online
from veridical.coordinates import Run
from veridical.errors import SettingError, SimulationError
from veridical.stages.simulate import simulate_shard
from veridical.stages.train import Sources
from veridical.study import settings, validation
from veridical.study.layout import Layout
from veridical.tasks.gaussian_linear import GaussianLinear

SPEC = {"name": "gaussian_linear", "settings": {"dimension": 2}}
TRAINING = {"epochs": 3, "batch_size": 64, "rounds": 5, "accelerator": "cpu", "streaming": "online"}
NPE: dict[str, Any] = {
    "type": "npe",
    "summary": {"type": "none"},
    "flow": {"transforms": 1, "hidden": [16]},
    "training": TRAINING,
}


class Small(GaussianLinear):
    """Blocks of 100 rows; some of them fail."""

    block_rows = 100
    failing = 0.0

    def simulate(self, theta: Any, noise: Any, fidelity: str) -> Any:
        x = super().simulate(theta, noise, fidelity)
        x[np.abs(theta[:, 0]) < 0.03 * self.failing] = np.nan
        return x


@pytest.fixture(scope="module")
def task() -> Small:
    return Small(dimension=2)


def write(task: Small, folder: Path, rows: int) -> list[Path]:
    paths = [folder / bank.shard_name(first, first + 499) for first in range(0, rows, 500)]
    for path in paths:
        first = int(path.name.split("-")[1])
        place = ShardRows(root=1, fidelity="model", split="train", replicate=2, first=first, last=first + 499)
        simulate_shard(task, path, place, key="k", max_invalid=0.9)
    return paths


@pytest.fixture(scope="module")
def shards(task: Small, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write(task, tmp_path_factory.mktemp("bank"), 3000)


def rows_of(online: Online, turn: int, size: int = 64, batches: int | None = None) -> np.ndarray:
    """The numbers of the rows of a pass."""
    rng = seeds.generator(1, "test", "online")
    per_pass = online.counts[0] // size if batches is None else batches
    passing = online.training_batches(size, rng, 1, turn)
    return np.concatenate([next(passing)["row"] for _ in range(per_pass)])


def test_passes_have_the_rows_that_a_larger_bank_holds_each_once(task: Small, shards: list[Path]) -> None:
    online = Online(shards[:2], 1000, task, 1, "model", 2)
    first, second, third = (rows_of(online, turn, 50) for turn in range(3))
    learned = np.flatnonzero(~bank.validation_mask(1000))
    assert sorted(first) == learned.tolist()  # no row fails here
    np.testing.assert_array_equal(second, np.arange(1000, 1000 + len(learned)))
    np.testing.assert_array_equal(third, np.arange(3000, 3000 + len(learned)))
    held = bank.load(shards, 3000)
    batch = next(online.training_batches(50, seeds.generator(1, "test"), 1, 1))
    for name in ("theta", "x"):
        np.testing.assert_array_equal(batch[name], held[name][1000:1050])


def test_failed_rows_are_left_out_and_too_many_of_them_stop_the_training(tmp_path: Path) -> None:
    task = Small(dimension=2)
    task.failing = 1.0
    shards = write(task, tmp_path, 500)
    online = Online(shards, 500, task, 1, "model", 2)
    valid = bank.valid(bank.load(shards, 500))
    assert 0 < (~valid).sum() < 250 and len(online) == valid.sum()
    taken = next(online.training_batches(400, seeds.generator(1, "test"), 1, 1))
    assert np.isfinite(taken["x"]).all() and len(taken["row"]) == 400
    task.failing = 100.0
    with pytest.raises(SimulationError, match="see why so many simulations fail"):
        rows_of(online, 2)


@pytest.mark.parametrize("members", [None, 2])
def test_a_killed_online_training_has_the_bits_of_an_undisturbed_one(
    shards: list[Path], members: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounds that end in the middle of passes, each in a job of its own; it learns what is to be learned."""
    method = {"type": "ensemble", "members": members, "member": NPE} if members else NPE
    sources, run = Sources((shards, 3000), fidelity="model"), Run("npe", 3000, 2)
    whole, parts = whole_and_parts(SPEC, method, sources, run, tmp_path, monkeypatch)
    assert (whole / "weights.safetensors").read_bytes() == (parts / "weights.safetensors").read_bytes()
    cost = json.loads((parts / "cost.json").read_text())
    assert (cost["n"], cost["n_valid"]) == (3000, 3000)
    x = np.array([[1.0, -1.0]], np.float32)
    mean = artifacts.load_estimator(whole).sample(x, 4000, seeds.generator(1, "test")).mean(0)
    np.testing.assert_allclose(mean, x / 2, atol=0.15)  # the exact mean, to three errors of 2,700 rows


def test_members_share_what_is_simulated(
    task: Small, shards: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    online, made = Online(shards[:2], 1000, task, 1, "model", 2), []
    simulate = Small.simulate
    monkeypatch.setattr(Small, "simulate", lambda *given: made.append(1) or simulate(*given))
    rng = seeds.generator(1, "test")
    readers = [online.training_batches(50, rng, 2, 1) for _ in range(2)]
    for _ in range(10):
        one, two = (next(reader) for reader in readers)
        np.testing.assert_array_equal(one["x"], two["x"])
    assert len(made) == 5


@pytest.mark.parametrize("kind", ["nle", "nre", "score"])
def test_who_needs_all_rows_at_once_refuses_it(kind: str) -> None:
    with pytest.raises(ValidationError, match=f"not for a method of type '{kind}', for it needs all rows"):
        methods.typed(kind, {"type": kind, "training": {"streaming": "online"}})


def test_simulations_of_a_file_refuse_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = seeds.generator(1, "test", "file")
    theta = rng.normal(size=(2000, 1))
    np.savez("made.npz", theta=theta, x=theta + rng.normal(size=(2000, 3)))
    study = {
        "study": "mine",
        "seed": 1,
        "task": {"simulations": "made.npz", "parameters": {"a": {"prior": "normal", "mean": 0, "sd": 1}}},
        "simulation": {"shard_rows": 1000},
        "budgets": [1000],
        "replicates": 1,
        "estimators": {"npe": NPE},
    }
    with pytest.raises(SettingError, match="`online` simulates while it trains"):
        validation.validate(Layout(settings.parse(study)))
    study["estimators"] = {"npe": {**NPE, "training": {**TRAINING, "streaming": None}}}
    validation.validate(Layout(settings.parse(study)))


def test_what_it_simulates_counts_among_its_costs() -> None:
    """Three passes over 1,000 rows, of which the first are stored; members share the others."""
    study = {
        "study": "s",
        "seed": 1,
        "task": SPEC,
        "budgets": [1000],
        "replicates": 1,
        "estimators": {"one": NPE, "two": {"type": "ensemble", "members": 2, "member": NPE}},
    }
    layout = Layout(settings.parse(study))
    assert [layout.ledger(run) for run in layout.runs] == 2 * [{"model": 3000}]
    assert layout.used_rows["model/train-r0"] == 1000


def test_rounds_in_the_middle_of_a_pass_go_on_where_they_were(task: Small, shards: list[Path]) -> None:
    online = Online(shards[:2], 1000, task, 1, "model", 2)
    whole = rows_of(online, 1, 50, 15)
    for first, last in pairwise([0, 4, 15]):
        again = rows_of(online, 1, 50, last)[first * 50 :]
        np.testing.assert_array_equal(whole[first * 50 : last * 50], again)

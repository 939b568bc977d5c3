"""`benchmarks/damage.py` on some kinds of files: no damage is used, each refusal names the file."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from veridical import bank, checks, files
from veridical.digests import file_digest
from veridical.evidence import intact, metrics
from veridical.report import verdict
from veridical.saved import estimates, experiments, posteriors
from veridical.saved.estimates import Estimate
from veridical.saved.posteriors import Draws
from veridical.training.checkpoints import CheckpointFolder

ROOT = Path(__file__).parents[2]


@pytest.fixture
def damage(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("damage")


def shard(path: Path) -> None:
    arrays = {"x": np.arange(40.0).reshape(20, 2)}
    bank.write(path, arrays, {"first": 0, "last": 19}, {"x": ("row", "feature")})


def batch(path: Path) -> None:
    experiments.write(path, {"rank": np.full((6, 2), 0.25), "log_q": np.zeros(6), "truth": np.ones((6, 2))})


def draws(path: Path) -> None:
    inside = np.linspace(0.1, 0.9, 24).reshape(4, 3, 2)
    posteriors.save(path, Draws(("a", "b"), np.array([[0.0, 1.0]] * 2), ("", "m"), inside))


def estimate(path: Path) -> None:
    estimates.save(path, Estimate(*np.full((4, 3), 0.25)))


def check(path: Path) -> None:
    files.write_json(path, {"check": "sbc", "format": 1, "parameters": ["a"], "p_value": 0.31})


def table(path: Path) -> None:
    metrics.write(path, [metrics.row(study="s", metric="lpp", value=0.123456789)])
    verdict.write(path.with_name("verdict.json"), {metrics.DIGEST: file_digest(path)})


def state(path: Path) -> None:
    with CheckpointFolder(path.parent) as folder:
        folder.save(lambda draft: draft.write_bytes(np.arange(50.0).tobytes()))


KINDS: dict[str, tuple[Callable[[Path], None], Callable[[Path], Any]]] = {
    "rows-000000000-000000019.zarr.zip": (shard, lambda path: bank.load([path])),
    "batch-0000.zarr.zip": (batch, experiments.read),
    "field.nc": (draws, posteriors.load),
    "field.json": (estimate, estimates.load),
    "sbc.json": (check, checks.load),
    "metrics.csv": (table, metrics.read),
}


@pytest.mark.parametrize("name", KINDS)
def test_no_damage_is_used_and_each_refusal_names_the_file(
    name: str, damage: ModuleType, tmp_path: Path
) -> None:
    write, load = KINDS[name]
    write(tmp_path / name)
    kinds = set()
    for read in (load, intact.check):
        assert damage.outcome(read, tmp_path / name) == (damage.USED, "")
        whole = (tmp_path / name).read_bytes()
        for kind, content in damage.damages(tmp_path / name, repeats=20):
            (tmp_path / name).write_bytes(content)
            made, said = damage.outcome(read, tmp_path / name)
            assert made == damage.REFUSED, (kind, said)
            kinds.add(kind)
        (tmp_path / name).write_bytes(whole)
    assert {"empty", "cut in half", "three bits"} <= kinds


def test_a_damaged_state_is_set_aside_and_said_so(
    damage: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "state.ckpt"
    state(path)
    for _, content in damage.damages(path, repeats=20):
        path.write_bytes(content)
        with CheckpointFolder(tmp_path) as folder:
            assert folder.saved() is None
        assert "state.ckpt: damaged; set aside as state.damaged" in capsys.readouterr().out
        assert (tmp_path / "state.damaged").read_bytes() == content and not path.exists()
    state(path)
    with CheckpointFolder(tmp_path) as folder:
        assert folder.saved() == path

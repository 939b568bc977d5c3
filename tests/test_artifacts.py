"""Saved estimators: the same draws after loading, and nothing that was changed is loaded."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import veridical
from veridical import artifacts, digests
from veridical.errors import ArtifactError, TrainingError
from veridical.estimators.base import TaskInfo
from veridical.estimators.npe import NPE
from veridical.estimators.npe_settings import NPESettings
from veridical.estimators.summary_cloud import SummaryCloud
from veridical.files import read_json
from veridical.networks.transforms import InputTransform, ParameterTransform
from veridical.training import session

TASK = TaskInfo("t", ("a", "b"), np.array([(0, np.inf), (-np.inf, np.inf)]), ("m", ""), (3, 2), "kg")
X = np.linspace(-1, 1, 18, dtype=np.float32).reshape(3, 3, 2)
RESULT = session.TrainingResult(
    rounds=[{"step": 5, "epoch": 0.5, "train_loss": 1.0, "validation_loss": 2.0, "learning_rate": 0.01}],
    best=0,
    steps=5,
    stopped_early=False,
    resumed_from=[3],
    seconds=1.5,
    cpu_seconds=1.25,
    device="cpu",
)


def untrained(summary: str = "mlp") -> NPE:
    """A posterior with random weights and statistics that are not round numbers."""
    rng = np.random.Generator(np.random.PCG64(2))
    spec = {
        "summary": {"type": summary},
        "flow": {"transforms": 1, "hidden": [8]},
        "inputs": {"transform": "asinh"},
    }
    settings = NPESettings.model_validate(spec)
    with session.seeded_initialisation(session.Session(1, ("npe", 0))):
        network = NPE.build(settings, TASK)
    inputs = InputTransform.fit(rng.normal(1 / 3, 0.7, size=(50, 3, 2)), "asinh")
    parameters = ParameterTransform.fit(np.exp(rng.normal(size=(50, 2))), TASK.bounds)
    estimator = NPE(settings, TASK, inputs, parameters, network)
    estimator.cloud = SummaryCloud.of(estimator.summary(rng.normal(size=(50, 3, 2))))
    return estimator


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    about = {"method": "npe", "digests": {"bank": "abc"}}
    artifacts.save_estimator(untrained(), tmp_path, RESULT, record=about, cost={"n": 10, "n_valid": 9})
    return tmp_path


@pytest.mark.parametrize("summary", ["mlp", "gru", "none"])
def test_seeded_draws_are_the_same_bits_after_loading(summary: str, tmp_path: Path) -> None:
    saved = untrained(summary)
    artifacts.save_estimator(saved, tmp_path)
    loaded = veridical.load(tmp_path)
    draws = [e.sample_and_log_prob(X, 20, np.random.Generator(np.random.PCG64(9))) for e in (saved, loaded)]
    np.testing.assert_array_equal(draws[0][0], draws[1][0])
    np.testing.assert_array_equal(draws[0][1], draws[1][1])
    np.testing.assert_array_equal(loaded.log_prob(draws[0][0], X), saved.log_prob(draws[0][0], X))
    np.testing.assert_array_equal(loaded.summary(X), saved.summary(X))
    np.testing.assert_array_equal(loaded.cloud.covariance, saved.cloud.covariance)
    assert loaded.task.to_json() == TASK.to_json() and loaded.settings == saved.settings


def test_the_record_tells_what_the_numbers_depend_on(folder: Path) -> None:
    record = artifacts.load_record(folder)
    assert record["digests"] == {"bank": "abc"} and record["type"] == "npe"
    assert record["task"]["bounds"] == [[0.0, None], [None, None]]
    assert record["transforms"] == {"x": ["asinh", "standardise"], "parameters": {"a": "log", "b": "none"}}
    assert set(record["versions"]) >= {"torch", "zuko", "numpy", "python", "veridical"}
    assert record["weights_sha256"] == digests.file_digest(folder / "weights.safetensors")
    assert sorted(os.listdir(folder)) == [
        "cost.json",
        "estimator.json",
        "history.json",
        "weights.safetensors",
    ]


def test_history_and_cost_are_kept(folder: Path) -> None:
    history = json.loads((folder / "history.json").read_text())
    assert history["epochs"] == RESULT.rounds and history["best_epoch"] == 0.5
    assert history["resumed_from"] == [3] and history["stopped_early"] is False
    cost = read_json(folder / "cost.json", "costs")
    assert cost == {"fit_seconds": 1.5, "cpu_seconds": 1.25, "steps": 5, "n": 10, "n_valid": 9}


@pytest.mark.parametrize("position", [9, -100])
def test_one_flipped_byte_of_the_weights_is_refused(folder: Path, position: int) -> None:
    path = folder / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"weights\.safetensors: expected SHA-256"):
        artifacts.load_estimator(folder)


def test_a_changed_record_is_refused(folder: Path) -> None:
    path = folder / "estimator.json"
    path.write_text(path.read_text().replace('"asinh"', '"none"', 1))
    with pytest.raises(ArtifactError, match=r"estimator\.json: its digest does not fit"):
        artifacts.load_estimator(folder)


@pytest.mark.parametrize("wrapped", [False, True])
def test_loading_runs_no_code_of_the_folder_unless_told(folder: Path, tmp_path: Path, wrapped: bool) -> None:
    """Nor that of the method that a remedy wraps."""
    code = tmp_path / "mine.py"
    code.write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\n")

    def say(place: Path, **changes: object) -> None:
        record = {**artifacts.load_record(place), **changes}
        del record["record_sha256"]
        record["record_sha256"] = digests.short(record, 64)
        (place / "estimator.json").write_text(json.dumps(record))

    opened = Path(shutil.copytree(folder, f"{folder}-remedy")) if wrapped else folder
    say(folder, type="own", settings={"type": "own", "file": str(code), "class": "Mine"})
    if wrapped:
        entry = {"path": f"../{folder.name}", "record_sha256": artifacts.load_record(folder)["record_sha256"]}
        say(opened, parent=entry)
    with pytest.raises(ArtifactError, match=r"class 'Mine' in .*veridical\.load\(folder, own_code=True"):
        veridical.load(opened)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(TrainingError, match="has no class 'Mine'"):
        veridical.load(opened, own_code=True)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["weights.safetensors", "estimator.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name} is missing"):
        artifacts.load_estimator(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 3}, "expected format 2"),
        ({"format": "1"}, "expected format 2"),
        ({"format": None}, "expected format 2"),
        ({"type": "nle"}, "cannot rebuild the estimator"),
        (None, "expected JSON"),
    ],
)
def test_a_record_that_is_not_known_here_is_refused(
    folder: Path, changes: dict[str, object] | None, message: str
) -> None:
    record = {**artifacts.load_record(folder), **(changes or {})}
    del record["record_sha256"]
    record["record_sha256"] = digests.short(record, 64)
    text = b"\x80\x04 pickled" if changes is None else json.dumps(record).encode()
    (folder / "estimator.json").write_bytes(text)
    with pytest.raises(ArtifactError, match=message):
        artifacts.load_estimator(folder)


def test_a_full_disk_leaves_the_old_estimator_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {p.name: p.read_bytes() for p in folder.iterdir()}

    def full(stream: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtifactError, match=r"cannot be written .*space"):
        artifacts.save_estimator(untrained("none"), folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before

"""Saved estimators: weights as safetensors, everything else as JSON, digests checked on loading. No pickle.

A folder holds

    weights.safetensors   weights of the networks and the statistics of all transforms
    estimator.json        type, settings, task, versions, digests, device; the record of the two
    history.json          losses and learning rate per look at the validation rows
    cost.json             wall and process time, rows, steps

`estimator.json` states the SHA-256 of the weights and of itself (without that entry).
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from veridical import digests, methods
from veridical.errors import ArtifactError, UnknownName, if_bad
from veridical.estimators.base import Estimator, TaskInfo
from veridical.files import Migrations, migrated, read_json, whole, write_json
from veridical.version import VERSION

if TYPE_CHECKING:
    from veridical.training.session import TrainingResult

FORMAT = 2


def _without_base(record: dict[str, Any]) -> dict[str, Any]:
    """Format 1: networks had no regression in front of them, and their weights did not decay."""

    def told(settings: dict[str, Any]) -> dict[str, Any]:
        inner = {name: told(each) if isinstance(each, dict) else each for name, each in settings.items()}
        if "flow" not in inner or "training" not in inner:
            return inner
        return {**inner, "base": "none", "training": {**inner["training"], "weight_decay": 0.0}}

    return {**record, "settings": told(record["settings"])}


MIGRATIONS: Migrations = {1: _without_base}
WEIGHTS, RECORD, HISTORY, COST = "weights.safetensors", "estimator.json", "history.json", "cost.json"
OBJECTIONS = "objections"  # in the account of a method: what it says against what it has learned
PACKAGES = ("lightning", "numpy", "safetensors", "torch", "zuko")


def save_estimator(
    estimator: Estimator,
    folder: str | Path,
    result: TrainingResult | None = None,
    *,
    record: Mapping[str, Any] | None = None,
    cost: Mapping[str, Any] | None = None,
    parent: str | Path | None = None,
    beside: Sequence[str | Path] = (),
    likelihood: str | Path | None = None,
    past: Mapping[str, Any] | None = None,
) -> None:
    """Writes an estimator into a folder, the record last; each file at once or not at all.

    Arguments:
        estimator: The estimator.
        folder: Where to; it is made where it does not exist.
        result: How its training went, for `history.json` and `cost.json`.
        record: More entries for `estimator.json`: digests, seeds, budget.
        cost: More entries for `cost.json`.
        parent: Folder of the method that the estimator builds on; kept where it is needed on loading.
        beside: Folders of others that it asks beside that one.
        likelihood: Folder of the method whose likelihood it asks; kept where it builds on another, likewise.
        past: What `history.json` holds where no training of this estimator itself does.
    """
    from safetensors.numpy import save

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    account = estimator.account()
    weights = save({name: np.array(array, order="C") for name, array in estimator.arrays().items()})
    _write(folder / WEIGHTS, weights)
    if result is not None or cost is not None:
        write_json(folder / HISTORY, history(result) if past is None else past, indent=1)
        cost = cost or {}
        spent = {} if "steps" in cost else costs(result)  # known already where others were trained for it
        objects = {name: said for name, said in account.items() if name == OBJECTIONS}
        write_json(folder / COST, {**spent, **cost, **objects}, indent=1)
    entries = {
        **(record or {}),
        **account,
        "parent": _entry(folder, parent) if estimator.parent is not None else None,
        **({"beside": [_entry(folder, one) for one in beside]} if beside else {}),
        **({"likelihood": _entry(folder, likelihood)} if likelihood and estimator.parent else {}),
        "format": FORMAT,
        "type": estimator.type,
        "settings": _plain(estimator.settings),
        "task": estimator.task.to_json(),
        "transforms": estimator.transforms(),
        "dtype": "float32",
        "device": result.device if result is not None else "cpu",
        "versions": versions(),
        "weights_sha256": digests.file_digest(folder / WEIGHTS),
    }
    record_text = json.dumps(
        {**entries, "record_sha256": digests.short(entries, 64)}, indent=1, allow_nan=False
    )
    _write(folder / RECORD, f"{record_text}\n".encode())


def is_whole(folder: str | Path, entries: Mapping[str, Any]) -> bool:
    """Returns whether a folder holds all files of an estimator whose record has these entries."""
    folder = Path(folder)
    try:
        record = load_whole(folder)
    except ArtifactError:
        return False
    return all(record.get(name) == value for name, value in entries.items())


def load_whole(folder: str | Path) -> dict[str, Any]:
    """Returns `estimator.json` of a folder after a look at all its files.

    Raises:
        ArtifactError: If a file is missing or damaged.
    """
    folder = Path(folder)
    record = load_record(folder)
    _weights(folder, record)
    for name in (HISTORY, COST):
        read_json(folder / name, "what a training leaves")
    return record


def load_estimator(folder: str | Path, *, own_code: bool = True) -> Estimator:
    """Returns the estimator that lies in a folder.

    Arguments:
        folder: The folder.
        own_code: Whether a user's own class may be imported, as in jobs of the study that names it.

    Raises:
        ArtifactError: If a file is missing, of another format, or not what the record says, or if it takes
            code that may not run.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    folder = Path(folder)
    record = load_record(folder)
    weights = _weights(folder, record)
    if record["type"] == methods.OWN and not own_code:
        settings = record["settings"]
        raise ArtifactError(
            f"{folder}: this method is the class {settings.get('class')!r} in the file "
            f"{settings.get('file')!r}, which loading would run. Read that file and, if you trust it, say "
            "veridical.load(folder, own_code=True)."
        )
    try:
        cls = methods.method_class({**record["settings"], "type": record["type"]})
        settings = methods.typed(record["type"], record["settings"])
        task, parent = TaskInfo.from_json(record["task"]), _load_other(folder, record.get("parent"), own_code)
        others: dict[str, Any] = {}
        if "beside" in record:
            others["beside"] = [_load_other(folder, entry, own_code) for entry in record["beside"]]
        if "likelihood" in record:
            others["likelihood"] = _load_other(folder, record["likelihood"], own_code)
        found = cls.from_arrays(settings, task, load(weights), parent, **others)
    except (UnknownName, ValidationError, SafetensorError) as error:
        raise ArtifactError(
            f"{folder}: this version of veridical ({VERSION}) cannot rebuild the estimator: {error}"
        ) from error
    if found.own_code and not own_code:
        raise ArtifactError(
            f"{folder}: this method asks the likelihood of a task in the file {', '.join(found.own_code)}, "
            "which would run. Read that file and, if you trust it, say veridical.load(folder, own_code=True)."
        )
    return found


def load_record(folder: str | Path) -> dict[str, Any]:
    """Returns `estimator.json` of a folder after checking its format and digest.

    Raises:
        ArtifactError: If it is missing, of another format, or changed after it was written.
    """
    path = Path(folder) / RECORD
    try:
        record = json.loads(_read(path))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ArtifactError(f"{path}: expected JSON, got something else: {error}. {if_bad(path)}.") from error
    today = migrated(record, path, FORMAT, MIGRATIONS)
    entries = {name: value for name, value in record.items() if name != "record_sha256"}
    if record.get("record_sha256") != digests.short(entries, 64):
        raise ArtifactError(f"{path}: its digest does not fit its content; it was changed. {if_bad(path)}.")
    return today


def _weights(folder: Path, record: Mapping[str, Any]) -> bytes:
    """The file of weights, which must be the one that the record describes."""
    weights = _read(folder / WEIGHTS)
    found = hashlib.sha256(weights).hexdigest()
    if found != record["weights_sha256"]:
        raise ArtifactError(
            f"{folder / WEIGHTS}: expected SHA-256 {record['weights_sha256']} as in {RECORD}, got {found}; "
            f"the file is damaged or from another training. {if_bad(folder / WEIGHTS)}."
        )
    return weights


def _entry(folder: Path, other: str | Path | None) -> dict[str, str]:
    """Where the method lies that a remedy wraps or asks, as seen from its own folder, and what it was."""
    if other is None:
        raise ArtifactError(f"{folder}: a remedy needs the folder of the method that it wraps.")
    path = Path(os.path.relpath(other, folder)).as_posix()
    return {"path": path, "record_sha256": load_record(other)["record_sha256"]}


def _load_other(folder: Path, entry: Mapping[str, str] | None, own_code: bool) -> Estimator | None:
    """The method that a remedy wraps or asks, which must be the one it was fitted with."""
    if entry is None:
        return None
    found = load_record(folder / entry["path"])["record_sha256"]
    if found != entry["record_sha256"]:
        raise ArtifactError(
            f"{folder / entry['path']}: this is not the method that {folder} was fitted with (expected "
            f"record {entry['record_sha256']}, got {found}). Run the remedy again."
        )
    return load_estimator(folder / entry["path"], own_code=own_code)


def history(result: TrainingResult | None) -> dict[str, Any]:
    """Returns what `history.json` holds: losses in nats per row, in the task's coordinates."""
    if result is None:
        return {"epochs": [], "best_epoch": None, "steps": 0, "stopped_early": False, "resumed_from": []}
    return {
        "epochs": result.rounds,
        "best_epoch": result.rounds[result.best]["epoch"],
        "steps": result.steps,
        "stopped_early": result.stopped_early,
        "resumed_from": result.resumed_from,
        "size": result.size,
    }


def costs(result: TrainingResult | None) -> dict[str, Any]:
    """Returns what a training cost, over all its attempts."""
    if result is None:
        return {"steps": 0}
    return {"fit_seconds": result.seconds, "cpu_seconds": result.cpu_seconds, "steps": result.steps}


def versions() -> dict[str, str]:
    """Returns versions of what an estimator's numbers depend on."""
    found = {name: metadata.version(name) for name in PACKAGES}
    return {"veridical": VERSION, "python": platform.python_version(), **found}


def _plain(settings: Any) -> dict[str, Any]:
    """Settings as plain data, whether they are a model or, in a user's own method, plain already."""
    return dict(settings) if isinstance(settings, Mapping) else settings.model_dump(mode="json")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing; expected the folder of a trained estimator.") from None


def _write(path: Path, content: bytes) -> None:
    with whole(path) as temporary, temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())

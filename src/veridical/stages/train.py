"""Stages train and remedy: fit one method to what it learns from, and save it with all that led to it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from veridical import artifacts, bank, digests, methods, tasks
from veridical.bank.blocks import Simulator
from veridical.bank.online import Online
from veridical.bank.shards import digest
from veridical.bank.streaming import Streamed
from veridical.coordinates import LEVEL, Run
from veridical.errors import TrainingError
from veridical.estimators.base import Estimator, Material, Rows, TaskInfo
from veridical.estimators.settings import MethodSettings
from veridical.files import write_text
from veridical.inference.likelihoods import Exact, Learned, Likelihood
from veridical.saved import observations
from veridical.stages.levels import coupled
from veridical.tasks.base import Array, FileTask, Task
from veridical.training.checkpoints import OUTPUT, CheckpointFolder


@dataclass(frozen=True)
class Sources:
    """Where a method finds what it learns from.

    Attributes:
        simulations: Shards that hold the budget, and the number of rows.
        calibration: Shards of labelled real data, and the number of rows.
        unlabelled: Shards of real data whose parameters it does not see, and the number of rows.
        observed: The file of observations that it learns from, without parameters.
        classes: Shards of each class of a class task, and the number of rows of each.
        parent: Folder of the method that this one builds on.
        beside: Folders of others that it asks beside that one.
        likelihood: Folder of the method whose likelihood this one asks in place of the task's.
        fidelity: The level of its simulations, at which it may simulate; None for none.
        max_invalid: Largest share of failed simulations.
        further: Shards of later rounds, and the number of rows of each.
        weights: What these rows count in a loss, shape (N,) each; empty where all follow the prior.
        start: Folder of the method with whose weights each round begins; None for most methods.
        observation: The one that rounds are for, shape (*x_shape); None for most methods.
        acceptance: Of the proposals of the last round.
        levels: Shards of each cheaper level, coupled to the simulations, and the number of rows of each.
    """

    simulations: tuple[Sequence[str | Path], int] | None = None
    calibration: tuple[Sequence[str | Path], int] | None = None
    unlabelled: tuple[Sequence[str | Path], int] | None = None
    observed: str | Path | None = None
    classes: Mapping[str, tuple[Sequence[str | Path], int]] = field(default_factory=dict)
    parent: str | Path | None = None
    beside: Sequence[str | Path] = ()
    likelihood: str | Path | None = None
    fidelity: str | None = None
    max_invalid: float = 1.0
    further: Sequence[tuple[Sequence[str | Path], int]] = ()
    weights: Sequence[Array] = ()
    start: str | Path | None = None
    observation: Array | None = None
    acceptance: float = 1.0
    levels: Mapping[str, tuple[Sequence[str | Path], int]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, inputs: Mapping[str, Any], rows: Mapping[str, int], fidelity: str | None, max_invalid: float
    ) -> Sources:
        """Returns the sources of a job.

        Arguments:
            inputs: Shards by the part that they belong to; records of methods, `parent`, `beside` and
                `likelihood`; the file of `observed` data.
            rows: Number of rows of each part: `simulations`, `calibration`, `unlabelled`, a class, or
                `level_` and the name of a cheaper level.
            fidelity: The level of its simulations.
            max_invalid: Largest share of failed simulations.
        """
        parts = {name: (listed(inputs[name]), n) for name, n in rows.items()}
        simulations, calibration = parts.pop("simulations", None), parts.pop("calibration", None)
        real = parts.pop("unlabelled", None), inputs.get("observed")
        parent, likelihood = (
            Path(inputs[role]).parent if role in inputs else None for role in ("parent", "likelihood")
        )
        beside = [Path(record).parent for record in listed(inputs.get("beside", []))]
        classes = parts if fidelity is None else {}
        levels = {} if fidelity is None else {role.removeprefix(LEVEL): part for role, part in parts.items()}
        return cls(
            simulations,
            calibration,
            *real,
            classes,
            parent,
            beside,
            likelihood,
            fidelity,
            max_invalid,
            levels=levels,
        )

    def all_shards(self) -> dict[str, Sequence[str | Path]]:
        """Returns the shards of each part by its name."""
        parts = {"simulations": self.simulations, "calibration": self.calibration, **self.classes}
        parts["unlabelled"] = self.unlabelled
        parts |= {f"round {number}": part for number, part in enumerate(self.further, 2)}
        parts |= {f"level {name}": part for name, part in self.levels.items()}
        return {name: part[0] for name, part in parts.items() if part is not None}

    @property
    def rows(self) -> int:
        """Rows in all, but for those without labels."""
        parts = [self.simulations, self.calibration, *self.classes.values(), *self.further]
        parts += self.levels.values()
        return sum(part[1] for part in parts if part is not None)


def train(
    spec: Mapping[str, Any],
    method_spec: Mapping[str, Any],
    sources: Sources,
    out: str | Path,
    run: Run,
    *,
    root: int,
    checkpoints: str | Path,
    code: str = "",
    threads: int | None = None,
    deadline: float | None = None,
    place: Mapping[str, Any] | None = None,
) -> None:
    """Fits a method and writes weights, record, history and cost.

    An interrupted training leaves its state below `checkpoints` and goes on from there when it is
    called again with the same arguments. Of two jobs for one method the second waits for the first, and
    leaves alone what that has made.

    Arguments:
        spec: The task, as plain data.
        method_spec: Settings of the method, as plain data, with its `type`.
        sources: What it learns from.
        out: The folder of the method.
        run: The method, its budget (failures and validation rows included), replicate and labelled rows.
        root: Root seed.
        checkpoints: The folder of all running states.
        code: Digest of the code that trains.
        threads: CPU threads; those of the settings where None.
        deadline: When to stop with the state saved, so that a retry can go on, as `time.time()` counts.
        place: Of a round: `observation` and `round`, which name its seeds, and what else its record says.

    Raises:
        SimulationError: If too many simulations failed.
        TrainingError: If training cannot go on.
    """
    from veridical.training.devices import visible_gpus
    from veridical.training.session import Session

    print(visible_gpus())
    for shards in sources.all_shards().values():
        bank.require_valid(shards, sources.max_invalid)
    task = tasks.build(spec)
    parent = None if sources.parent is None else artifacts.load_estimator(sources.parent)
    settings = methods.typed(method_spec["type"], method_spec)
    stated = settings if isinstance(settings, MethodSettings) else None
    material, valid = _material(spec, task, sources, parent, stated, (root, run.replicate))
    about = _about(sources, run, root, code, place)
    if sources.observed is not None:
        seen = observations.load(sources.observed).x[: method_spec["unlabelled_rows"]]
        material = replace(material, unlabelled=seen)
        about["digests"]["observed"] = digest([seen])
    seed_path: tuple[str | int, ...] = (run.method, run.replicate)
    if place is not None and place["round"] > 1:  # the first one learns the same for all observations
        seed_path += ("round", place["observation"], place["round"])
    info = TaskInfo.of(task)
    identity = [about, info.to_json(), dict(method_spec), threads, artifacts.versions()]
    about["training"] = digests.short(identity, 20)
    patience = math.inf if deadline is None else max(0.0, deadline - time.time())
    with CheckpointFolder(Path(checkpoints) / about["training"], wait_seconds=patience) as folder:
        write_text(folder.folder / OUTPUT, f"{out}\n")
        if artifacts.is_whole(out, about):
            print(f"{run.method}: another job has just made it")
            folder.clear()
            return
        started = time.perf_counter(), time.process_time()
        session = Session(root, seed_path, threads, folder, deadline)
        fitted, result = methods.fit(method_spec, info, material, session)
        share = 1 - valid / sources.rows if sources.rows else 0.0
        cost: dict[str, Any] = {"n": sources.rows, "n_valid": valid, "invalid_share": share}
        if result is None:
            cost |= _spent_since(*started)
        folder.require()
        others: dict[str, Any] = {name: getattr(sources, name) for name in ("parent", "beside", "likelihood")}
        artifacts.save_estimator(fitted, out, result, record=about, cost=cost, **others)
        folder.clear()
    print(f"{run.method}: {valid} valid of {sources.rows} rows; {_account(result)}")


def _spent_since(clock: float, process: float) -> dict[str, float]:
    """Wall time and process time since two clocks read so."""
    return {"fit_seconds": time.perf_counter() - clock, "cpu_seconds": time.process_time() - process}


def _about(
    sources: Sources, run: Run, root: int, code: str, place: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What the record of a method says of what it was made from."""
    about: dict[str, Any] = {
        "method": run.method,
        "budget": run.budget,
        "calibration": run.calibration,
        "replicate": run.replicate,
        "seed": root,
        "digests": {"bank": bank_digest(sources), "code": code},
    }
    if sources.weights:
        about["digests"]["weights"] = digest(sources.weights)
    if place is not None:
        about["place"] = dict(place)
    if sources.parent is not None:
        about["built_on"] = artifacts.load_record(sources.parent)["record_sha256"]
    if sources.start is not None:
        about["begun_with"] = artifacts.load_record(sources.start)["record_sha256"]
    if sources.beside:
        about["asked_beside"] = [artifacts.load_record(one)["record_sha256"] for one in sources.beside]
    if sources.likelihood is not None:
        about["weighed_by"] = artifacts.load_record(sources.likelihood)["record_sha256"]
    return about


def listed(paths: str | Sequence[str]) -> list[str]:
    """Returns the paths of a job's input, of which there may be one alone."""
    return [paths] if isinstance(paths, str) else list(paths)


def _account(result: Any) -> str:
    if result is None:
        return "nothing to iterate"
    best = result.rounds[result.best]
    return (
        f"{result.steps} steps in {result.seconds:.1f} s ({result.device}); validation loss "
        f"{best['validation_loss']:.3f} at epoch {best['epoch']:.1f}"
    )


def _material(
    spec: Mapping[str, Any],
    task: Task,
    sources: Sources,
    parent: Estimator | None,
    method: MethodSettings | None,
    seeded: tuple[int, int],
) -> tuple[Material, int]:
    """What a method learns from, valid rows only, and how many of them there are."""
    simulations: Rows | Streamed | Online | None = None
    levels, in_levels = _levels(task, sources)
    if sources.simulations is not None and method and method.streaming:
        simulations = _streamed(task, sources, method.streaming, *seeded)
    elif sources.simulations is not None and not levels:
        scores, drawn = bool(method and method.learns_scores), (sources.simulations, *sources.further)
        every = [np.ones(drawn[0][1]), *sources.weights] if sources.weights else [None] * len(drawn)
        parts = [
            _rows(*part, validate=True, scores=scores, weight=weight)
            for part, weight in zip(drawn, every, strict=True)
        ]
        simulations = parts[0] if len(parts) == 1 else _together(parts)
    calibration = None if sources.calibration is None else _rows(*sources.calibration, validate=False)
    unlabelled = None if sources.unlabelled is None else _rows(*sources.unlabelled, validate=False).x
    classes = {name: _events(*part) for name, part in sources.classes.items()}
    level = None if isinstance(task, FileTask) else sources.fidelity
    likelihood: Likelihood | None = Exact(spec) if task.has_likelihood else None
    if sources.likelihood is not None:
        learned: Any = artifacts.load_estimator(sources.likelihood)
        likelihood = Learned(learned)
    counts = [len(rows) for rows in (simulations, calibration) if rows is not None]
    material = Material(
        simulations=simulations,
        calibration=calibration,
        classes={name: x for name, (x, _) in classes.items()},
        validation={name: mask for name, (_, mask) in classes.items()},
        parent=parent,
        start=None if sources.start is None else artifacts.load_estimator(sources.start),
        beside=[artifacts.load_estimator(folder) for folder in sources.beside],
        prior=task.prior,
        simulate=None if level is None else Simulator(task, level),
        observation=sources.observation,
        acceptance=sources.acceptance,
        likelihood=likelihood,
        unlabelled=unlabelled,
        levels=levels,
    )
    return material, in_levels + sum(counts) + sum(len(x) for x, _ in classes.values())


def _streamed(
    task: Task, sources: Sources, streaming: int | str, root: int, replicate: int
) -> Streamed | Online:
    """Simulations that are read, or made, while a training learns from them."""
    if sources.simulations is None or sources.fidelity is None:
        raise TrainingError("training.streaming: expected simulations of a level, got none.")
    if isinstance(streaming, int):
        return Streamed(*sources.simulations, streaming)
    return Online(*sources.simulations, task, root, sources.fidelity, replicate)


def _levels(task: Task, sources: Sources) -> tuple[tuple[Rows, ...], int]:
    """The simulations of a method of several levels, its own last, and how many are valid; else none."""
    if not sources.levels or sources.simulations is None:
        return (), 0
    cheaper = [sources.levels[name] for name in task.fidelities if name in sources.levels]
    return coupled([*cheaper, sources.simulations])


def _rows(
    shards: Sequence[str | Path],
    n: int,
    validate: bool,
    scores: bool = False,
    weight: Array | None = None,
) -> Rows:
    if scores:
        _require_scores(shards)
    arrays = bank.load(shards, n, names=["theta", "x", "status", *(["score"] if scores else [])])
    valid = bank.valid(arrays)
    mask = bank.validation_mask(n) if validate else np.zeros(n, bool)
    return Rows(arrays["theta"], arrays["x"], mask, arrays.get("score"), weight).at(valid)


def _require_scores(shards: Sequence[str | Path]) -> None:
    """Raises TrainingError where a shard was written without scores."""
    for path in shards:
        if "score" not in (held := bank.manifest(path)["digests"]):
            raise TrainingError(
                f"{path}: `scores` asks for the slopes of log p(x | theta), an array `score`, but it holds "
                f"{', '.join(held)} alone. Have the task keep them (`settings: {{scores: true}}`, or a "
                "simulator that returns `score` (N, D) beside x), or leave `scores` out."
            )


def _together(parts: Sequence[Rows]) -> Rows:
    fields = [name for name, rows in vars(parts[0]).items() if rows is not None]
    return Rows(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in fields})


def _events(shards: Sequence[str | Path], n: int) -> tuple[Array, Array]:
    arrays = bank.load(shards, n, names=["x", "status"])
    valid = bank.valid(arrays)
    return arrays["x"][valid], bank.validation_mask(n)[valid]


def bank_digest(sources: Sources) -> str:
    """Returns one digest of the contents of all shards."""
    found = {
        name: [bank.manifest(path)["digests"] for path in sorted(map(str, shards))]
        for name, shards in sources.all_shards().items()
    }
    return digests.short([found, sources.rows], 64)

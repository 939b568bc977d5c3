"""The probe: a few rows of each fidelity before any fan-out, to measure and to stop on what is wrong.

All code of the user's runs in a child process under the time limit: building the task, its prior, its
simulator. Rows are simulated in batches of 1, 1, 2, 4, ... until there are enough of them or a third of the
limit is spent, so that a slow simulator is told from one that hangs. The seconds per row are those of the
last, largest batch. The rows are looked at in float64, before they are rounded to the task's type, for what
training and checks demand of them (`parameter_demands`, `data_demands`). What is the user's own then runs a
second time, with two processes at the same time.
"""

from __future__ import annotations

import copy
import json
import re
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from veridical import seeds, tasks
from veridical.bank import at_once, blocks, filling, validity, workers
from veridical.bank.data_demands import beyond_type, of_data
from veridical.bank.parameter_demands import between_values, draws_of_prior, exchanged, of_parameters
from veridical.errors import BankError, SimulationError, SimulationTimeout
from veridical.files import reading
from veridical.tasks.base import Array, FileTask, Task, usable

_ENOUGH = 1 / 3
_ROW = 0.1  # of the time limit, for a row alone where the probe met one that hangs
_BATCHES = "batches.npz"  # x of each batch, where the simulator gives the same for the same seed
_NUMBERS = 2_000_000  # of x that are looked at in float64
_PART = 100_000  # rows of a file at a time
_PLACES, _REPEATS = 8, 4  # parameters at which the noise is measured, and simulations at each
_CHI2_MEDIAN = 0.789  # of a variance estimated from four numbers, in true variances


def run(
    spec: Mapping[str, Any] | Task,
    fidelity: str,
    *,
    root: int,
    rows: int = 200,
    time_limit: float = 600.0,
    max_invalid: float = 0.2,
) -> dict[str, Any]:
    """Tries a task at one fidelity and returns what was measured, as plain data.

    Arguments:
        spec: The task, as `tasks.build` takes it.
        fidelity: The level to try.
        root: The root seed of the study.
        rows: How many rows to simulate, fewer where they take long.
        time_limit: Seconds that it may take.
        max_invalid: Largest share of failed simulations.

    Returns:
        `task`; `warnings`; `fidelities`: for this one `rows`, `seconds_per_row`, `cpu_seconds_per_row`,
        `bytes_per_row`, `counts` of each status, `invalid_share`, `first_traceback`, `reproducible`; of a
        file of simulations also `notes`, how it was read.

    Raises:
        SimulationError: If the simulator raises or fails on all or too many rows, hangs, or dies.
        TaskError: If the task breaks its contract: shapes, types, prior.
    """
    name = str(spec.name if isinstance(spec, Task) else spec["name"])
    found = _in_child(spec, name, fidelity, root, rows, time_limit)
    _require_success(f"task {name} at fidelity {fidelity}", found, max_invalid)
    warnings = [f"fidelity {fidelity}: {text}" for text in found.pop("warnings")]
    return {"task": name, "warnings": warnings, "fidelities": {fidelity: found}}


def findings(path: Path) -> list[str]:
    """Returns what a probe found that users should know, and how a file of simulations was read.

    Nothing where it left no record.

    Raises:
        BankError: If the record cannot be read.
    """
    if not path.exists():
        return []
    with reading(path, "the record of a probe", BankError):
        record = json.loads(path.read_text(encoding="utf-8"))
        return [str(text) for text in (*record["warnings"], *record.get("notes", ()))]


def _in_child(
    spec: Mapping[str, Any] | Task, name: str, fidelity: str, root: int, rows: int, time_limit: float
) -> dict[str, Any]:
    """Runs `_measure` in a child and returns what it found."""
    what = f"task {name} at fidelity {fidelity}"
    with TemporaryDirectory(prefix="veridical-probe-") as folder:
        files = {kind: Path(folder, kind) for kind in ("found.json", "progress")}
        ends: list[workers.Ended] = []
        call = partial(_measure, spec, fidelity, root, rows, time_limit, files)
        workers.run([(fidelity, call)], lambda _, end: ends.append(end), time_limit=time_limit)
        if (ends[0].own_fault or ends[0].how == "timed out") and _begun(files["progress"]):
            alone = partial(call, True)  # a rare row may be to blame: once more, with each row in a process
            workers.run([(fidelity, alone)], lambda _, end: ends.append(end), time_limit=time_limit)
            if ends[1].how == "done" and _is_rare(files["found.json"]):
                return json.loads(files["found.json"].read_text(encoding="utf-8"))
            ends = ends[:1] if ends[0].how == "timed out" else ends[1:]
        if ends[0].how == "timed out":
            progress = files["progress"]
            stage = progress.read_text(encoding="utf-8") if progress.exists() else "the task was being built"
            raise SimulationTimeout(
                f"{what}: the probe {ends[0].text} When it was stopped, {stage}. Mend what hangs, or raise "
                "simulation.time_limit if a row does take that long."
            )
        if ends[0].how != "done":
            raise ends[0].exception(what)
        batches = Path(folder, _BATCHES)
        if batches.exists() and not isinstance(spec, Task) and spec.keys() & {"command", "file"}:
            at_once.require_the_same(what, partial(_simulator, spec, fidelity, root), batches, time_limit)
        return json.loads(files["found.json"].read_text(encoding="utf-8"))


def _begun(progress: Path) -> bool:
    """Whether a simulation ended before the process did."""
    return progress.exists() and bool(re.match("[1-9]", progress.read_text(encoding="utf-8")))


def _is_rare(found: Path) -> bool:
    """Whether few rows hang; rows that end their process are counted like others that fail."""
    measured = json.loads(found.read_text(encoding="utf-8"))
    return measured["counts"]["timed_out"] <= max(1, filling.RARE * measured["rows"])


def _require_success(what: str, found: Mapping[str, Any], max_invalid: float) -> None:
    counts, text = found["counts"], found["first_traceback"]
    if counts["ok"] == 0:
        kinds = ", ".join(f"{n} {kind}" for kind, n in counts.items() if n)
        raise SimulationError(
            f"{what}: all {found['rows']} simulations of the probe failed ({kinds})."
            f"{validity.cause(text or 'x must be finite numbers.')}"
        )
    validity.require_plausible(f"{what}, probe", counts, max_invalid, text)


# ---- in the child ------------------------------------------------------------------------------------


def _measure(
    spec: Mapping[str, Any] | Task,
    fidelity: str,
    root: int,
    rows: int,
    time_limit: float,
    files: Mapping[str, Path],
    alone: bool = False,
) -> None:
    """Builds the task, checks its prior, simulates, and leaves the findings in files.

    Each row has a process where they run alone: a task that ended the process has a row that did.
    """
    started = time.monotonic()
    task = spec if isinstance(spec, Task) else tasks.build(spec)
    files["progress"].write_text("the prior was being checked", encoding="utf-8")
    tasks.check_task(task)
    if isinstance(task, FileTask):
        findings = of_parameters(task, _stored_parameters(task, root))
        made = blocks.simulate_block(_in_float64(task), root, fidelity, "train", 0, 0)
        enough = max(2, _NUMBERS // max(1, made.arrays["x"][0].size))
        kept = {name: array[:enough] for name, array in made.arrays.items()}
        found = _findings(task, _narrowed(task, made), kept, 0.0, 0.0)
        found["notes"] = list(getattr(task, "notes", ()))
    else:
        theta = draws_of_prior(task, root)
        findings = of_parameters(task, theta) + exchanged(task, theta)
        trial = _Trial(task, fidelity, root, _ROW * time_limit if alone else None)
        found = _simulate(trial, rows, started + _ENOUGH * time_limit, files["progress"])
        if (places := between_values(task, theta)) is not None and found["counts"]["ok"]:
            findings += _fails_between(trial, places)
    found["warnings"] = findings + found["warnings"]
    files["found.json"].write_text(json.dumps(found, allow_nan=False), encoding="utf-8")


def _in_float64(task: Task) -> Task:
    """The same task, with x as its simulator gives it."""
    exact = copy.copy(task)
    exact.x_dtype = "float64"
    return exact


def _stored_parameters(task: FileTask, root: int) -> Array:
    """Parameters of all rows of a file to train on, shape (N, D)."""
    total = task.available("train")
    parts = [(first, min(first + _PART, total) - 1) for first in range(0, total, _PART)]
    return np.concatenate([task.rows("train", 0, *part, root=root)["theta"] for part in parts])


@dataclass(frozen=True)
class _Trial:
    """A task at one level, whose rows have a process and `row_limit` seconds each where this is given."""

    task: Task
    fidelity: str
    root: int
    row_limit: float | None = None

    def batch(self, number: int, size: int) -> blocks.Block:
        """Simulates one batch; parameters, and noise of a coupled task, are the same at every fidelity."""
        rng = seeds.generator(self.root, "probe", str(self.task.name), "theta", number)
        level = () if self.task.coupled else (self.fidelity,)
        return self.at(self.task.prior.sample(rng, size), "noise", *level, number)

    def at(self, theta: Array, *path: str | int) -> blocks.Block:
        """Simulates theta (N, D) with the randomness that the path names; rows that die alone are failed."""
        task, fidelity, place = self.task, self.fidelity, (str(self.task.name), *path)
        if self.row_limit is None:
            return blocks.simulate_at(task, theta, fidelity, self.root, "probe", *place)
        calls = [
            partial(blocks.simulate_at, task, theta[i : i + 1], fidelity, self.root, "probe", *place, i)
            for i in range(len(theta))
        ]
        return filling.simulate_each(task, fidelity, theta, calls, self.row_limit)


def _simulator(spec: Mapping[str, Any], fidelity: str, root: int) -> Callable[[int, int], Array]:
    """Builds the task and returns the function from number and rows of a batch to its x."""
    trial = _Trial(tasks.build(spec), fidelity, root)
    return lambda number, size: trial.batch(number, size).arrays["x"]


def _simulate(trial: _Trial, rows: int, until: float, progress: Path) -> dict[str, Any]:
    """Simulates batches of growing size until there are `rows` rows or the time is spent."""
    task = trial.task
    done: list[blocks.Block] = []
    kept: list[dict[str, Array]] = []
    exact = replace(trial, task=_in_float64(task))
    total = 0
    wall = cpu = 0.0
    while total < rows and (total < 2 or time.monotonic() < until):
        progress.write_text(f"{total} of {rows} rows were simulated", encoding="utf-8")
        size = max(1, min(total, rows - total))
        before = (time.perf_counter(), _cpu_seconds())
        made = exact.batch(len(done), size)
        wall, cpu = time.perf_counter() - before[0], _cpu_seconds() - before[1]
        total += size
        done.append(_narrowed(task, made))
        if sum(arrays["x"].size for arrays in kept) < _NUMBERS:
            kept.append(made.arrays)
    seconds, cpu_seconds = wall / size, cpu / size
    middle = len(done) // 2
    first, again = (done[middle], trial.batch(middle, len(done[middle].arrays["theta"])))
    same = np.array_equal(first.arrays["x"], again.arrays["x"], equal_nan=True)
    if same and trial.row_limit is None:
        batches: dict[str, Any] = {str(i): block.arrays["x"] for i, block in enumerate(done)}
        np.savez(progress.with_name(_BATCHES), **batches)
    enough = time.monotonic() + 2 * _PLACES * _REPEATS * seconds < until
    enough &= _PLACES * _REPEATS * int(np.prod(task.x_shape)) <= _NUMBERS
    noise, warnings = _noise(exact) if enough and task.parameters else (None, [])
    text = next((block.first_traceback for block in done if block.first_traceback), "")
    joined = blocks.Block(blocks.join([block.arrays for block in done]), text)
    if not same:
        warnings.append(
            "the simulator gave another x for the same seed; it uses a generator of its own, so that a bank "
            "cannot be made again bit by bit. Draw all randomness from the generator (or noise) that it gets."
        )
    found = _findings(task, joined, blocks.join(kept), seconds, cpu_seconds, noise if same else None)
    return {**found, "reproducible": same, "warnings": warnings + found["warnings"]}


def _noise(trial: _Trial) -> tuple[Array | None, list[str]]:
    """Standard deviation of x (L,) at fixed parameters, None where rows fail; what was seen on the way."""
    rng = seeds.generator(trial.root, "probe", str(trial.task.name), "repeats", "theta")
    places = np.asarray(trial.task.prior.sample(rng, _PLACES))
    theta = places.repeat(_REPEATS, axis=0)
    x, exchanged = (
        trial.at(each, "repeats", trial.fidelity).arrays["x"]
        for each in (theta, np.roll(theta, _REPEATS, axis=0))
    )
    if not np.isfinite(x).all():
        return None, []
    if np.array_equal(x, exchanged):
        return None, ["x is the same at other parameters with the same noise: the simulator ignores them."]
    groups = x.reshape(_PLACES, _REPEATS, -1)
    if (groups == groups[:, :1]).all():
        text = "x is the same with other noise: nothing is random, so that the posterior is a point."
        return np.zeros(groups.shape[2]), [text]
    return np.sqrt(np.median(groups.var(axis=1, ddof=1), axis=0) / _CHI2_MEDIAN), []


def _cpu_seconds() -> float:
    """CPU time of this process and of those it has started and waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _narrowed(task: Task, block: blocks.Block) -> blocks.Block:
    """Rows in float64 as the bank holds them: in the task's type, failed where that is infinite."""
    arrays = dict(block.arrays)
    with np.errstate(all="ignore"):
        arrays["x"] = arrays["x"].astype(task.x_dtype)
    lost = validity.valid(arrays) & ~usable(arrays["x"], task.has_missing)
    arrays["status"] = np.where(lost, validity.NON_FINITE, arrays["status"]).astype(np.uint8)
    arrays["x"][lost] = np.nan
    return blocks.Block(arrays, block.first_traceback)


def _fails_between(trial: _Trial, theta: Array) -> list[str]:
    """Whether a simulator fails at all parameters between the values that they take, as draws will."""
    block = trial.at(theta, "between", trial.fidelity)
    if validity.valid(block.arrays).any():
        return []
    why = block.first_traceback.strip().splitlines()[-1:] or ["x is not finite"]
    return [
        f"the simulator fails at parameters between these values, such as {theta[0]} ({why[0]}): no "
        "prediction at posterior draws can be made. Round in the simulator, or leave the check out (`checks: "
        "{predictive: null}`)."
    ]


def _findings(
    task: Task,
    block: blocks.Block,
    exact: Mapping[str, Array],
    seconds: float,
    cpu_seconds: float,
    noise: Array | None = None,
) -> dict[str, Any]:
    """What rows tell, and some of them in float64 (`exact`)."""
    arrays, rows = block.arrays, len(block.arrays["status"])
    counts = validity.status_counts(arrays["status"])
    valid = validity.valid(exact)
    theta, x = exact["theta"][valid], exact["x"][valid]
    beyond = beyond_type(task, x, task.x_dtype)
    with np.errstate(all="ignore"):
        held = usable(x.astype(task.x_dtype), task.has_missing)
    warnings = [beyond] if beyond else []
    return {
        "rows": rows,
        "seconds_per_row": seconds,
        "cpu_seconds_per_row": cpu_seconds,
        "bytes_per_row": sum(array.nbytes for array in arrays.values()) // rows,
        "counts": counts,
        "invalid_share": 1 - counts["ok"] / rows,
        "first_traceback": block.first_traceback or beyond,
        "reproducible": True,
        "warnings": warnings + of_data(task, theta[held], x[held], noise),
    }

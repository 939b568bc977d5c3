"""The probe: a few rows of each fidelity before any fan-out, to measure and to stop on what is wrong.

All code of the user's runs in a child process under the time limit: building the task, its prior, its
simulator. Rows are simulated in batches of 1, 1, 2, 4, ... until there are enough of them or a third of the
limit is spent, so that a slow simulator is told from one that hangs. The seconds per row are those of the
last, largest batch. The rows are looked at in float64, before they are rounded to the task's type, for what
training and checks demand of them (`parameter_demands`, `data_demands`).
"""

from __future__ import annotations

import copy
import json
import resource
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from veridical import seeds, tasks
from veridical.bank import blocks, validity, workers
from veridical.bank.data_demands import beyond_type, of_data
from veridical.bank.parameter_demands import of_parameters
from veridical.errors import BankError, SimulationError, SimulationTimeout, TaskError
from veridical.tasks.base import Array, FileTask, Task

_ENOUGH = 1 / 3
_PRIOR_ROWS = 1000
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
        `bytes_per_row`, `counts` of each status, `invalid_share`, `first_traceback`, `reproducible`.

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
    """Returns what a probe found that users should know; nothing where it left no record.

    Raises:
        BankError: If the record cannot be read.
    """
    if not path.exists():
        return []
    try:
        return [str(text) for text in json.loads(path.read_text(encoding="utf-8"))["warnings"]]
    except (ValueError, KeyError, TypeError) as error:
        raise BankError(
            f"{path}: expected the record of a probe, got what cannot be read; delete it, and give the same "
            "command again."
        ) from error


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
        if ends[0].how == "timed out":
            progress = files["progress"]
            stage = progress.read_text(encoding="utf-8") if progress.exists() else "the task was being built"
            raise SimulationTimeout(
                f"{what}: the probe {ends[0].text} When it was stopped, {stage}. Mend what hangs, or raise "
                "simulation.time_limit if a row does take that long."
            )
        if ends[0].how != "done":
            raise ends[0].exception(what)
        return json.loads(files["found.json"].read_text(encoding="utf-8"))


def _require_success(what: str, found: Mapping[str, Any], max_invalid: float) -> None:
    counts, text = found["counts"], found["first_traceback"]
    if counts["ok"] == 0:
        kinds = ", ".join(f"{n} {kind}" for kind, n in counts.items() if n)
        traceback = f" The first traceback:\n{text}" if text else " x must be finite numbers."
        raise SimulationError(
            f"{what}: all {found['rows']} simulations of the probe failed ({kinds}).{traceback}"
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
) -> None:
    """Builds the task, checks its prior, simulates, and leaves the findings in files."""
    started = time.monotonic()
    task = spec if isinstance(spec, Task) else tasks.build(spec)
    files["progress"].write_text("the prior was being checked", encoding="utf-8")
    tasks.check_task(task)
    if isinstance(task, FileTask):
        findings = of_parameters(task, _stored_parameters(task, root))
        block = blocks.simulate_block(_in_float64(task), root, fidelity, "train", 0, 0)
        found = _findings(task, block, 0.0, 0.0)
    else:
        findings = _check_prior(task, root)
        until = started + _ENOUGH * time_limit
        found = _simulate(task, fidelity, root, rows, until, files["progress"])
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


def _simulate(
    task: Task, fidelity: str, root: int, rows: int, until: float, progress: Path
) -> dict[str, Any]:
    """Simulates batches of growing size until there are `rows` rows or the time is spent."""
    done: list[blocks.Block] = []
    exact = _in_float64(task)
    total = 0
    wall = cpu = 0.0
    while total < rows and (total < 2 or time.monotonic() < until):
        progress.write_text(f"{total} of {rows} rows were simulated", encoding="utf-8")
        size = max(1, min(total, rows - total))
        before = (time.perf_counter(), _cpu_seconds())
        done.append(_batch(exact, fidelity, root, len(done), size))
        wall, cpu = time.perf_counter() - before[0], _cpu_seconds() - before[1]
        total += size
    seconds, cpu_seconds = wall / size, cpu / size
    middle = len(done) // 2
    first, again = (done[middle], _batch(exact, fidelity, root, middle, len(done[middle].arrays["theta"])))
    same = np.array_equal(first.arrays["x"], again.arrays["x"], equal_nan=True)
    enough = time.monotonic() + 2 * _PLACES * _REPEATS * seconds < until
    noise, warnings = _noise(exact, fidelity, root) if enough and task.parameters else (None, [])
    text = next((block.first_traceback for block in done if block.first_traceback), "")
    joined = blocks.Block(blocks.join([block.arrays for block in done]), text)
    if not same:
        warnings.append(
            "the simulator gave another x for the same seed; it uses a generator of its own, so that a bank "
            "cannot be made again bit by bit. Draw all randomness from the generator (or noise) that it gets."
        )
    found = _findings(task, joined, seconds, cpu_seconds, noise if same else None)
    return {**found, "reproducible": same, "warnings": warnings + found["warnings"]}


def _noise(task: Task, fidelity: str, root: int) -> tuple[Array | None, list[str]]:
    """Standard deviation of x (L,) at fixed parameters, None where rows fail; what was seen on the way."""
    path = (str(task.name), "repeats")
    theta = task.prior.sample(seeds.generator(root, "probe", *path, "theta"), _PLACES).repeat(
        _REPEATS, axis=0
    )
    x, exchanged = (
        blocks.simulate_at(task, at, fidelity, root, "probe", *path, fidelity).arrays["x"]
        for at in (theta, np.roll(theta, _REPEATS, axis=0))
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


def _batch(task: Task, fidelity: str, root: int, batch: int, size: int) -> blocks.Block:
    """Simulates one batch; parameters, and the noise of a coupled task, are the same at every fidelity."""
    theta = task.prior.sample(seeds.generator(root, "probe", str(task.name), "theta", batch), size)
    level = () if task.coupled else (fidelity,)
    path = (str(task.name), "noise", *level, batch)
    return blocks.simulate_at(task, theta, fidelity, root, "probe", *path)


def _cpu_seconds() -> float:
    """CPU time of this process and of those it has started and waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _findings(
    task: Task, block: blocks.Block, seconds: float, cpu_seconds: float, noise: Array | None = None
) -> dict[str, Any]:
    """What rows whose x is in float64 tell of those in the task's type."""
    arrays = dict(block.arrays)
    exact = arrays["x"]
    valid = validity.valid(arrays)
    with np.errstate(all="ignore"):
        arrays["x"] = exact.astype(task.x_dtype)
    lost = valid & ~np.isfinite(arrays["x"]).reshape(len(exact), -1).all(axis=1)
    arrays["status"] = np.where(lost, validity.NON_FINITE, arrays["status"]).astype(np.uint8)
    beyond = beyond_type(task, exact[valid], task.x_dtype)
    counts = validity.status_counts(arrays["status"])
    warnings = [beyond] if beyond else []
    kept = valid & ~lost
    warnings += of_data(task, arrays["theta"][kept], exact[kept], noise)
    return {
        "rows": len(valid),
        "seconds_per_row": seconds,
        "cpu_seconds_per_row": cpu_seconds,
        "bytes_per_row": sum(array.nbytes for array in arrays.values()) // len(valid),
        "counts": counts,
        "invalid_share": 1 - counts["ok"] / len(valid),
        "first_traceback": block.first_traceback or beyond,
        "reproducible": True,
        "warnings": warnings,
    }


def _check_prior(task: Task, root: int) -> list[str]:
    """Returns what users should know of a prior.

    Raises:
        TaskError: If its draws, density and bounds do not agree, or cannot be learned.
    """
    first, second = (
        np.asarray(task.prior.sample(seeds.generator(root, "probe", str(task.name), "prior"), _PRIOR_ROWS))
        for _ in range(2)
    )
    if not np.array_equal(first, second):
        raise TaskError(
            f"task {task.name}: prior.sample gave other draws from an equal generator. Draw from `rng` only, "
            "or the fidelities get different parameters."
        )
    for parameter, values in zip(task.parameters, first.T, strict=True):
        outside = ~((values >= parameter.lower) & (values <= parameter.upper))
        if outside.any():
            raise TaskError(
                f"task {task.name}: prior.sample left the bounds [{parameter.lower:g}, {parameter.upper:g}] "
                f"of {parameter.name} in {int(outside.sum())} of {len(values)} draws, such as "
                f"{values[outside][0]:g}; correct either."
            )
    with np.errstate(all="ignore"):
        lost = ~np.isfinite(task.prior.log_prob(first))
        if lost.any():
            raise TaskError(
                f"task {task.name}: prior.log_prob is not finite at {int(lost.sum())} of {len(first)} draws "
                f"of prior.sample, such as {first[lost][0]}: they lie outside of the prior's own support; "
                "correct sample or log_prob."
            )
        for i, parameter in enumerate(task.parameters):
            for bound, beyond in ((parameter.lower, -1.0), (parameter.upper, 1.0)):
                if np.isfinite(bound):
                    _require_no_density(task, first[0], i, bound + beyond)
    return of_parameters(task, first)


def _require_no_density(task: Task, theta: Array, i: int, value: float) -> None:
    """Raises TaskError unless the prior's density is zero where parameter i has a value out of its bounds."""
    outside = theta[None].copy()
    outside[0, i] = value
    log_p = float(task.prior.log_prob(outside)[0])
    if log_p != -np.inf:
        raise TaskError(
            f"task {task.name}: prior.log_prob at {task.parameter_names[i]} = {value:g}, outside its bounds, "
            f"is {log_p:g}, expected -inf."
        )

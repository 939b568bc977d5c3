"""The probe: a few rows of each fidelity before any fan-out, to measure and to stop on what is wrong.

All code of the user's runs in a child process under the time limit: building the task, its prior, its
simulator. Rows are simulated in batches of 1, 1, 2, 4, ... until there are enough of them or a third of the
limit is spent, so that a slow simulator is told from one that hangs. The seconds per row are those of the
last, largest batch. What is the user's own then runs a second time, with two processes at the same time.
"""

from __future__ import annotations

import json
import re
import resource
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from veridical import seeds, tasks
from veridical.bank import at_once, blocks, filling, validity, workers
from veridical.errors import SimulationError, SimulationTimeout, TaskError
from veridical.tasks.base import Array, FileTask, Task

_ENOUGH = 1 / 3
_ROW = 0.1  # of the time limit, for a row alone where the probe met one that hangs
_PRIOR_ROWS = 1000
_BATCHES = "batches.npz"  # x of each batch, where the simulator gives the same for the same seed


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
        found = _findings(blocks.simulate_block(task, root, fidelity, "train", 0, 0), 0.0, 0.0, True)
    else:
        _check_prior(task, root)
        batch = partial(_batch, task, fidelity, root)
        if alone:
            batch = partial(_alone, task, fidelity, root, _ROW * time_limit)
        found = _simulate(batch, rows, started + _ENOUGH * time_limit, files["progress"], keep=not alone)
    files["found.json"].write_text(json.dumps(found, allow_nan=False), encoding="utf-8")


def _simulate(
    batch: Callable[[int, int], blocks.Block], rows: int, until: float, progress: Path, *, keep: bool
) -> dict[str, Any]:
    """Simulates batches of growing size until there are `rows` rows or the time is spent."""
    done: list[blocks.Block] = []
    total = 0
    wall = cpu = 0.0
    while total < rows and (total < 2 or time.monotonic() < until):
        progress.write_text(f"{total} of {rows} rows were simulated", encoding="utf-8")
        size = max(1, min(total, rows - total))
        before = (time.perf_counter(), _cpu_seconds())
        done.append(batch(len(done), size))
        wall, cpu = time.perf_counter() - before[0], _cpu_seconds() - before[1]
        total += size
    seconds, cpu_seconds = wall / size, cpu / size
    middle = len(done) // 2
    first, again = (done[middle], batch(middle, len(done[middle].arrays["theta"])))
    same = np.array_equal(first.arrays["x"], again.arrays["x"], equal_nan=True)
    if same and keep:
        batches: dict[str, Any] = {str(i): block.arrays["x"] for i, block in enumerate(done)}
        np.savez(progress.with_name(_BATCHES), **batches)
    text = next((block.first_traceback for block in done if block.first_traceback), "")
    joined = blocks.Block(blocks.join([block.arrays for block in done]), text)
    return _findings(joined, seconds, cpu_seconds, same)


def _batch(task: Task, fidelity: str, root: int, batch: int, size: int) -> blocks.Block:
    """Simulates one batch; parameters, and the noise of a coupled task, are the same at every fidelity."""
    theta, path = _place(task, fidelity, root, batch, size)
    return blocks.simulate_at(task, theta, fidelity, root, "probe", *path)


def _place(
    task: Task, fidelity: str, root: int, batch: int, size: int
) -> tuple[Array, tuple[str | int, ...]]:
    """The parameters of a batch and the seed path of its noise."""
    theta = task.prior.sample(seeds.generator(root, "probe", str(task.name), "theta", batch), size)
    level = () if task.coupled else (fidelity,)
    return theta, (str(task.name), "noise", *level, batch)


def _alone(task: Task, fidelity: str, root: int, row_limit: float, batch: int, size: int) -> blocks.Block:
    """Simulates one batch with each row in a process; rows that end it are failed rows."""
    theta, path = _place(task, fidelity, root, batch, size)
    calls = [
        partial(blocks.simulate_at, task, theta[i : i + 1], fidelity, root, "probe", *path, i)
        for i in range(size)
    ]
    return filling.simulate_each(task, fidelity, theta, calls, row_limit)


def _simulator(spec: Mapping[str, Any], fidelity: str, root: int) -> Callable[[int, int], Array]:
    """Builds the task and returns the function from number and rows of a batch to its x."""
    task = tasks.build(spec)
    return lambda batch, size: _batch(task, fidelity, root, batch, size).arrays["x"]


def _cpu_seconds() -> float:
    """CPU time of this process and of those it has started and waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _findings(block: blocks.Block, seconds: float, cpu_seconds: float, reproducible: bool) -> dict[str, Any]:
    arrays = block.arrays
    counts = validity.status_counts(arrays["status"])
    rows = len(arrays["status"])
    warnings = []
    if not reproducible:
        warnings.append(
            "the simulator gave another x for the same seed; it uses a generator of its own, so that a bank "
            "cannot be made again bit by bit. Draw all randomness from the generator (or noise) that it gets."
        )
    x = arrays["x"][validity.valid(arrays)]
    if len(x) > 1 and (x == x[0]).all():
        warnings.append("x is the same in all rows: it depends on neither the parameters nor the noise.")
    return {
        "rows": rows,
        "seconds_per_row": seconds,
        "cpu_seconds_per_row": cpu_seconds,
        "bytes_per_row": sum(array.nbytes for array in arrays.values()) // rows,
        "counts": counts,
        "invalid_share": 1 - counts["ok"] / rows,
        "first_traceback": block.first_traceback,
        "reproducible": bool(reproducible),
        "warnings": warnings,
    }


def _check_prior(task: Task, root: int) -> None:
    """Raises TaskError on a prior whose draws, density and bounds do not agree."""
    first, second = (
        np.asarray(task.prior.sample(seeds.generator(root, "probe", str(task.name), "prior"), _PRIOR_ROWS))
        for _ in range(2)
    )
    if not np.array_equal(first, second):
        raise TaskError(
            f"task {task.name}: prior.sample gave other draws from an equal generator. Draw from `rng` only, "
            "or the fidelities get different parameters."
        )
    lower, upper = task.bounds.T
    if not ((first >= lower) & (first <= upper)).all():
        raise TaskError(f"task {task.name}: prior.sample left the bounds of the parameters; correct either.")
    with np.errstate(all="ignore"):
        if not np.isfinite(task.prior.log_prob(first)).all():
            raise TaskError(f"task {task.name}: prior.log_prob is not finite at draws of prior.sample.")
        for i, parameter in enumerate(task.parameters):
            for bound, beyond in ((parameter.lower, -1.0), (parameter.upper, 1.0)):
                if np.isfinite(bound):
                    _require_no_density(task, first[0], i, bound + beyond)


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

"""Stage simulate: one job fills one shard of the bank.

A shard is a sample of its fidelity. The job stops where the share of failed rows in it is beyond
`max_invalid` by five binomial standard deviations, which no shard of a fidelity within the limit would be;
the consumers of the bank hold the share over all rows they use against the limit itself
(`bank.require_valid`).
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from veridical import bank, seeds, tasks
from veridical.bank import blocks, shards
from veridical.bank import probe as probing
from veridical.bank.filling import ShardRows, simulate_rows
from veridical.files import write_json
from veridical.tasks.base import Array, Task
from veridical.version import VERSION


def probe(spec: Mapping[str, Any] | Task, path: str | Path, *, fidelity: str, **options: Any) -> None:
    """Tries a task at one fidelity, prints what matters and writes the result as JSON."""
    found = probing.run(spec, fidelity, **options)
    measured = found["fidelities"][fidelity]
    print(
        f"{found['task']}, fidelity {fidelity}: {measured['rows']} rows, {measured['seconds_per_row']:.2g} s "
        f"and {measured['bytes_per_row']} bytes per row, {measured['invalid_share']:.1%} failed"
    )
    for text in found["warnings"]:
        print(f"warning: {text}")
    for text in measured.get("notes", []):
        print(f"{found['task']}: {text}")
    write_json(path, found, indent=1)


def simulate_shard(
    spec: Mapping[str, Any] | Task,
    path: str | Path,
    rows: ShardRows,
    *,
    key: str,
    workers: int = 1,
    time_limit: float | None = None,
    max_invalid: float = 0.2,
) -> None:
    """Simulates rows and writes them as one shard.

    Arguments:
        spec: The task, as `tasks.build` takes it.
        path: The shard's file.
        rows: Which rows; blocks must be whole.
        key: The key of the bank, for the manifest.
        workers: Blocks simulated at a time.
        time_limit: Seconds that a block may take.
        max_invalid: Largest share of failed simulations.

    Raises:
        SimulationError: If the simulator dies, exceeds the limit or fails on too many rows.
        TaskError: If the task breaks its contract.
        BankError: If the shard cannot be written.
    """
    path, task = Path(path), _build(spec)
    started = time.perf_counter()
    path.parent.mkdir(parents=True, exist_ok=True)
    block = simulate_rows(
        task, rows, shards.temporary(path, "scratch"), workers=workers, time_limit=time_limit
    )
    counts = bank.status_counts(block.arrays["status"])
    where = f"{task.name}, {rows}"
    bank.require_plausible(where, counts, max_invalid, block.first_traceback)
    arrays = {name: array for name, array in block.arrays.items() if array.size}  # a class task has no theta
    bank.write(path, arrays, _manifest(task, rows, key, counts, block.first_traceback), _dims(task, arrays))
    seconds = time.perf_counter() - started
    print(
        f"{where}: {len(rows) - counts['ok']} failed, {seconds:.1f} s, {len(rows) / seconds:.0f} rows/s, "
        f"{path.stat().st_size / 1e6:.1f} MB in {path}"
    )


def _build(spec: Mapping[str, Any] | Task) -> Task:
    return spec if isinstance(spec, Task) else tasks.build(dict(spec))


# ---- the manifest ------------------------------------------------------------------------------------


def _manifest(
    task: Task, rows: ShardRows, key: str, counts: Mapping[str, int], first_traceback: str
) -> dict[str, Any]:
    """What the shard says of itself: which rows, how they fared, and all that could change them."""
    return {
        "task": str(task.name),
        "key": key,
        "fidelity": rows.fidelity,
        "split": rows.split,
        "replicate": rows.replicate,
        "first": rows.first,
        "last": rows.last,
        "block_rows": task.block_rows,
        "counts": counts,
        "n_invalid": len(rows) - counts["ok"],
        "first_traceback": first_traceback,
        "seeds": _seed_record(task, rows),
        **_description(task),
        **_machine(),
    }


def _seed_record(task: Task, rows: ShardRows) -> dict[str, Any]:
    """The spawn keys of the first and the last block, from which all others follow."""
    drawn = {"theta": blocks.theta_path(task, rows.split, rows.replicate)} if rows.given is None else {}
    paths = {**drawn, "noise": blocks.noise_path(task, *rows.place)}
    ends = (rows.first // task.block_rows, rows.last // task.block_rows)
    keys = {stage: [list(seeds.seed_key(stage, *path, end)) for end in ends] for stage, path in paths.items()}
    return {"root": rows.root, "coupled": task.coupled, **keys}


def _description(task: Task) -> dict[str, Any]:
    """Names, bounds and units of parameters and data; an infinite bound is null."""
    parameters = [
        {name: None if cell in (-inf, inf) else cell for name, cell in asdict(p).items() if name != "label"}
        for p in task.parameters
    ]
    dimensions = [{"name": d.name, "coordinates": d.coordinates, "unit": d.unit} for d in task.dimensions]
    return {"parameters": parameters, "dimensions": dimensions, "x_unit": task.x_unit}


def _machine() -> dict[str, Any]:
    """Versions and CPU features: a bank is bit-identical where these are equal."""
    simd = np.show_config(mode="dicts")["SIMD Extensions"]
    return {
        "versions": {"veridical": VERSION, "python": platform.python_version(), "numpy": np.__version__},
        "cpu": {
            "machine": platform.machine(),
            "features": [*simd.get("baseline", ()), *simd.get("found", ())],
        },
        "blas_threads": os.environ.get("OMP_NUM_THREADS", "all"),
    }


def _dims(task: Task, arrays: Mapping[str, Array]) -> dict[str, tuple[str, ...]]:
    """Names of the dimensions of each array; those of extra arrays are their own."""
    known = {
        "theta": ("row", "parameter"),
        "x": ("row", *(d.name for d in task.dimensions)),
        "status": ("row",),
    }
    return {
        name: known.get(name, ("row", *(f"{name}_{axis}" for axis in range(1, array.ndim))))
        for name, array in arrays.items()
    }

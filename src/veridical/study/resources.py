"""What jobs ask a scheduler for: memory, minutes, cores, GPUs. None of it decides a result.

The constants are measured (see docs/scaling.md) and generous, since a job that dies costs more than one that
asks for too much. The second attempt of a job asks for twice the memory and time, all further ones for four
times, in the rules.
"""

from __future__ import annotations

from math import ceil, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from veridical.files import read_json
from veridical.tasks.needs import Needs

if TYPE_CHECKING:
    from veridical.coordinates import Run
    from veridical.study.layout import Layout
    from veridical.tasks.base import Task

JOB_MB = 600  # the two Snakemakes of a cluster job and Python with numpy and zarr
TORCH_MB = 1500  # the same with torch and Lightning
SIMULATE_COPIES = 3  # of a shard's bytes, while it is simulated and written
TRAIN_COPIES = 6  # of the bytes of the training rows; 5.4 is measured
EXPERIMENT_MB = 3000  # of a batch of pseudo-experiments, beside its pool
POOL_COPIES = 1.5  # of the functions at a pool: the table, and what an experiment draws from it
EVENT_COPIES = 3  # of the bytes of one level of a pool, while its events are made or read
METRICS_MB = 2000  # the job that writes `metrics.csv`, beside its rows
METRICS_RUN_MB = 0.9  # of a run: some 400 rows of 2.2 kB
START_MINUTES = 10.0
TIME_MARGIN = 3.0  # of the measured time, for slower nodes


def simulation_needs(layout: Layout) -> Needs:
    """Returns what a simulation job needs: as the study says, else as the task does."""
    asked = layout.study.simulation.model_dump(include={"cores", "mem_mb", "seconds", "modules"})
    own = vars(layout.task.needs)
    return Needs(**{**own, **{name: value for name, value in asked.items() if value is not None}})


def cores(layout: Layout) -> int:
    """Returns the cores of a simulation job."""
    return simulation_needs(layout).cores


def probe_mb(layout: Layout) -> int:
    """Returns the memory of a job that tries a few simulations, in MB."""
    return JOB_MB + 2 * simulation_needs(layout).mem_mb


def probe_minutes(layout: Layout) -> int:
    """Returns the time limit of such a job."""
    return 10 + int(2 * layout.study.simulation.time_limit // 60)


def experiment_mb(layout: Layout) -> int:
    """Returns the memory of a batch of pseudo-experiments, in MB, with functions at its pool."""
    settings = layout.study.experiments
    pool, numbers = (settings.pool or 0) if settings else 0, 0
    for method in layout.methods.values():
        if members := method.setting("members"):
            templates = sum(map(len, method.setting("templates") or ()))
            numbers = max(numbers, (templates**2 or 2) * (members + 1))
    events = EVENT_COPIES * row_bytes(layout.task)
    return EXPERIMENT_MB + ceil(pool * (POOL_COPIES * numbers * 8 + events) / 1e6)


def pool_mb(layout: Layout) -> int:
    """Returns the memory of a job that makes the events of one level of a pool, in MB."""
    events = layout.study.experiments.pool if layout.study.experiments else None
    made = EVENT_COPIES * row_bytes(layout.task) * (events or 0)
    return TORCH_MB + simulation_needs(layout).mem_mb + ceil(made / 1e6)


def row_bytes(task: Task) -> int:
    """Returns the bytes of one row of a bank: theta, x and status."""
    return 8 * len(task.parameters) + prod(task.x_shape) * np.dtype(task.x_dtype).itemsize + 1


def simulate_mb(layout: Layout) -> int:
    """Returns the memory of a job that fills one shard, in MB."""
    needs = simulation_needs(layout)
    shard = row_bytes(layout.task) * layout.study.simulation.shard_rows
    return JOB_MB + needs.cores * needs.mem_mb + ceil(SIMULATE_COPIES * shard / 1e6)


def simulate_minutes(layout: Layout, fidelity: str, probe: str | Path) -> int:
    """Returns the time of a job that fills one shard, from the declared or the probed time of a row.

    Where a time-out is data, late blocks are redone row by row: each block may be late once, and as many rows
    as were late in the probe then wait for the whole limit.

    Raises:
        FileNotFoundError: If the probe decides and has not run yet.
    """
    needs, settings, task = simulation_needs(layout), layout.study.simulation, layout.task
    blocks = ceil(settings.shard_rows / task.block_rows)
    cores = min(needs.cores, blocks)
    seconds, waits = row_seconds(layout, fidelity, probe), settings.time_limit
    if task.timeout_is_data:
        measured = _probed(fidelity, probe)
        late = settings.shard_rows * measured["counts"]["timed_out"] / measured["rows"]
        waits += settings.time_limit * (ceil(blocks / cores) + ceil(late / needs.cores))
    work = TIME_MARGIN * seconds * settings.shard_rows / cores
    return ceil(START_MINUTES + (waits + work) / 60)


def row_seconds(layout: Layout, fidelity: str, probe: str | Path) -> float:
    """Returns the declared or the probed time of one simulation.

    Raises:
        FileNotFoundError: If the probe decides and has not run yet.
    """
    declared = simulation_needs(layout).seconds.get(fidelity)
    return float(_probed(fidelity, probe)["seconds_per_row"]) if declared is None else declared


def _probed(fidelity: str, probe: str | Path) -> dict[str, Any]:
    Path(probe).stat()  # Snakemake waits where the file is missing, and wants to know which
    found: dict[str, Any] = read_json(probe, "the record of a probe")["fidelities"][fidelity]
    return found


def train_mb(layout: Layout, run: Run) -> int:
    """Returns the memory of a job that trains a method, in MB; its rows lie in memory, but for a stream."""
    method = layout.methods[run.method]
    rows = sum(n for _, _, n in layout.parts(run)) + sum(method.round_rows[1:])
    megabytes = rows * row_bytes(layout.task) / 1e6
    held = min(megabytes, method.streaming) if isinstance(method.streaming, int) else megabytes
    return TORCH_MB + ceil(TRAIN_COPIES * held)


def metrics_mb(layout: Layout) -> int:
    """Returns the memory of the job that writes and judges the table of all runs, in MB.

    The draws that it reads pass in parts; what grows is the table, which is sorted as a whole.
    """
    return METRICS_MB + ceil(METRICS_RUN_MB * len(layout.runs))

"""Whole blocks, simulated in child processes.

Each block is simulated in a process of its own and handed over as a file in a scratch folder. A block over
the time limit fails the job, or, where a time-out is data, is redone with each row in a process and under
the limit of its own.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from veridical.bank import blocks, validity
from veridical.bank.blocks import Block
from veridical.bank.workers import Ended, run
from veridical.errors import SettingError, SimulationTimeout
from veridical.tasks.base import Array, FileTask, Task


@dataclass(frozen=True, kw_only=True)
class ShardRows:
    """The rows that one shard holds, and what their randomness follows from.

    Attributes:
        root: The root seed of the study.
        fidelity: The level.
        split: The base name of the split, such as `train`.
        replicate: The replicate; 0 for splits that all replicates share.
        first: The first row; blocks must be whole.
        last: The last row, included.
    """

    root: int
    fidelity: str
    split: str
    replicate: int = 0
    first: int
    last: int

    def __len__(self) -> int:
        """Number of rows."""
        return self.last - self.first + 1

    def __str__(self) -> str:
        return (
            f"fidelity {self.fidelity}, split {self.split}, replicate {self.replicate}, "
            f"rows {self.first}..{self.last}"
        )

    @property
    def place(self) -> tuple[str, str, int]:
        """Fidelity, split and replicate, which with root and block decide a block."""
        return self.fidelity, self.split, self.replicate


def simulate_rows(
    task: Task, rows: ShardRows, scratch: Path, *, workers: int = 1, time_limit: float | None = None
) -> Block:
    """Simulates whole blocks in child processes and returns their rows as one.

    Arguments:
        task: The task.
        rows: Which rows.
        scratch: A folder for results on their way; made here and removed in any case.
        workers: Blocks simulated at a time.
        time_limit: Seconds that a block may take.

    Raises:
        SettingError: If the rows are not whole blocks.
        SimulationError: If the simulator dies or exceeds the limit.
        TaskError: If the task breaks its contract.
    """
    numbers = whole_blocks(task, rows.split, rows.first, rows.last)
    scratch.mkdir(parents=True)
    try:
        files = {number: scratch / f"{number}.npz" for number in numbers}
        calls = [
            (
                number,
                partial(_to_file, file, partial(blocks.simulate_block, task, rows.root, *rows.place, number)),
            )
            for number, file in files.items()
        ]
        for number in _run(task, rows.fidelity, calls, workers, time_limit, task.timeout_is_data):
            _redo_late(task, rows, number, files[number], workers, time_limit)
        return _gather(files, rows, task.block_rows)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)  # must not hide the error that led here


def whole_blocks(task: Task, split: str, first: int, last: int) -> range:
    """Returns the numbers of the blocks that make up the rows first..last.

    Raises:
        SettingError: If the rows are not whole blocks; the end of a file of simulations may be short.
    """
    size = task.block_rows
    short_end = isinstance(task, FileTask) and last + 1 == task.available(split)
    if not 0 <= first <= last or first % size or ((last + 1) % size and not short_end):
        raise SettingError(
            f"rows {first}..{last} are no whole blocks of task {task.name}, which simulates {size} rows at "
            f"once; expected whole multiples of {size}. Set simulation.shard_rows to a multiple."
        )
    return range(first // size, last // size + 1)


def _to_file(file: Path, simulate: Callable[[], Block]) -> None:
    block = simulate()
    arrays: dict[str, Any] = {**block.arrays, "first_traceback": np.array(block.first_traceback)}
    np.savez(file, **arrays)


def _from_file(file: Path) -> Block:
    with np.load(file) as stored:
        arrays = {name: stored[name] for name in stored.files}
    return Block(arrays, str(arrays.pop("first_traceback")))


def _run(
    task: Task,
    fidelity: str,
    calls: Iterable[tuple[int, Callable[[], None]]],
    count: int,
    time_limit: float | None,
    tolerant: bool,
) -> list[int]:
    """Runs calls that simulate; returns the keys of those that were late, where this is data."""
    late: list[int] = []

    def ended(number: int, end: Ended) -> None:
        if end.how == "timed out" and tolerant:
            late.append(number)
        elif end.how == "timed out":
            raise SimulationTimeout(
                f"task {task.name} at fidelity {fidelity}: block {number} of {task.block_rows} rows "
                f"{end.text} Raise simulation.time_limit, or set the task's timeout_is_data if a hanging row "
                "is a failed simulation."
            )
        elif end.how != "done":
            raise end.exception(f"task {task.name} at fidelity {fidelity}: block {number}")

    run(calls, ended, workers=count, time_limit=time_limit)
    return sorted(late)


def _redo_late(
    task: Task, rows: ShardRows, number: int, file: Path, count: int, time_limit: float | None
) -> None:
    """Redoes a late block with each row in a process and under the limit of its own."""
    files = {row: file.with_name(f"{number}-{row}.npz") for row in range(task.block_rows)}
    one_row = partial(blocks.simulate_row, task, rows.root, *rows.place, number)
    calls = [(row, partial(_to_file, done, partial(one_row, row))) for row, done in files.items()]
    late = set(_run(task, rows.fidelity, calls, count, time_limit, tolerant=True))
    theta = blocks.draw_theta(task, rows.root, rows.split, rows.replicate, number)

    def one(row: int) -> Block:
        if row in late:
            return Block(blocks.failed_row(task, theta[row : row + 1], validity.TIMED_OUT))
        return _from_file(files[row])

    done = [one(row) for row in files]
    text = next((row.first_traceback for row in done if row.first_traceback), "")
    joined = blocks.join([row.arrays for row in done])
    _to_file(file, lambda: Block(joined, text))


def _gather(files: Mapping[int, Path], rows: ShardRows, block_rows: int) -> Block:
    """Reads the blocks one after another into arrays for all rows."""
    arrays: dict[str, Array] = {}
    text = ""
    for number, file in files.items():
        block = _from_file(file)
        start = number * block_rows - rows.first
        for name, array in block.arrays.items():
            if name not in arrays:
                hole = np.nan if array.dtype.kind == "f" else validity.HOLE
                arrays[name] = np.full((len(rows), *array.shape[1:]), hole, array.dtype)
            arrays[name][start : start + len(array)] = array
        text = text or block.first_traceback
    return Block(arrays, text)

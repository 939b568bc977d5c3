"""Whole blocks, simulated in child processes.

Each block is simulated in a process of its own and handed over as a file in a scratch folder. A block that
ends its process or is over the time limit is redone with each row in a process and under the limit of its
own, so that a rare row that crashes or hangs costs itself. Where no row alone does so, or many hang and a
time-out is no data, the job fails: a block that is slow or a machine that is ill says nothing of a row.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from veridical.bank import blocks, validity
from veridical.bank.blocks import Block
from veridical.bank.workers import Ended, run
from veridical.errors import BankError, SettingError, SimulationTimeout
from veridical.tasks.base import Array, FileTask, Task

RARE = 0.05  # share of rows of a block that may hang without being declared data
_PATIENCE = 3.0  # time limits, after which a block is redone no further that is only slow


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
        given: Their parameters (N, D) where they are not drawn from the prior.
    """

    root: int
    fidelity: str
    split: str
    replicate: int = 0
    first: int
    last: int
    given: Array | None = field(default=None, repr=False, compare=False)

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

    def theta(self, task: Task, block: int) -> Array:
        """Returns the parameters of one block, shape (N, D)."""
        if self.given is None:
            return blocks.draw_theta(task, self.root, self.split, self.replicate, block)
        first = block * task.block_rows - self.first
        return self.given[first : first + task.block_rows]


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
    numbers = whole_blocks(task, rows.split, rows.first, rows.last, short_end=rows.given is not None)
    scratch.mkdir(parents=True)
    try:
        here = scratch.absolute()  # for simulators that change directory
        files = {number: here / f"{number}.npz" for number in numbers}
        calls = [
            (
                number,
                partial(_to_file, file, partial(_block, task, rows, number)),
            )
            for number, file in files.items()
        ]
        for number, end in _run(task, rows.fidelity, calls, workers, time_limit).items():
            _redo(task, rows, number, files[number], workers, time_limit, end)
        return _gather(files, rows, task.block_rows)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)  # must not hide the error that led here


def _block(task: Task, rows: ShardRows, number: int) -> Block:
    given = None if rows.given is None else rows.theta(task, number)
    return blocks.simulate_block(task, rows.root, *rows.place, number, given)


def whole_blocks(task: Task, split: str, first: int, last: int, *, short_end: bool = False) -> range:
    """Returns the numbers of the blocks that make up the rows first..last.

    Raises:
        SettingError: If the rows are not whole blocks; the end of a file of simulations may be short.
    """
    size = task.block_rows
    short_end |= isinstance(task, FileTask) and last + 1 == task.available(split)
    if not 0 <= first <= last or first % size or ((last + 1) % size and not short_end):
        raise SettingError(
            f"rows {first}..{last} are no whole blocks of task {task.name}, which simulates {size} rows at "
            f"once; expected whole multiples of {size}. Set simulation.shard_rows to a multiple."
        )
    return range(first // size, last // size + 1)


def _to_file(file: Path, simulate: Callable[[], Block]) -> None:
    own = os.getpid()
    block = simulate()
    if os.getpid() != own:  # a fork of the simulator's that came back
        os._exit(0)
    arrays: dict[str, Any] = {**block.arrays, "first_traceback": np.array(block.first_traceback)}
    try:
        np.savez(file, **arrays)
    except OSError as error:
        raise BankError(
            f"{file}: simulations cannot be written: {error}. Make room and run again."
        ) from error


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
    what: str = "block",
    ended_one: Callable[[], None] = lambda: None,
) -> dict[int, Ended]:
    """Runs calls that simulate; returns by key how those ended that died by themselves or were late."""
    lost: dict[int, Ended] = {}

    def ended(number: int, end: Ended) -> None:
        ended_one()
        if end.how == "timed out" or end.error == "SimulationTimeout" or end.own_fault:
            lost[number] = end
        elif end.how != "done":
            raise end.exception(f"task {task.name} at fidelity {fidelity}: {what} {number}")

    run(calls, ended, workers=count, time_limit=time_limit)
    return dict(sorted(lost.items()))


def _redo(
    task: Task, rows: ShardRows, number: int, file: Path, count: int, time_limit: float | None, before: Ended
) -> None:
    """Redoes a block with each row in a process and under the limit of its own.

    Raises:
        VeridicalError: For the way the block ended, where rows alone do not account for it.
    """
    theta = rows.theta(task, number)
    files = {row: file.with_name(f"{number}-{row}.npz") for row in range(len(theta))}
    one_row = partial(blocks.simulate_row, task, rows.root, *rows.place, number)
    calls = [(row, partial(_to_file, done, partial(one_row, row, theta))) for row, done in files.items()]
    until = time.monotonic() + _PATIENCE * (time_limit or inf)

    def require_patience() -> None:
        if time.monotonic() > until and not before.own_fault and not task.timeout_is_data:
            raise _failure(task, rows, number, before)

    lost = _run(task, rows.fidelity, calls, count, time_limit, f"block {number}, row", require_patience)
    done = _with_lost(task, theta, files, lost)
    late = int((done.arrays["status"] == validity.TIMED_OUT).sum())
    if not task.timeout_is_data and (late > max(1, RARE * len(files)) or (not lost and not late)):
        raise _failure(task, rows, number, before)
    _to_file(file, lambda: done)


def _with_lost(task: Task, theta: Array, files: Mapping[int, Path], lost: Mapping[int, Ended]) -> Block:
    """Joins rows from files; those whose processes were lost are failed rows and say how."""

    def one(row: int) -> Block:
        if row not in lost:
            return _from_file(files[row])
        died = lost[row].own_fault
        text = f"The simulation of a row ended its process: {lost[row].text}." if died else ""
        status = validity.RAISED if died else validity.TIMED_OUT
        return Block(blocks.failed_row(task, theta[row : row + 1], status), text)

    done = [one(row) for row in files]
    text = next((row.first_traceback for row in done if row.first_traceback), "")
    return Block(blocks.join([row.arrays for row in done]), text)


def simulate_each(
    task: Task, fidelity: str, theta: Array, calls: Iterable[Callable[[], Block]], time_limit: float
) -> Block:
    """Simulates the rows of theta (N, D) by one call each, in a process and under a limit in seconds each.

    Raises:
        SimulationError: If a process is killed from outside.
        TaskError: If the task breaks its contract.
    """
    with TemporaryDirectory(prefix="veridical-rows-") as folder:
        files = {row: Path(folder, f"{row}.npz") for row in range(len(theta))}
        each = [(row, partial(_to_file, files[row], call)) for row, call in enumerate(calls)]
        return _with_lost(task, theta, files, _run(task, fidelity, each, 1, time_limit, "row"))


def _failure(task: Task, rows: ShardRows, number: int, end: Ended) -> Exception:
    """The error of a block that its rows do not account for."""
    where = f"task {task.name} at fidelity {rows.fidelity}: block {number}"
    if end.how != "timed out":
        return end.exception(where)
    return SimulationTimeout(
        f"{where} of {task.block_rows} rows {end.text} Raise simulation.time_limit, or set the task's "
        "timeout_is_data if a hanging row is a failed simulation."
    )


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

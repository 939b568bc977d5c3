"""Blocks: the unit of randomness, and the decision which simulations are valid.

Block b of a split holds the rows b * block_rows ... (b + 1) * block_rows - 1 and is always simulated whole.
Its randomness is named, not counted, so a bank is the same for any shard size, number of cores or retry:

    parameters           ("theta", task, split, replicate, block)
    noise, coupled       ("noise", task, split, replicate, block)             the same at every fidelity
    noise, otherwise     ("noise", task, fidelity, split, replicate, block)
    one row, redone      ("row", task, fidelity, split, replicate, block, row)

Parameters may also be given, as those that rounds propose are; the rest is the same.

Where a simulator raises, the block is redone row by row: a coupled row with its slice of the block's noise,
another with a generator of its own. Only the rows that raise again fail. All arrays that decide what a bank
holds are made here; whoever changes one raises `seeds.STREAMS`, which renames all banks.
"""

from __future__ import annotations

import copy
import errno
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from veridical import seeds
from veridical.bank.validity import NON_FINITE, OK, RAISED, TIMED_OUT
from veridical.errors import BankError, SimulationTimeout, TaskError, suggest
from veridical.tasks.base import DECLARE, Array, FileTask, Simulated, Task, as_arrays, usable

NO_NUMBER = "where an empty one is an observation, give a number that is always there, such as their count"
RESERVED = frozenset({"theta", "status", "row", "file", "first_traceback"})

_LONGEST_TRACEBACK = 4000
_SIGNALLED = tuple(128 + number for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM))


@dataclass(frozen=True)
class Block:
    """Simulated rows: `theta` (N, D), `x` (N, *x_shape), `status` (N,), others; and why the first one failed,
    the traceback where there is one.
    """

    arrays: dict[str, Array]
    first_traceback: str = ""


def simulate_block(
    task: Task,
    root: int,
    fidelity: str,
    split: str,
    replicate: int,
    block: int,
    given: Array | None = None,
) -> Block:
    """Simulates one block, failed rows included.

    Arguments:
        task: The task.
        root: The root seed.
        fidelity: The level.
        split: The base name of the split, such as `train`.
        replicate: The replicate; 0 for splits that all replicates share.
        block: The number of the block.
        given: Its parameters (N, D) where they are not drawn from the prior.

    Raises:
        TaskError: If the task breaks its contract: shapes, types, a prior that is not finite.
        SimulationTimeout: If the simulator is over its own time limit and this is no data.
    """
    if isinstance(task, FileTask):
        return _stored_block(task, root, split, replicate, block)
    theta = draw_theta(task, root, split, replicate, block) if given is None else given
    path = (*noise_path(task, fidelity, split, replicate), block)
    return simulate_at(task, theta, fidelity, root, "noise", *path)


def simulate_row(
    task: Task,
    root: int,
    fidelity: str,
    split: str,
    replicate: int,
    block: int,
    row: int,
    given: Array | None = None,
) -> Block:
    """Simulates one row as it is in a block that is redone row by row; `row` counts within the block."""
    theta = draw_theta(task, root, split, replicate, block) if given is None else given
    path = (*noise_path(task, fidelity, split, replicate), block)
    row_noise = _row_noise(task, len(theta), root, "noise", path)
    return _redo(task, theta, fidelity, row_noise, [row], timeout_is_data=True)


def simulate_at(task: Task, theta: Array, fidelity: str, root: int, stage: str, *path: str | int) -> Block:
    """Simulates given parameters (N, D) with the randomness that the seed path (stage, *path) names.

    Rows that raise, time out or are not finite hold NaN and say so in `status`.
    """
    rng = seeds.generator(root, stage, *path)
    noise = task.noise(rng, len(theta)) if task.coupled else rng
    return _simulate(task, theta, fidelity, noise, lambda: _row_noise(task, len(theta), root, stage, path))


@dataclass(frozen=True)
class Simulator:
    """The simulator of a task at one level, for methods that simulate at parameters of their own.

    Attributes:
        task: The task.
        fidelity: The level.
    """

    task: Task
    fidelity: str

    def __call__(self, theta: Array, rng: np.random.Generator) -> Array:
        """Returns x (N, *x_shape) at theta (N, D); rows that fail are NaN."""
        return self.block(theta, rng).arrays["x"]

    def block(self, theta: Array, rng: np.random.Generator) -> Block:
        """Simulates theta (N, D); rows that fail hold NaN and say so in `status`, as in a bank."""
        task = self.task
        noise: Any = task.noise(rng, len(theta)) if task.coupled else rng
        kept = copy.deepcopy(noise) if task.coupled else {}

        def row_noise() -> Callable[[int], Any]:
            return partial(_row_of, kept) if task.coupled else rng.spawn(len(theta)).__getitem__

        return _simulate(task, theta, self.fidelity, noise, row_noise)


def _simulate(task: Task, theta: Array, fidelity: str, noise: Any, row_noise: Callable[[], Any]) -> Block:
    """Simulates all rows in one call; where the simulator raises, one by one, each with noise of its own."""
    _require_fidelity(task, fidelity)
    try:
        with np.errstate(all="ignore"):
            simulated = task.simulate(theta.copy(), noise, fidelity)
    except (TaskError, BankError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        _require_its_own_fault(task, error)
        if isinstance(error, SimulationTimeout) and not task.timeout_is_data:
            raise
    else:
        return _checked(task, fidelity, theta, simulated)
    return _redo(task, theta, fidelity, row_noise(), range(len(theta)), timeout_is_data=task.timeout_is_data)


def noise_path(task: Task, fidelity: str, split: str, replicate: int) -> tuple[str | int, ...]:
    """Returns the seed path of a split's noise, without the block: coupled levels share it."""
    level = () if task.coupled else (fidelity,)
    return (str(task.name), *level, split, replicate)


def theta_path(task: Task, split: str, replicate: int) -> tuple[str | int, ...]:
    """Returns the seed path of a split's parameters, without the block."""
    return (str(task.name), split, replicate)


def draw_theta(task: Task, root: int, split: str, replicate: int, block: int) -> Array:
    """Returns the parameters of one block, shape (block_rows, D): the same at every fidelity."""
    rng = seeds.generator(root, "theta", *theta_path(task, split, replicate), block)
    theta = np.asarray(task.prior.sample(rng, task.block_rows), dtype=np.float64)
    expected = (task.block_rows, len(task.parameters))
    if theta.shape != expected:
        raise TaskError(f"task {task.name}: prior.sample gave shape {theta.shape}, expected {expected}.")
    if not np.isfinite(theta).all():
        raise TaskError(f"task {task.name}: prior.sample gave values that are not finite; mend the prior.")
    return theta


def _row_noise(
    task: Task, n: int, root: int, stage: str, path: tuple[str | int, ...]
) -> Callable[[int], Any]:
    """Returns the function that gives the noise of one row alone."""
    if task.coupled:
        noise = task.noise(seeds.generator(root, stage, *path), n)
        return partial(_row_of, noise)
    # Blocks keep the documented path; other stages are told apart by their name.
    prefix = () if stage == "noise" else (stage,)
    return lambda row: seeds.generator(root, "row", *prefix, *path, row)


def _row_of(noise: dict[str, Array], row: int) -> dict[str, Array]:
    return {name: array[row : row + 1].copy() for name, array in noise.items()}


def _redo(
    task: Task,
    theta: Array,
    fidelity: str,
    row_noise: Callable[[int], Any],
    rows: list[int] | range,
    *,
    timeout_is_data: bool,
) -> Block:
    """Simulates rows one by one; those that raise or time out are marked and filled with NaN."""
    done: dict[int, dict[str, Array]] = {}
    failed: dict[int, int] = {}
    first_traceback = ""
    for row in rows:
        one = theta[row : row + 1]
        try:
            with np.errstate(all="ignore"):
                simulated = task.simulate(one.copy(), row_noise(row), fidelity)
        except (TaskError, BankError, MemoryError):
            raise
        except (Exception, SystemExit) as error:
            _require_its_own_fault(task, error)
            timed_out = isinstance(error, SimulationTimeout)
            if timed_out and not timeout_is_data:
                raise
            failed[row] = TIMED_OUT if timed_out else RAISED
            first_traceback = first_traceback or traceback.format_exc()[-_LONGEST_TRACEBACK:]
        else:
            block = _checked(task, fidelity, one, simulated)
            done[row], first_traceback = block.arrays, first_traceback or block.first_traceback
    parts = [done.get(row) or failed_row(task, theta[row : row + 1], failed[row]) for row in rows]
    return Block(join(parts), first_traceback)


def _require_its_own_fault(task: Task, error: BaseException) -> None:
    """Raises what ended a simulation but says nothing of the row: a signal, a disk that is full or read-only.

    Raises:
        SystemExit: If this process was asked to end.
        BankError: If nothing can be written.
    """
    if isinstance(error, SystemExit) and error.code in _SIGNALLED:
        raise error
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise BankError(
                f"task {task.name}: the simulator cannot write: {cause}. That is no fault of a row: make "
                "room, or let it write where it may, such as below $TMPDIR, and run again."
            ) from error
        cause = cause.__cause__


def failed_row(task: Task, theta: Array, status: int) -> dict[str, Array]:
    """Returns the arrays of one row that failed: its parameters (1, D), NaN for x, the status."""
    x = np.full((1, *task.x_shape), np.nan, dtype=task.x_dtype)
    return {"theta": theta, "x": x, "status": np.array([status], dtype=np.uint8)}


def join(parts: list[dict[str, Array]]) -> dict[str, Array]:
    """Returns the rows of all parts as one; NaN where a part lacks an array that others have."""
    likes = {name: array for part in parts for name, array in part.items()}
    rows = sum(len(part["theta"]) for part in parts)
    joined = {
        name: np.full((rows, *like.shape[1:]), np.nan if like.dtype.kind == "f" else 0, like.dtype)
        for name, like in likes.items()
    }
    first = 0
    for part in parts:
        last = first + len(part["theta"])
        for name, array in part.items():
            joined[name][first:last] = array
        first = last
    return joined


def _checked(task: Task, fidelity: str, theta: Array, simulated: Simulated) -> Block:
    """Returns what the simulator gave in the types of the bank, with rows that are not finite set to NaN.

    In x single numbers may be missing, where a dimension says so.

    Raises:
        TaskError: If an array has a wrong shape, type or name.
    """
    arrays: dict[str, Array] = {}
    where = f"task {task.name} at fidelity {fidelity}"
    if np.dtype(task.x_dtype).kind != "f":
        raise TaskError(f"{where}: x_dtype is {task.x_dtype}, expected a float type: a failed row holds NaN.")
    for name, array in as_arrays(simulated).items():
        if not str(name).isidentifier() or name in RESERVED:
            raise TaskError(f"{where}: simulate returned an array named {name!r}; choose another name.")
        expected = (len(theta), *(task.x_shape if name == "x" else array.shape[1:]))
        if array.shape != expected:
            raise TaskError(
                f"{where}: simulate returned {name!r} of shape {array.shape}, expected {expected}: one row "
                f"per row of theta{', each as the dimensions say' if name == 'x' else ''}."
            )
        if array.dtype.kind not in "fiub":
            raise TaskError(
                f"{where}: simulate returned {name!r} of type {array.dtype}, expected real numbers."
            )
        dtype = task.x_dtype if name == "x" else array.dtype if array.dtype.kind == "f" else np.float64
        with np.errstate(all="ignore"):
            arrays[name] = np.array(array, dtype=dtype)
    finite = np.ones(len(theta), dtype=bool)
    for name, array in arrays.items():
        finite &= usable(array, task.has_missing and name == "x")
    why = _of_missing(task, arrays["x"][~finite])
    for array in arrays.values():
        array[~finite] = np.nan
    status = np.where(finite, OK, NON_FINITE).astype(np.uint8)
    return Block({"theta": np.asarray(theta, dtype=np.float64), **arrays, "status": status}, why)


def _of_missing(task: Task, failed: Array) -> str:
    """Says of rows of x that failed what missing numbers may have to do with it, if they may."""
    gone = np.isnan(failed).reshape(len(failed), int(np.prod(task.x_shape)))
    if task.has_missing and gone.all(axis=1).any():
        return f"A row of x without any number counts as failed; {NO_NUMBER}."
    some = gone[gone.any(axis=1) & ~gone.all(axis=1)]
    if task.has_missing or not len(some):
        return ""
    return (
        f"x holds NaN in {int(some[0].sum())} of its {some.shape[1]} numbers. If those are missing values "
        f"and no failures, {DECLARE}."
    )


def _stored_block(task: FileTask, root: int, split: str, replicate: int, block: int) -> Block:
    """Returns the rows of one block of a task whose simulations lie in a file; the last may be short."""
    first = block * task.block_rows
    last = min(first + task.block_rows, task.available(split)) - 1
    rows = task.rows(split, replicate, first, max(first, last), root=root)
    simulated = {name: array for name, array in rows.items() if name != "theta"}
    return _checked(task, next(iter(task.fidelities)), rows["theta"], simulated)


def _require_fidelity(task: Task, fidelity: str) -> None:
    if fidelity not in task.fidelities:
        raise TaskError(
            f"task {task.name} has no fidelity {fidelity!r}. {suggest(fidelity, task.fidelities)}"
        )

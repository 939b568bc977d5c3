"""Whether simulations that run at the same time give what they give one at a time.

Simulators of the user's may share what they should not: files of fixed names in a folder, a port, a lock. Two
child processes simulate batches of the probe again, each having built the task itself, as the jobs of a bank
do. They begin each batch together, so that they meet wherever they can.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing import Barrier
from pathlib import Path
from threading import BrokenBarrierError
from typing import Protocol

import numpy as np

from veridical.bank import workers
from veridical.errors import SimulationError
from veridical.tasks.base import Array

AT_ONCE = 2
_MEET_SECONDS = 30.0  # for which one process waits for the other
_AGAIN_SECONDS = 2.0  # quick simulators go round again, to meet each other more often


class _Meeting(Protocol):
    """A barrier, in whichever module it is defined."""

    def wait(self, timeout: float | None = None) -> int: ...

    def abort(self) -> None: ...


def require_the_same(
    what: str, simulate: Callable[[], Callable[[int, int], Array]], batches: Path, time_limit: float
) -> None:
    """Simulates batches at the same time and compares them with what came one at a time.

    Arguments:
        what: Task and level, for messages.
        simulate: Builds the task and returns the function from number and rows of a batch to its x (N, ...).
        batches: An npz of x (N, ...) by number of the batch, as simulated one at a time.
        time_limit: Seconds that it may take.

    Raises:
        SimulationError: If a batch differs, or a process does not end well.
    """
    files = [batches.with_name(f"at-once-{k}.npy") for k in range(AT_ONCE)]
    meeting = Barrier(AT_ONCE)
    calls = [(k, partial(_compare, simulate, batches, k, file, meeting)) for k, file in enumerate(files)]

    def ended(k: int, end: workers.Ended) -> None:
        if end.how != "done":
            raise end.exception(f"{what}: with {AT_ONCE} simulations at the same time, number {k + 1}")

    workers.run(calls, ended, workers=AT_ONCE, time_limit=time_limit)
    rows, differ = np.sum([np.load(file) for file in files], axis=0)
    if differ:
        raise SimulationError(
            f"{what}: expected the same x whether simulations run one at a time or {AT_ONCE} at the same "
            f"time; {differ} of {rows} rows differ. They share something, such as files of fixed names "
            "beside the program, in the home folder or in /tmp. Let the simulator write into a new folder "
            "each time (a program is started in one, which $TMPDIR lies beside) and keep nothing elsewhere."
        )


def _compare(
    simulate: Callable[[], Callable[[int, int], Array]],
    batches: Path,
    first: int,
    found: Path,
    meeting: _Meeting,
) -> None:
    """Simulates every second batch and leaves the numbers of rows and of those that differ."""
    one_batch = simulate()
    rows = differ = 0
    with np.load(batches) as stored:
        expected = {int(name): stored[name] for name in stored.files[first::AT_ONCE]}
    until = time.monotonic() + _AGAIN_SECONDS
    try:
        while expected and (not rows or time.monotonic() < until):
            for number, x in expected.items():
                with suppress(BrokenBarrierError):  # the other has ended, or is slow
                    meeting.wait(_MEET_SECONDS)
                again = one_batch(number, len(x))
                same = (again == x) | (np.isnan(again) & np.isnan(x))
                rows += len(x)
                differ += int((~same.reshape(len(x), -1).all(axis=1)).sum())
    finally:
        meeting.abort()
    np.save(found, np.array([rows, differ]))

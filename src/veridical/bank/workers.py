"""Calls in forked child processes, under a time limit, of which none outlives its parent.

Each call gets a process with a process group of its own; its results go to a file that the call names. The
whole group is killed when the call ends, fails or exceeds the limit, so that grandchildren go too; a call
that is cut short first gets SIGTERM and a moment for its `finally` clauses. A child holds the read end of a
pipe, the lifeline: when the parent is gone, however it went, the child ends its group the same way. In the
parent, SIGTERM and SIGHUP become SystemExit. On Linux, daemons that calls leave end with the last call.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn, TypeVar

from veridical import errors
from veridical.errors import SimulationError, SimulationTimeout, VeridicalError

Key = TypeVar("Key", bound=Hashable)

_LONGEST_TEXT = 20_000
_LONGEST_WAIT = 1.0
_GRACE_SECONDS = 1.0
_POLL_SECONDS = 0.01
_ADOPT = 36  # PR_SET_CHILD_SUBREAPER of Linux
_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


@dataclass(frozen=True)
class Ended:
    """How a call in a child process ended.

    Attributes:
        how: `done`; `raised` an exception; `died` of a signal or an exit; `timed out`.
        error: Name of the exception's class.
        text: The exception's message, or how the process died.
        traceback: The exception's traceback.
    """

    how: Literal["done", "raised", "died", "timed out"]
    error: str = ""
    text: str = ""
    traceback: str = ""

    @property
    def own_fault(self) -> bool:
        """Whether a process died of what it did itself, and not of a signal that ends jobs."""
        outside = ("SIGKILL", "SIGTERM", "SIGHUP", "SIGINT")
        return self.how == "died" and not any(name in self.text for name in outside)

    def exception(self, what: str) -> VeridicalError:
        """Returns the error to raise where `what` did not end well; one of this package keeps its class."""
        if self.how == "timed out":
            return SimulationTimeout(f"{what} {self.text}")
        if self.how == "died":
            return SimulationError(f"{what} ended without a result: {self.text}.")
        kind = getattr(errors, self.error, None)
        if isinstance(kind, type) and issubclass(kind, VeridicalError):
            return kind(self.text)
        return SimulationError(f"{what} raised {self.error}: {self.text}\n{self.traceback}")


@dataclass
class _Child:
    key: Any
    pid: int
    pipe: int
    deadline: float
    message: bytes = field(default=b"")
    reaped: bool = False
    exit_code: int = 0


def run(
    calls: Iterable[tuple[Key, Callable[[], None]]],
    ended: Callable[[Key, Ended], None],
    *,
    workers: int = 1,
    time_limit: float | None = None,
) -> None:
    """Runs calls in child processes, at most `workers` at a time, and reports each as it ends.

    Arguments:
        calls: Keys and functions without arguments; each leaves its result in a file.
        ended: Gets the key and how the call ended; an exception that it raises kills all that run.
        workers: How many at a time.
        time_limit: Seconds per call; no limit where None.
    """
    waiting = iter(calls)
    running: dict[int, _Child] = {}
    lifeline = os.pipe()
    with _signals_raise(), _no_strays():
        try:
            while True:
                while len(running) < workers and (item := next(waiting, None)) is not None:
                    child = _start(*item, lifeline, time_limit)
                    running[child.pipe] = child
                if not running:
                    return
                for child, end in _wait(running, time_limit):
                    del running[child.pipe]
                    _end([child], gently=end.how == "timed out")
                    ended(child.key, end)
        finally:
            _end(list(running.values()), gently=True)
            os.close(lifeline[0])
            os.close(lifeline[1])


@contextmanager
def _no_strays() -> Iterator[None]:
    """Ends what calls have left behind outside of their process groups, and says so; where Linux lets us.

    Such processes become children of this one when their parents end.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    before, prctl = _children(), ctypes.CDLL(None).prctl
    prctl(_ADOPT, 1, 0, 0, 0)
    ended = 0
    try:
        yield
    finally:
        while strays := _children() - before:
            for pid in strays:
                with suppress(ProcessLookupError, ChildProcessError):
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except PermissionError:  # of another user, by now
                        before.add(pid)
                        continue
                    ended += os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        prctl(_ADOPT, 0, 0, 0, 0)
    if ended:
        print(f"note: {ended} processes that simulations had left behind were ended.")


def _children() -> set[int]:
    """Numbers of this process's children."""
    found: set[int] = set()
    for thread in os.listdir("/proc/self/task"):
        with suppress(OSError), open(f"/proc/self/task/{thread}/children") as names:
            found.update(map(int, names.read().split()))
    return found


@contextmanager
def _signals_raise() -> Iterator[None]:
    """Turns SIGTERM and SIGHUP into SystemExit, in the main thread (only there can handlers be set)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _exit) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _exit(number: int, frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def _start(
    key: Hashable, call: Callable[[], None], lifeline: tuple[int, int], time_limit: float | None
) -> _Child:
    read, write = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        # Python 3.12 warns of any fork beside threads; those of BLAS and zarr hold no lock here.
        warnings.simplefilter("ignore", DeprecationWarning)
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)  # else a child may raise in here
        try:
            pid = os.fork()
            if pid == 0:
                os.close(read)
                os.close(lifeline[1])
                _be_child(call, write, lifeline[0])
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    os.close(write)
    with suppress(ProcessLookupError, PermissionError):
        os.setpgid(pid, pid)
    return _Child(key, pid, read, time.monotonic() + (time_limit or float("inf")))


def _be_child(call: Callable[[], None], pipe: int, lifeline: int) -> NoReturn:
    """Runs the call, sends how it ended as one line of JSON, and exits without returning."""
    report: dict[str, str] = {"how": "raised"}
    own = os.getpid()
    try:
        os.setpgid(0, 0)
        for number in _ENDING:
            signal.signal(number, _exit)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
        call()
        report = {"how": "done"}
    except BaseException as error:
        report |= {"error": type(error).__name__, "text": str(error)[:_LONGEST_TEXT]}
        report["traceback"] = traceback.format_exc()[-_LONGEST_TEXT:]
    finally:
        if os.getpid() != own:  # a fork of the call's that came back here, with nothing to report
            os._exit(0)
        try:
            sys.stdout.flush()
            sys.stderr.flush()
            with os.fdopen(pipe, "wb") as stream:
                stream.write(json.dumps(report).encode() + b"\n")
        finally:
            os._exit(0)


def _end_with_parent(lifeline: int) -> None:
    """Waits until no process holds the write end of the lifeline, then ends this process's group."""
    os.read(lifeline, 1)
    os.killpg(0, signal.SIGTERM)
    time.sleep(_GRACE_SECONDS)
    os.killpg(0, signal.SIGKILL)


def _wait(running: dict[int, _Child], time_limit: float | None) -> list[tuple[_Child, Ended]]:
    """Waits for news and returns the children that ended, died or are over their time."""
    left = min(child.deadline for child in running.values()) - time.monotonic()
    ready, _, _ = select.select(list(running), [], [], min(max(left, 0.0), _LONGEST_WAIT))
    news = []
    for child in running.values():
        end = _report(child) if child.pipe in ready else _death(child)
        if end is None and time.monotonic() >= child.deadline:
            end = Ended("timed out", text=f"took longer than the time limit of {time_limit:g} s.")
        if end is not None:
            news.append((child, end))
    return news


def _report(child: _Child) -> Ended | None:
    """Reads what a child sent; None until the line is complete."""
    sent = os.read(child.pipe, 1 << 16)
    child.message += sent
    if child.message.endswith(b"\n"):
        return Ended(**json.loads(child.message))
    return None if sent else _death(child)


def _death(child: _Child) -> Ended | None:
    """Returns how a child ended without a report; None while it lives or its report is still on its way."""
    if not child.reaped:
        pid, status = os.waitpid(child.pid, os.WNOHANG)
        if pid == 0:
            return None
        child.reaped, child.exit_code = True, os.waitstatus_to_exitcode(status)
    if select.select([child.pipe], [], [], 0)[0] and (sent := os.read(child.pipe, 1 << 16)):
        child.message += sent
        return Ended(**json.loads(child.message)) if child.message.endswith(b"\n") else None
    code = child.exit_code
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
    return Ended("died", text=how + (", perhaps for lack of memory" if code == -signal.SIGKILL else ""))


def _end(children: list[_Child], *, gently: bool) -> None:
    """Kills what is left of the process groups of children and forgets the children."""
    if gently:
        for child in children:
            _signal(child, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_SECONDS
        while time.monotonic() < deadline and not all([_reap(child, os.WNOHANG) for child in children]):
            time.sleep(_POLL_SECONDS)
    for child in children:
        _signal(child, signal.SIGKILL)
        _reap(child, 0)
        os.close(child.pipe)


def _signal(child: _Child, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


def _reap(child: _Child, options: int) -> bool:
    if not child.reaped:
        child.reaped = os.waitpid(child.pid, options)[0] != 0
    return child.reaped

"""A private folder for the running state of one training, held by a lease so that two jobs never share it.

The folder's name is a digest of all that decides the training. The lease is a file with its holder's
host, process and a token of its own; a thread of the holder touches it every `TOUCH_SECONDS`, whatever the
holder does. It is stale once its holder is known to be dead (same host), or has not touched it for
`STALE_SECONDS` (another host, by the file server's clock); who finds it untouched waits that long. Of all
jobs that find one lease stale, exactly one takes it over: the one that creates `taken-{token}`.

A job that finds a living holder can wait for it: two Snakemakes, one of them killed with its jobs still
running, then share one training. The holder that ends well leaves its last state to those who wait, so that
they have nothing left to train.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from stat import S_ISGID
from types import TracebackType
from typing import Any

from veridical import seals
from veridical.errors import ArtifactError, TrainingError

STALE_SECONDS = 120.0
TOUCH_SECONDS = 10.0
POLL_SECONDS = 1.0
OUTPUT = "output.txt"  # in the folder: where the training will put its results


class CheckpointFolder:
    """The running state of one training, for one holder at a time.

    A context manager: entering takes the lease, leaving gives it back. The state itself stays until
    `clear`.

    Arguments:
        folder: The folder; it is made where it does not exist.
        stale_seconds: After how long without a sign of life the lease of another host is stale.
        save_seconds: Least time between two saved states, so that short epochs cost nothing.
        wait_seconds: How long to wait, on entering, for another job that holds the folder.

    Raises:
        TrainingError: On entering, if another job still holds the folder after that time.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        stale_seconds: float = STALE_SECONDS,
        save_seconds: float = 10.0,
        wait_seconds: float = math.inf,
    ) -> None:
        self.folder = Path(folder)
        self.state = self.folder / "state.ckpt"
        self.lease = self.folder / "lease.json"
        self.stale_seconds = stale_seconds
        self.save_seconds = save_seconds
        self.wait_seconds = wait_seconds
        self.token = uuid.uuid4().hex
        self._saved = time.monotonic()
        self._left = threading.Event()

    def __enter__(self) -> CheckpointFolder:
        self._wait()
        threading.Thread(target=self._live, name=f"lease of {self.folder}", daemon=True).start()
        for rest in self.folder.glob("state-*.tmp"):
            rest.unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()
        if self._holder().get("token") == self.token:
            self.lease.unlink(missing_ok=True)

    def require(self) -> None:
        """Raises TrainingError unless this job still holds the lease."""
        if not self.lease.exists():
            raise TrainingError(
                f"{self.lease}: expected to hold this lease, but it is gone: somebody removed the folder "
                "of a training that runs. Run it again."
            )
        if self._holder().get("token") != self.token:
            raise TrainingError(
                f"{self.lease}: expected to hold this lease, but another job took it over, since this one "
                f"gave no sign of life for {self.stale_seconds:g} s; run only one of the two."
            )

    def due(self) -> bool:
        """Whether it is time to save the state again."""
        return time.monotonic() - self._saved >= self.save_seconds

    def save(self, write: Callable[[Path], Any]) -> None:
        """Replaces the saved state by what `write` writes to the path it is given, at once or not at all."""
        self.require()
        draft = self.folder / f"state-{self.token}.tmp"
        write(draft)
        seals.append(draft)
        if (
            group := self.folder.stat().st_gid
        ) != draft.stat().st_gid and self.folder.stat().st_mode & S_ISGID:
            os.chown(draft, -1, group)  # Lightning writes elsewhere and moves, past the folder's setgid bit
        with draft.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(draft, self.state)
        self._saved = time.monotonic()

    def saved(self) -> Path | None:
        """Returns the saved state, None where there is none; a damaged one is set aside, and said so."""
        if not self.state.exists():
            return None
        try:
            if seals.require(self.state):
                return self.state
        except ArtifactError:
            pass
        aside = self.state.with_suffix(".damaged")
        os.replace(self.state, aside)
        print(f"{self.state}: damaged; set aside as {aside.name}, the training starts over")
        return None

    def clear(self) -> None:
        """Removes the folder, to be called when the results of the training are safely elsewhere.

        Where another job waits for it, the folder stays for that one, with the last state.

        Raises:
            TrainingError: If this job does not hold the lease any more.
        """
        self.require()
        if not any(self._fresh(mark) for mark in self.folder.glob("waiting-*")):
            shutil.rmtree(self.folder, ignore_errors=True)

    def _live(self) -> None:
        """Shows that the holder lives, until it leaves."""
        while not self._left.wait(TOUCH_SECONDS):
            with suppress(OSError):  # the file server does not answer just now; `require` tells what is lost
                if self._holder().get("token") == self.token:
                    os.utime(self.lease)

    def _fresh(self, mark: Path) -> bool:
        """Whether a mark was touched lately."""
        try:
            return self._now() - mark.stat().st_mtime <= self.stale_seconds
        except FileNotFoundError:
            return False

    def _wait(self) -> None:
        """Makes this job the holder, after a living one if need be."""
        until, mark = time.monotonic() + self.wait_seconds, self.folder / f"waiting-{self.token}"
        try:
            while (why := self._refused()) is not None:
                if time.monotonic() >= until:
                    raise TrainingError(f"{self.folder}: {why}")
                if not mark.exists():
                    print(f"waits for the lease of {self.folder}: {why}")
                self.folder.mkdir(parents=True, exist_ok=True)
                mark.touch()
                time.sleep(POLL_SECONDS)
        finally:
            mark.unlink(missing_ok=True)

    def _refused(self) -> str | None:
        """Tries to make this job the holder; says why it could not, None where it is."""
        claim = json.dumps(
            {"host": _host(), "pid": os.getpid(), "born": _born(os.getpid()), "token": self.token}
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with self.lease.open("x", encoding="utf-8") as stream:
                stream.write(claim)
            return None
        except FileExistsError:
            holder = self._holder()
        except FileNotFoundError:  # the holder has just removed the folder
            return "it was removed at this moment; try again."
        where = f"host {holder.get('host')}, process {holder.get('pid')}"
        where = where if holder else "who it is cannot be read from the lease"
        if not self._dead(holder):
            return f"another job trains the same estimator ({where}); wait for it, or end it and try again."
        try:
            taken = self.folder / f"taken-{holder.get('token') or self.lease.stat().st_mtime_ns}"
        except FileNotFoundError:
            return "it was given back at this moment; try again."
        try:
            taken.touch(exist_ok=False)
        except FileExistsError:
            why = f"another job is taking over the lease of a dead one ({where})"
            if taken.exists() and not self._fresh(taken):
                raise TrainingError(f"{self.folder}: {why}, but died itself; remove this folder.") from None
            return f"{why}."
        draft = self.folder / f"claim-{self.token}"
        draft.write_text(claim, encoding="utf-8")
        os.replace(draft, self.lease)
        return None

    def _holder(self) -> dict[str, Any]:
        try:
            found = json.loads(self.lease.read_text(encoding="utf-8"))
            told = isinstance(found, dict) and type(found.get("pid")) is int and "born" in found
            return found if told and str(found.get("token")).isalnum() else {}
        except (FileNotFoundError, ValueError):  # given back, just being written, or damaged
            return {}

    def _dead(self, holder: dict[str, Any]) -> bool:
        """Whether the holder is gone; watches the lease of another host until it is touched or stale."""
        if holder.get("host") == _host():
            born = _born(int(holder["pid"]))
            return born is None or born != holder["born"]
        try:
            last = self.lease.stat().st_mtime
            while self._now() - last <= self.stale_seconds:
                time.sleep(min(POLL_SECONDS, self.stale_seconds))
                if self.lease.stat().st_mtime != last:
                    return False
            return True
        except FileNotFoundError:
            return False

    def _now(self) -> float:
        """The file server's clock."""
        clock = self.folder / f"clock-{self.token}"
        clock.touch()
        try:
            return clock.stat().st_mtime
        finally:
            clock.unlink(missing_ok=True)


def _host() -> str:
    """Names the machine since its last start, and the space of process numbers on it."""
    marks = [socket.gethostname()]
    if Path("/proc/self/ns/pid").exists():
        marks += [
            Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            os.readlink("/proc/self/ns/pid"),
        ]
    return " ".join(marks)


def _born(pid: int) -> str | None:
    """When a process of this machine started, None if there is no such process."""
    if not Path("/proc/self/stat").exists():  # no Linux: whether it is there has to do
        return _alive(pid)
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else fields[19]


def _alive(pid: int) -> str | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # it runs, as another user
    return "alive"

"""Leases: one holder at a time, the dead are succeeded, the living are not."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from veridical.errors import TrainingError
from veridical.training import checkpoints
from veridical.training.checkpoints import CheckpointFolder

DEAD = {"host": "elsewhere", "pid": 1, "born": "0", "token": "old"}


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def lease(folder: Path, age: float = 0.0, **changes: object) -> Path:
    path = folder / "lease.json"
    path.write_text(json.dumps({**DEAD, **changes}))
    then = time.time() - age
    os.utime(path, (then, then))
    return path


def test_a_lease_is_taken_and_given_back(tmp_path: Path) -> None:
    with CheckpointFolder(tmp_path / "a" / "b") as folder:
        holder = json.loads(folder.lease.read_text())
        assert holder["pid"] == os.getpid() and socket.gethostname() in holder["host"]
        folder.require()
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_two_jobs_never_hold_one_folder(tmp_path: Path) -> None:
    with CheckpointFolder(tmp_path):
        with pytest.raises(TrainingError, match=f"another job trains .*process {os.getpid()}"):
            CheckpointFolder(tmp_path, wait_seconds=0).__enter__()
        assert (tmp_path / "lease.json").exists(), "the one that failed must not give back the other's lease"
        assert not list(tmp_path.glob("waiting-*"))


def test_who_waits_for_a_living_holder_gets_its_last_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checkpoints, "POLL_SECONDS", 0.01)
    first, second = CheckpointFolder(tmp_path / "run"), CheckpointFolder(tmp_path / "run")
    held: list[str] = []

    def wait_and_read() -> None:
        with second:
            held.append(second.state.read_text()[: len("finished")])
            second.clear()

    waiting = threading.Thread(target=wait_and_read)
    with first:
        waiting.start()
        until(lambda: list(first.folder.glob("waiting-*")))
        assert held == [], "both held the folder"
        first.save(lambda path: path.write_text("finished"))
        first.clear()
    waiting.join()
    assert held == ["finished"]
    assert not first.folder.exists(), "the one that waited clears up"
    assert f"process {os.getpid()}" in capsys.readouterr().out


def dead_process() -> int:
    """The number of a process that has ended."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    return ended.pid


@pytest.mark.parametrize("holder", ["dead process", "process number used again", "stale, another machine"])
def test_the_lease_of_a_dead_holder_is_taken_over_at_once(tmp_path: Path, holder: str) -> None:
    here = checkpoints._host()
    changes = {
        "dead process": {"host": here, "pid": dead_process()},
        "process number used again": {"host": here, "pid": os.getpid(), "born": "long ago"},
        "stale, another machine": {"age": 1000},
    }[holder]
    lease(tmp_path, **changes)
    with CheckpointFolder(tmp_path, stale_seconds=500, wait_seconds=0) as folder:
        folder.require()


def test_a_fresh_lease_of_another_machine_is_watched_until_it_is_touched(tmp_path: Path) -> None:
    path = lease(tmp_path, age=5)
    threading.Timer(0.05, os.utime, [path]).start()
    with pytest.raises(TrainingError, match="host elsewhere"):
        CheckpointFolder(tmp_path, stale_seconds=100, wait_seconds=0).__enter__()


def test_a_fresh_lease_of_another_machine_that_stays_silent_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "POLL_SECONDS", 0.02)
    lease(tmp_path)
    with CheckpointFolder(tmp_path, stale_seconds=0.1) as folder:
        folder.require()


def test_of_two_that_find_one_lease_stale_only_one_takes_it_over(tmp_path: Path) -> None:
    lease(tmp_path, age=1000)
    (tmp_path / "taken-old").touch()  # the other one is just about to write its own lease
    with pytest.raises(TrainingError, match="is taking over"):
        CheckpointFolder(tmp_path, stale_seconds=100, wait_seconds=0).__enter__()
    then = time.time() - 1000
    os.utime(tmp_path / "taken-old", (then, then))
    with pytest.raises(TrainingError, match="died itself; remove this folder"):
        CheckpointFolder(tmp_path, stale_seconds=100).__enter__()


def test_who_lost_the_lease_writes_no_more(tmp_path: Path) -> None:
    with CheckpointFolder(tmp_path) as folder:
        folder.save(lambda path: path.write_text("mine"))
        lease(tmp_path)
        with pytest.raises(TrainingError, match="took it over"):
            folder.save(lambda path: path.write_text("late"))
        with pytest.raises(TrainingError, match="took it over"):
            folder.clear()
    assert (tmp_path / "state.ckpt").read_text().startswith("mine")
    assert (tmp_path / "lease.json").exists()


def test_the_lease_is_renewed_whatever_the_holder_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "TOUCH_SECONDS", 0.01)
    with CheckpointFolder(tmp_path) as folder:
        (beat,) = (thread for thread in threading.enumerate() if thread.name == f"lease of {tmp_path}")
        os.utime(folder.lease, (1, 1))
        until(lambda: folder.lease.stat().st_mtime > 1)
        lost = lease(tmp_path)
        time.sleep(0.2)  # a beat that has just looked may still touch it
        os.utime(lost, (1, 1))
        time.sleep(0.1)
        assert lost.stat().st_mtime == 1, "that of another job is not"
    beat.join(10)
    assert not beat.is_alive(), "it goes on after the end"


def test_a_folder_removed_under_its_holder_is_told(tmp_path: Path) -> None:
    with CheckpointFolder(tmp_path / "run") as folder:
        shutil.rmtree(folder.folder)
        with pytest.raises(TrainingError, match="it is gone"):
            folder.require()


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"[]", b"{", b'{"pid": 1}', b'{"token": "../x", "pid": 1}']
)
def test_a_lease_that_cannot_be_read_is_stale_in_time_and_each_can_be_taken_over(
    content: bytes, tmp_path: Path
) -> None:
    """Its writer died, or its disk was full, before the first byte; or a bit flipped."""
    for age in (1000, 2000):
        lease(tmp_path, age=age).write_bytes(content)
        os.utime(tmp_path / "lease.json", (time.time() - age,) * 2)
        with CheckpointFolder(tmp_path, stale_seconds=500, wait_seconds=0) as folder:
            folder.require()


def test_the_mark_of_a_waiter_that_was_killed_keeps_nothing(tmp_path: Path) -> None:
    with CheckpointFolder(tmp_path / "run", stale_seconds=500) as folder:
        mark = folder.folder / "waiting-dead"
        mark.touch()
        folder.clear()
        assert mark.exists(), "it may still live"
        os.utime(mark, (time.time() - 1000,) * 2)
        folder.clear()
    assert not folder.folder.exists()


def test_a_failed_save_leaves_the_old_state_and_the_next_holder_removes_the_rest(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    with CheckpointFolder(tmp_path) as folder:
        folder.save(lambda path: path.write_text("whole"))
        with pytest.raises(OSError, match="space"):
            folder.save(fail)
        assert folder.state.read_text().startswith("whole")
    with CheckpointFolder(tmp_path):
        assert not list(tmp_path.glob("state-*"))


def test_states_are_saved_no_more_often_than_asked(tmp_path: Path) -> None:
    with CheckpointFolder(tmp_path, save_seconds=1000) as folder:
        assert not folder.due()
        folder.save_seconds = 0
        assert folder.due()

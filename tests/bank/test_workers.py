"""Worker processes: every end of a call is told apart, and nothing outlives the job."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.bank.small_tasks import has_ended
from veridical.bank import workers
from veridical.bank.workers import Ended
from veridical.errors import SimulationError, SimulationTimeout, TaskError


def run_all(calls: dict[str, Callable[[], object]], **options: float) -> dict[str, Ended]:
    ends: dict[str, Ended] = {}
    workers.run(calls.items(), ends.__setitem__, **options)  # type: ignore[arg-type]
    return ends


def fail(error: BaseException) -> None:
    raise error


def with_grandchild(folder: Path) -> None:
    """Starts a process that would run on, notes its number, and waits for it."""
    child = subprocess.Popen(["sleep", "1000"])
    (folder / "pid").write_text(str(child.pid))
    child.wait()


def test_each_end_is_told_apart() -> None:
    ends = run_all(
        {
            "done": lambda: None,
            "raised": partial(fail, ValueError("no such star")),
            "own": partial(fail, TaskError("wrong shape")),
            "exited": partial(sys.exit, 3),
            "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
            "gone": partial(os._exit, 7),
        },
        workers=3,
    )
    assert ends["done"].how == "done"
    assert {ends[key].how for key in ("raised", "own", "exited")} == {"raised"}
    assert {ends[key].how for key in ("killed", "gone")} == {"died"}
    assert "no such star" in ends["raised"].traceback
    assert (
        "SIGKILL, perhaps for lack of memory" in ends["killed"].text and "exit status 7" in ends["gone"].text
    )
    assert type(ends["own"].exception("block 1")) is TaskError
    assert "block 1 raised SystemExit" in str(ends["exited"].exception("block 1"))
    assert isinstance(ends["gone"].exception("block 1"), SimulationError)


def test_a_call_over_the_limit_is_killed_with_its_grandchildren(tmp_path: Path) -> None:
    calls = {"late": partial(with_grandchild, tmp_path), "quick": lambda: None}
    ends = run_all(calls, time_limit=1.5, workers=2)
    assert ends["quick"].how == "done"
    assert ends["late"].how == "timed out"
    assert isinstance(ends["late"].exception("block 1"), SimulationTimeout)
    assert has_ended(int((tmp_path / "pid").read_text()))


def test_a_call_that_ignores_signals_is_killed_all_the_same() -> None:
    def stubborn() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        while True:
            signal.pause()

    assert run_all({"late": stubborn}, time_limit=0.1)["late"].how == "timed out"


def test_a_call_cut_short_gets_to_clean_up(tmp_path: Path) -> None:
    def tidy() -> None:
        try:
            signal.pause()
        finally:
            (tmp_path / "clean").write_text("")

    run_all({"late": tidy}, time_limit=1.0)
    assert (tmp_path / "clean").exists()


def test_a_signal_right_after_the_fork_stays_in_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits until the child can report it, and never unwinds the copy of what called."""
    fork, own = os.fork, os.getpid()

    def struck() -> int:
        if (pid := fork()) == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return pid

    monkeypatch.setattr(os, "fork", struck)
    try:
        (end,) = run_all({"struck": lambda: None}).values()
    finally:
        if os.getpid() != own:
            os._exit(3)
    assert end.how == "raised" and "SystemExit" in end.error
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_grandchild_left_behind_is_killed_when_its_call_is_done(tmp_path: Path) -> None:
    def leave() -> None:
        child = subprocess.Popen(["sleep", "1000"])
        (tmp_path / "pid").write_text(str(child.pid))
        child.returncode = 0  # as if it had been waited for

    assert run_all({"done": leave})["done"].how == "done"
    assert has_ended(int((tmp_path / "pid").read_text()))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux lets a process adopt others")
def test_a_daemon_left_behind_is_ended_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def leave() -> None:
        command = f"setsid sh -c 'echo $$ > {tmp_path}/pid; sleep 1000 & sleep 1000' > /dev/null 2>&1 &"
        subprocess.run(["sh", "-c", command], check=True)
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
            pass

    assert run_all({"done": leave})["done"].how == "done"
    assert has_ended(int((tmp_path / "pid").read_text()))
    assert re.search(r"note: [123] processes that simulations had left behind", capsys.readouterr().out)


def test_no_more_than_the_allowed_number_run_at_a_time(tmp_path: Path) -> None:
    def count(name: str) -> None:
        (tmp_path / name).write_text("")
        seen = len(list(tmp_path.iterdir()))
        (tmp_path / name).unlink()
        assert seen <= 2

    ends = run_all({str(i): partial(count, str(i)) for i in range(12)}, workers=2)
    assert {end.how for end in ends.values()} == {"done"}


def test_an_error_of_the_caller_ends_the_others(tmp_path: Path) -> None:
    calls = {"bad": partial(fail, ValueError("stop")), "long": partial(with_grandchild, tmp_path)}

    def ended(key: str, end: Ended) -> None:
        raise end.exception(key)

    with pytest.raises(SimulationError, match="bad raised ValueError: stop"):
        workers.run(calls.items(), ended, workers=2)
    pid = tmp_path / "pid"
    text = pid.read_text() if pid.exists() else ""  # it may have been ended before it had written
    assert not text or has_ended(int(text))


JOB = """
import os, signal, subprocess, sys
from veridical.bank import workers
def call():
    child = subprocess.Popen(["sleep", "1000"])
    os.kill(os.getppid(), getattr(signal, sys.argv[1]))
    child.wait()
workers.run([(i, call) for i in range(2)], print, workers=2)
"""


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGKILL", -9)])
def test_nothing_outlives_a_job_that_gets_a_signal(name: str, code: int) -> None:
    """All descendants hold the pipe to this test: it ends when, and only when, the last of them has ended."""
    job = subprocess.Popen(
        [sys.executable, "-c", JOB, name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output, _ = job.communicate(timeout=30)
    assert job.returncode == code, output


def test_handlers_of_the_caller_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    run_all({"done": lambda: None})
    assert signal.getsignal(signal.SIGTERM) is before

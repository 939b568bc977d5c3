"""What surrounds every job: its log, its message, its exit status, its clean-up when it is told to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from veridical import job
from veridical.errors import SimulationError


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """Puts back what `job.run` does to signals."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def make(folder: Path) -> SimpleNamespace:
    return SimpleNamespace(rule="simulate", log=[str(folder / "logs/deep/simulate.log")])


def run(main: Callable[[Any], None], snakemake: SimpleNamespace) -> tuple[int, str]:
    """Exit status and log of a job."""
    try:
        job.run(main, snakemake)
    except SystemExit as end:
        return end.code, Path(snakemake.log[0]).read_text()
    return 0, Path(snakemake.log[0]).read_text()


def test_a_job_gets_its_snakemake_and_logs_both_outputs_and_its_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def main(snakemake: Any) -> None:
        print("rule", snakemake.rule)
        print("beware", file=sys.stderr)

    code, log = run(main, make(tmp_path))
    assert code == 0
    assert log.startswith("rule simulate\nbeware\ndone in ")
    told = job.LAST.fullmatch(log.splitlines()[-1])
    assert told is not None and (sys.platform != "linux" or float(told[3]) > 10)
    assert capsys.readouterr() == ("", "")
    print("back on the terminal")
    assert capsys.readouterr().out == "back on the terminal\n"


def test_an_error_that_a_reader_can_mend_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def main(snakemake: Any) -> None:
        print("so far so good")
        raise SimulationError("rows 0..9: 30 % failed, expected at most 20 %. Mend the simulator.")

    code, log = run(main, make(tmp_path))
    sentence = "SimulationError: rows 0..9: 30 % failed, expected at most 20 %. Mend the simulator.\n"
    assert code == 1
    assert log.startswith(f"so far so good\n{sentence}failed after ")
    assert job.LAST.fullmatch(log.splitlines()[-1])
    told = capsys.readouterr().err
    assert told == f"\nsimulate ({tmp_path}/logs/deep/simulate.log):\n{sentence}"
    assert "Traceback" not in told


def test_any_other_error_comes_with_its_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def main(snakemake: Any) -> None:
        [].pop()

    code, log = run(main, make(tmp_path))
    assert code == 1
    for text in (log, capsys.readouterr().err):
        assert "Traceback" in text
        assert "IndexError: pop from empty list" in text


def test_a_new_attempt_replaces_the_log(tmp_path: Path) -> None:
    snakemake = make(tmp_path)
    run(lambda _: print("first"), snakemake)
    assert "first" not in run(lambda _: print("second"), snakemake)[1]


JOB = """
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from veridical import job

def main(snakemake):
    folder = Path(snakemake.folder)
    print("working")
    try:
        (folder / "working").touch()
        signal.pause()
    finally:
        (folder / "clean").touch()

job.run(main, SimpleNamespace(rule="train", log=[sys.argv[1] + "/job.log"], folder=sys.argv[1]))
"""


def test_a_polite_kill_runs_all_clean_up(tmp_path: Path) -> None:
    source = str(Path(job.__file__).parents[1])
    command = [sys.executable, "-c", JOB, str(tmp_path)]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": source}, stderr=subprocess.PIPE)
    try:
        while not (tmp_path / "working").exists():
            assert process.poll() is None, process.communicate()[1]
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGTERM
    assert (tmp_path / "clean").exists()
    assert (tmp_path / "job.log").read_text().startswith("working\nstopped after ")


def test_what_child_processes_print_is_in_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shell = ["sh", "-c", "echo one; echo two >&2"]
    code, log = run(lambda _: subprocess.run(shell, check=True), make(tmp_path))
    assert code == 0
    assert log.startswith("one\ntwo\ndone in ")
    assert capfd.readouterr() == ("", "")


def test_terminal_and_log_get_no_control_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def main(snakemake: Any) -> None:
        subprocess.run(["printf", "a program\\033]0;title\\007\\tsays"], check=True)
        raise SimulationError("\x1b[2J\rall is well\x9b1m\u202e")

    _, log = run(main, make(tmp_path))
    told = capsys.readouterr().err
    for text in (log, told):
        assert "\\x1b[2J\\rall is well\\x9b1m\\u202e" in text
        assert all(c.isprintable() or c in "\n\t" for c in text)
    assert log.startswith("a program\\x1b]0;title\\x07\tsays") and job.LAST.fullmatch(log.splitlines()[-1])


def test_a_job_that_says_nothing_touches_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "LIFE_SECONDS", 0.01)

    def main(snakemake: Any) -> None:
        path, end = Path(snakemake.log[0]), time.monotonic() + 30
        os.utime(path, (1.0, 1.0))
        while path.stat().st_mtime == 1.0:
            assert time.monotonic() < end
            time.sleep(0.01)

    assert run(main, make(tmp_path))[0] == 0

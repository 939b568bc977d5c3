"""How far a study is, from planted files: counts, sentences of failures, time left, no control characters."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest

from veridical.__main__ import main
from veridical.progress import logs, status
from veridical.progress.estimates import time_left
from veridical.progress.jobs import Job, jobs
from veridical.study import settings
from veridical.study.layout import Layout

CONFIG = Path(__file__).parents[2] / "config"


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A study of which nothing is there; the test works in the folder where it would run."""
    monkeypatch.chdir(tmp_path)
    return Layout(settings.load(CONFIG / "gaussian.yaml", "smoke"), scale="smoke")


def one(layout: Layout, rule: str) -> Job:
    return next(job for job in jobs(layout) if job.rule == rule)


def write(path: str, text: str, age: float = 0.0) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    os.utime(path, (time.time() - age,) * 2)


def finish(job: Job) -> None:
    for path in job.outputs:
        write(path, "")


def shown(layout: Layout, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["status", str(CONFIG / "gaussian.yaml"), "--scale", layout.scale]) == 0
    return capsys.readouterr().out


def row(text: str, stage: str) -> list[int]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"{stage} ")]
    return [int(number) for number in line.split()[1:]]


def test_states_are_counted_by_stage_and_nothing_is_written(
    layout: Layout, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    probed = {"fidelities": {layout.target: {"seconds_per_row": 1.0}}}
    write(one(layout, "probe").outputs[0], json.dumps(probed))
    write(one(layout, "simulate").log, "rows 0..9\n")
    write(
        one(layout, "train").log,
        "Traceback ...\nTrainingError: loss is nan.\nfailed after 3.50 s\n",
    )
    write(one(layout, "observe").log, "done in 1.00 s\n")  # its file was removed since
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    text = shown(layout, capsys)
    assert row(text, "simulate") == [1, 1, 1, 0]
    assert row(text, "observe") == [0, 0, 3, 0]
    assert row(text, "train") == [0, 0, 0, 1]
    assert row(text, "all") == [1, 1, len(jobs(layout)) - 3, 1]
    assert re.search(r"^More than .* left; 1 at once\.$", text, flags=re.MULTILINE)  # by the probe alone
    assert ": TrainingError: loss is nan.\n" in text
    assert f"  log: {one(layout, 'train').log}\n" in text
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


def test_control_characters_of_a_log_are_shown_as_escapes(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "SimulationError: \x1b]0;title\x07 \x1b[2J\x9b1m\u202e all is well\nfailed after 3.50 s\n"
    write(one(layout, "simulate").log, said)
    text = shown(layout, capsys)
    assert r"SimulationError: \x1b]0;title\x07 \x1b[2J\x9b1m\u202e all is well" in text
    assert all(c.isprintable() or c == "\n" for c in text)


@pytest.mark.parametrize(
    ("said", "age", "state", "sentence"),
    [
        ("rows 0..9\ndone in 2.00 s\n", 900, "done", "rows 0..9"),
        ("", 0, "running", ""),
        ("step 5\n", 100, "running", "step 5"),
        ("step 5\n", 900, "lost", "step 5"),
        ("step 5\nstopped after 2.00 s\n", 0, "stopped", "step 5"),
        ("x: 1\nBankError: bad.\n  Mend.\nfailed after 2.00 s\n", 0, "failed", "BankError: bad. Mend."),
        ("Traceback (...):\n  x = 1\nValueError: bad\nfailed after 2.00 s\n", 0, "failed", "ValueError: bad"),
        (f"BankError: {'x' * 999}\nfailed after 2.00 s\n", 0, "failed", f"BankError: {'x' * 589} ..."),
    ],
)  # fmt: skip
def test_a_log_tells_how_its_job_ended(
    tmp_path: Path, said: str, age: float, state: str, sentence: str
) -> None:
    write(str(tmp_path / "a.log"), said, age)
    told = logs.read(tmp_path / "a.log", time.time())
    assert told is not None
    assert (told.state, told.sentence) == (state, sentence)
    assert told.seconds == (2.0 if state in ("done", "stopped", "failed") else None)


def test_a_log_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    assert logs.read(tmp_path / "none.log", time.time()) is None
    (tmp_path / "a.log").write_bytes(b"\xff\xfe\x00" * 40_000 + b"\nfailed after 2.00 s\n")
    told = logs.read(tmp_path / "a.log", time.time())
    assert told is not None and told.state == "failed" and told.sentence.isprintable()


def test_killed_and_stopped_jobs_count_as_failed_and_say_so(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    write(one(layout, "train").log, "step 5\n", age=900)
    write(one(layout, "probe").log, "stopped after 2.00 s\n")
    text = shown(layout, capsys)
    assert row(text, "all")[3] == 2
    assert "no sign of life since" in text
    assert "was stopped from outside at" in text


def test_a_folder_is_done_only_when_its_job_is(layout: Layout) -> None:
    figures = one(layout, "figures")
    Path(figures.outputs[0]).mkdir(parents=True)
    write(figures.log, "drawing\n")
    assert [seen.state for seen in status.look([figures], time.time())] == ["running"]
    write(figures.log, "drawing\ndone in 2.00 s\n")
    assert [seen.state for seen in status.look([figures], time.time())] == ["done"]


def test_many_failures_are_cut_and_counted(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    for job in jobs(layout):
        write(job.log, "ValueError: no\nfailed after 2.00 s\n")
    distinct = len({job.log for job in jobs(layout)})
    assert distinct == len(jobs(layout))
    assert f"... and {distinct - 20} more." in shown(layout, capsys)


def test_a_finished_study_tells_its_report(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    for job in jobs(layout):
        finish(job)
    text = shown(layout, capsys)
    assert text.endswith(f"All is there: {layout.report}/report.html\n")
    assert row(text, "all") == [len(jobs(layout)), 0, 0, 0]


def test_time_left_is_that_of_measured_jobs() -> None:
    seconds = {"train": 100.0, "check": 10.0}
    assert time_left({"train": 2, "check": 1}, {"train": 2}, seconds) == "about 3 min left"
    assert time_left({"check": 3}, {}, seconds) == "about 30 s left"
    assert time_left({"check": 3, "report": 1}, {}, seconds) == "more than 30 s left"
    assert time_left({"report": 1}, {}, seconds) == "time left not known yet"


def test_a_folder_of_results_tells_study_and_scale(
    layout: Layout, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write(one(layout, "simulate").log, "rows 0..9\n")
    (tmp_path / layout.results).mkdir(parents=True)
    assert main(["status", f"{layout.results}/"]) == 1
    assert "expected a study's file, or its folder of results" in capsys.readouterr().err
    (tmp_path / "config").symlink_to(CONFIG)
    text = shown(layout, capsys)
    assert main(["status", f"{tmp_path}/{layout.results}/"]) == 0
    assert capsys.readouterr().out == text
    (tmp_path / "gaussian").mkdir()
    assert main(["status", "gaussian"]) == 1
    assert main(["status", "config"]) == 1


def test_a_study_that_is_not_there_is_said(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "config/none.yaml"]) == 1
    assert "config/none.yaml" in capsys.readouterr().err

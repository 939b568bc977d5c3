"""What a user sees of a run, from records as Snakemake's logger hands them on, without a run."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake.logging import DefaultFormatter
from snakemake_interface_logger_plugins.common import LogEvent

import snakemake_logger_plugin_veridical as plugin
from veridical.progress import watch
from veridical.study import collections

CONFIG = Path(__file__).parents[2] / "config"
ASKED = {"dryrun", "verbose", "quiet", "printshellcmds", "debug_dag", "show_failed_logs", "nocolor", "stdout"}
STATS = {"simulate": 2, "train": 1, "veridical_report": 1, "all": 1, "total": 5}
RESULTS = Path("results/gaussian@smoke")
TRAIN = RESULTS / "logs/train/npe/n2000-r0.log"
SHARD = Path("results/bank/gaussian-0/logs/model/test/rows.log")
SENTENCE = "TrainingError: loss is nan. Lower the learning rate."


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Run:
    """A plugin that hears records, and what it has shown."""

    def __init__(self, **options: Any) -> None:
        self.handler = plugin.LogHandler(SimpleNamespace(**(dict.fromkeys(ASKED, False) | options)), None)
        self.handler.setFormatter(DefaultFormatter())

    def hear(self, text: str | None = None, level: int = logging.INFO, **attributes: Any) -> None:
        record = logging.LogRecord("snakemake.logging", level, "", 0, text, None, None)
        vars(record).update(attributes)
        self.handler.handle(record)

    def begin(self, stats: dict[str, int] = STATS, **resources: Any) -> None:
        study = collections.load(CONFIG / "gaussian.yaml", "smoke")
        self.hear("", study=study)
        self.hear("Provided", event=LogEvent.RESOURCES_INFO, **resources)
        self.hear("Job stats: ...", event=LogEvent.RUN_INFO, stats=stats)

    def start(self, number: int, rule: str, log: Path, local: bool = False) -> None:
        event = LogEvent.JOB_INFO
        self.hear(" Rule ...", event=event, jobid=number, rule_name=rule, log=[str(log)], local=local)

    def finish(self, number: int) -> None:
        self.hear("Finished ...", event=LogEvent.JOB_FINISHED, job_id=number)
        self.show()

    def show(self) -> None:
        if self.handler.watch is not None:
            self.handler.show(self.handler.watch)

    def fail(self, number: int, rule: str, *logs: Path, note: str | None = None) -> None:
        asked = {"event": LogEvent.JOB_ERROR, "jobid": number, "rule_name": rule, "rule_msg": note}
        self.hear("Error in rule ...", logging.ERROR, log=[str(path) for path in logs], **asked)

    def shown(self) -> str:
        stream = self.handler.screen.stream
        assert isinstance(stream, io.StringIO)
        return stream.getvalue()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Makes a run in an empty folder, on a terminal or not."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(plugin, "TICK_SECONDS", 1000.0)  # the test calls `show`
    monkeypatch.setattr(watch, "duration", lambda _: "0 s")  # however busy the machine

    def make(terminal: bool = False, **options: Any) -> Run:
        monkeypatch.setattr(sys, "stderr", Terminal() if terminal else io.StringIO())
        return Run(**options)

    return make


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    later = time.time() + 5
    os.utime(path, (later, later))


def test_a_run_to_its_verdict_in_plain_lines(run: Callable[..., Run]) -> None:
    told = run()
    told.hear("Building DAG of jobs...")
    told.hear("Creating conda environment envs/cpu.yaml...")
    told.begin()
    for number in (1, 2):
        told.hear("Select jobs to execute...")
        told.start(number, "simulate", SHARD)
        write(SHARD, f"done in {number}.00 s\n")
        told.finish(number)
    told.start(3, "train", TRAIN)
    write(TRAIN, f"{SENTENCE}\nfailed after 3.50 s\n")
    told.fail(3, "train", TRAIN)
    told.hear("Trying to restart job 3.")
    told.start(3, "train", TRAIN)
    write(TRAIN, "done in 9.00 s\n")
    told.finish(3)
    told.start(4, "veridical_report", RESULTS / "logs/report/report.log")
    write(RESULTS / "logs/report/report.log", "done in 0.50 s\n")
    verdicts = [
        {"method": "npe", "dataset": f"d{i}", "verdict": "trust", "summary": "Passed."} for i in range(12)
    ]
    write(RESULTS / "verdict.json", json.dumps({"verdicts": verdicts}))
    told.finish(4)
    told.start(5, "all", Path("none"), local=True)
    told.finish(5)
    told.handler.close()
    said = told.shown()
    assert said.startswith(
        "Creating conda environment envs/cpu.yaml...\n"
        "Study gaussian (smoke): results/gaussian@smoke\n"
        "4 jobs to do: simulate 2, train 1, report 1\nFull log: none\n"
        "   0 s   0%  0/4 jobs, time left not known yet | simulate 0/2 | train 0/1 | report 0/1\n"
        "   0 s  50%  2/4 jobs, time left not known yet | simulate 2/2 | train 0/1 | report 0/1\n"
        f"FAILED train/npe/n2000-r0: see above\n  log: {TRAIN}\ntrain/npe/n2000-r0 will be started again.\n"
        "   0 s  75%  3/4 jobs, time left not known yet | simulate 2/2 | train 1/1 | report 0/1\n"
    )
    assert (
        "\nFinished: 4 of 4 jobs done in 0 s.\nSlowest: train/npe/n2000-r0 9.0 s, simulate model/test/rows "
        in said
    )
    assert "\nVerdict:\n  npe on d0: trust. Passed.\n" in said and "d10" not in said
    assert (
        f"... and 2 more in the report.\nReport: {Path.cwd() / RESULTS}/report.html\nFull log: none\n" in said
    )
    assert "\r" not in said and "\033" not in said


def test_a_terminal_shows_one_line_that_is_replaced(
    run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = run(terminal=True)
    told.begin()
    told.start(3, "train", TRAIN)
    told.show()
    told.handler.close()
    live = [line for line in told.shown().split("\r") if "train 0/1 1" in line]
    assert live and all(len(line) <= 79 + len("\033[K") and "\n" not in line for line in live)
    assert "\r\033[K\nFailed: 0 of 4 jobs done" in told.shown()
    for name, value in (("TERM", "dumb"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
        assert not run(terminal=True).handler.screen.live
        monkeypatch.undo()


def test_a_cluster_lets_jobs_wait_and_says_why_they_end(run: Callable[..., Run]) -> None:
    told = run()
    told.begin(nodes=100)
    write(TRAIN, f"{SENTENCE}\nfailed after 1.00 s\n")  # of an earlier run
    os.utime(TRAIN, (0, 0))
    told.start(1, "simulate", SHARD)
    told.start(3, "train", TRAIN)
    assert told.handler.watch is not None
    assert "| simulate 0/2 1 queued | train 0/1 1 queued |" in told.handler.watch.line()
    write(TRAIN, "step 5\n")
    told.handler.watch._looked = 0.0
    assert "| simulate 0/2 1 queued | train 0/1 1 running |" in told.handler.watch.line()
    write(TRAIN, f"{SENTENCE}\nfailed after 1.00 s\n")
    told.hear("SLURM run ID: 1-2")
    told.hear("Job 3 has been submitted with SLURM jobid 7 (log: ...).")
    slurm = Path(".snakemake/slurm_logs/7.log")
    told.fail(3, "train", TRAIN, slurm, note="SLURM-job '7' failed, SLURM status is: 'FAILED'.")
    told.fail(1, "simulate", SHARD, note="SLURM status is: 'NODE_FAIL'.")
    told.hear("sacct does not answer.", logging.WARNING)
    told.hear(
        "WorkflowError:\nAt least one job did not complete successfully.", logging.ERROR, event=LogEvent.ERROR
    )
    told.handler.close()
    failed = f"{SENTENCE} SLURM-job '7' failed, SLURM status is: 'FAILED'."
    lost = "left no log: it could not be started, or was killed at once. SLURM status is: 'NODE_FAIL'."
    said = told.shown()
    assert f"SLURM run ID: 1-2\nFAILED train/npe/n2000-r0: {failed}\n  log: {TRAIN}, {slurm}\n" in said
    assert f"FAILED simulate model/test/rows: {lost}\n" in said and "\nsacct does not answer.\n" in said
    assert said.endswith(
        "\nFailed: 0 of 4 jobs done in 0 s.\n2 failed:\n"
        f"  simulate model/test/rows: {lost}\n    log: {SHARD}\n"
        f"  train/npe/n2000-r0: {failed}\n    log: {TRAIN}\n"
        "2 not done. The same command again goes on from here.\nFull log: none\n"
    )


@pytest.mark.parametrize("nodes", [None, 100])
def test_what_could_not_be_made_is_told_and_the_run_is_incomplete(
    run: Callable[..., Run], nodes: int | None
) -> None:
    told = run()
    told.begin({"predict": 1, "check": 1, "outcome": 1, "all": 1}, **({"nodes": nodes} if nodes else {}))
    logs = [RESULTS / f"logs/{name}.log" for name in ("infer/a", "check/a", "report/outcome")]
    sentences = [
        "SimulationError: all failed.",
        "Unchecked: a.npz could not be made: SimulationError: all failed.",
    ]
    for number, rule in enumerate(("predict", "check")):
        told.start(number, rule, logs[number])
        write(logs[number], f"{sentences[number]}\nfailed after 1.00 s\n")
        told.finish(number)
    told.start(2, "outcome", logs[2], local=True)
    write(logs[2], "Unchecked: the report lacks ...\nfailed after 0.10 s\n")
    told.fail(2, "outcome", logs[2])
    write(RESULTS / "verdict.json", json.dumps({"verdicts": []}))
    told.handler.close()
    said = told.shown()
    live = "predict infer/a could not be made, and the study goes on: SimulationError: all failed.\n"
    assert (live in said) == (nodes is not None)
    assert "\nIncomplete: 2 of 3 jobs done in 0 s.\n" in said
    assert (
        f"\n1 could not be made:\n  predict infer/a: SimulationError: all failed.\n    log: {logs[0]}\n"
        in said
    )
    assert "Verdict:" not in said and "not done" not in said


def test_an_interruption_is_no_failure_of_the_jobs_that_it_ends(run: Callable[..., Run]) -> None:
    told = run()
    told.begin()
    told.start(1, "simulate", SHARD)
    told.start(3, "train", TRAIN)
    write(SHARD, "stopped after 1.00 s\n")
    told.fail(1, "simulate", SHARD)  # Ctrl-C reaches it before Snakemake
    told.hear("Terminating processes on user request, this might take some time.")
    told.fail(3, "train", TRAIN)
    told.handler.close()
    assert "Terminating processes" in told.shown() and "train/npe" not in told.shown()
    assert told.shown().endswith(
        "\nInterrupted: 0 of 4 jobs done in 0 s.\n"
        "4 not done. The same command again goes on from here.\nFull log: none\n"
    )


@pytest.mark.parametrize("option", sorted(ASKED - {"nocolor", "stdout"}))
def test_who_asks_for_snakemakes_own_words_gets_them(run: Callable[..., Run], option: str) -> None:
    told = run(**{option: True})
    told.begin()
    told.handler.close()
    assert not told.handler.writes_to_stream and told.shown() == ""


def test_what_comes_before_the_jobs_is_told_whole(run: Callable[..., Run]) -> None:
    told = run()
    told.hear("SettingError: one\ntwo \x1b]0;\x07", logging.ERROR, event=LogEvent.ERROR)
    assert told.shown() == "SettingError: one\ntwo \\x1b]0;\\x07\n"
    told = run()
    told.hear("", study=collections.load(CONFIG / "gaussian.yaml", "smoke"))
    told.hear("WorkflowError:\nAt least one file is missing.", logging.ERROR, event=LogEvent.ERROR)
    told.hear("Nothing to be done (all requested files are present and up to date).")
    told.handler.close()
    assert "At least one file is missing.\nNothing to be done (all" in told.shown()
    told = run()  # another workflow
    told.hear("Job stats: ...", event=LogEvent.RUN_INFO, stats=STATS)
    told.finish(3)
    assert "Job stats: ...\n" in told.shown() and "Finished ...\n" in told.shown()

"""What a terminal, a pipe and `python -m veridical status` show of a study that runs."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import threading
import time
from pathlib import Path

import pytest

from veridical.__main__ import main

from .conftest import Project

pytestmark = pytest.mark.workflow

TRAIN = "results/tiny/logs/train/npe/n1000-r0.log"


def said(project: Project) -> str:
    """What the run to its end said where no terminal was."""
    return (project.folder / "said.txt").read_text()


def test_a_run_says_little_and_keeps_the_rest_in_a_file(finished: Project) -> None:
    text = said(finished)
    full = set(re.findall(r"^Full log: (.+)$", text, flags=re.MULTILINE))
    assert len(text.splitlines()) < 40 and len(full) == 1 and text.count("Full log: ") == 2
    log = Path(full.pop()).read_text()
    assert "rule train:\n" in log and "steps (100%) done" in log and len(log.splitlines()) > 200
    assert not re.search(r"[\r\x1b]", text) and "rule train" not in text
    total = int(re.search(r"^(\d+) jobs to do: simulate 3, ", text, flags=re.MULTILINE)[1])
    assert f"\nFinished: {total} of {total} jobs done in" in text
    assert re.search(r"^Slowest: \S+ .*\d\.\d s", text, flags=re.MULTILINE)
    assert re.search(r"^  npe on field: (trust|caution|do not trust)\. \w", text, flags=re.MULTILINE)
    assert f"\nReport: {finished.folder}/results/tiny/report.html\n" in text


def status(capsys: pytest.CaptureFixture[str]) -> tuple[list[int], str]:
    """Trainings done, running, waiting and failed, and all that is said."""
    assert main(["status", "results/tiny"]) == 0
    text = capsys.readouterr().out
    (row,) = re.findall(r"^train (.*)$", text, flags=re.MULTILINE)
    return [int(number) for number in row.split()], text


def on_a_terminal(project: Project, *options: str) -> tuple[subprocess.Popen, list[bytes], threading.Thread]:
    """Starts Snakemake on a terminal, and what reads from that."""
    ours, theirs = pty.openpty()
    command = [*project.command, "--configfile", "config/tiny.yaml", *options]
    environment = {name: value for name, value in project.environment.items() if name != "NO_COLOR"}
    process = subprocess.Popen(
        command, cwd=project.folder, env={**environment, "TERM": "xterm"}, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    seen: list[bytes] = []

    def read() -> None:
        try:
            while part := os.read(ours, 4096):
                seen.append(part)
        except OSError:  # the other side is closed
            os.close(ours)

    reader = threading.Thread(target=read)
    reader.start()
    return process, seen, reader


def test_a_terminal_and_the_status_follow_a_training_and_its_failure(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project.folder)
    weights = ["--", "results/tiny/train/npe/n1000-r0/weights.safetensors"]
    process, seen, reader = on_a_terminal(project, "--forcerun", "train", *weights)
    rows = set()
    while process.poll() is None:
        rows.add(tuple(status(capsys)[0]))
        time.sleep(0.05)
    reader.join()
    text = b"".join(seen).decode()
    assert process.returncode == 0, text
    assert (0, 1, 0, 0) in rows and status(capsys)[0] == [1, 0, 0, 0]
    live = [part for part in text.split("\r") if part.endswith("train 0/1 1 running\033[K")]
    assert live and all(len(part) < 80 + 3 and "\n" not in part for part in live)
    assert "\nFinished: 1 of 1 jobs done in" in text and "\nVerdict" not in text

    (shard,) = (project.folder / "results/bank").glob("*/model/train-r0/*.zarr.zip")
    shard.write_bytes(shard.read_bytes()[:1000])
    failed = project.snakemake("--forcerun", "train", *weights, check=False)
    assert failed.returncode == 1
    named = rf"train/npe/n1000-r0: BankError: {shard.relative_to(project.folder)}: cannot be decoded .*"
    assert f"FAILED train/npe/n1000-r0: see above\n  log: {TRAIN}\n" in failed.stderr
    assert re.search(rf"\n\nFailed: 0 of 1 .*\n1 failed:\n  {named}\n    log: {TRAIN}\n", failed.stderr)
    row, text = status(capsys)
    assert row == [0, 0, 0, 1] and f"\n  log: {TRAIN}\n" in text and "BankError" in text

"""Runs that are killed in the middle of a stage, as by a power cut, at pauses planted in their code."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from .conftest import Project

PATIENCE = 240.0  # seconds
HOLD = '''
def hold(stage):
    """Says that it has come this far and goes no further while a file says so."""
    if Path(f"hold-{stage}").exists():
        Path(f"held-{stage}").write_text(str(os.getpid()))
        while Path(f"hold-{stage}").exists():
            time.sleep(0.01)
'''


def kill_when_held(project: Project, stage: str, study: str = "tiny") -> None:
    """Runs until a job is in the middle of a stage, then kills all at once, as a power cut would."""
    mark, order = project.folder / f"held-{stage}", project.folder / f"hold-{stage}"
    order.touch()
    command = [*project.command, "--configfile", f"config/{study}.yaml"]
    there = {"cwd": project.folder, "env": project.environment, "start_new_session": True}
    with (project.folder / f"killed-in-{stage}.log").open("w") as log:
        run = subprocess.Popen(command, stdout=log, stderr=log, **there)
    try:
        wait_for(lambda: run.poll() is not None or (mark.exists() and mark.read_text()))
        assert run.poll() is None, f"no job was held in {stage}:\n{Path(log.name).read_text()[-6000:]}"
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    wait_for(lambda: not alive(int(mark.read_text())))
    order.unlink()


def hold_trainings(project: Project) -> None:
    """Plants a pause behind each saved state of a training, which is saved at every look."""
    checkpoints = "src/veridical/training/checkpoints.py"
    project.edit(checkpoints, "save_seconds: float = 10.0", "save_seconds: float = 0.0")
    project.edit(checkpoints, "os.replace(draft, self.state)", "os.replace(draft, self.state); hold('train')")
    with (project.folder / checkpoints).open("a") as stream:
        stream.write(HOLD)


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False

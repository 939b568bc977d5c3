"""Jobs that stop where a test wants to hit them, and go no further until they are killed or let go.

A file `hold-PLACE` in the project's folder is an order to hold one process: the first that comes by that
place, or by the n-th time where the file holds a number n. It takes the order by renaming the file to
`held-PLACE-PID`, and waits while that is there. The places are planted in a copy of the code:

    simulate   in a block of the task, in a child process of its job
    write      in the middle of a shard: chunks are on the disk, the manifest is not
    train      after a state of the training has been saved, which happens after each round there
"""

from __future__ import annotations

from .on_slurm import Main, SlurmProject, wait_for

HOLD = '''
_passed = {}

def take(place):
    """Takes the order to hold one process at this place, if there is one and it is this one's turn."""
    import os
    from pathlib import Path

    _passed[place] = _passed.get(place, 0) + 1
    order, held = Path(f"hold-{place}"), Path(f"held-{place}-{os.getpid()}")
    try:
        if _passed[place] >= int(order.read_text()):
            order.rename(held)
    except (FileNotFoundError, ValueError):  # there is none, or another process took it
        pass
    return held

def wait(held):
    """Waits while the order holds."""
    import time

    while held.exists():
        time.sleep(0.01)
'''
TASK = f'''
from pathlib import Path

import numpy as np

from veridical.tasks.gaussian_linear import GaussianLinear

{HOLD}

class Held(GaussianLinear):
    """The Gaussian task, whose blocks can be held, and need as many MB as a file `ballast` says."""

    def simulate(self, theta, noise, fidelity):
        if len(theta) == self.block_rows:  # no probe
            held = take("simulate")  # first, for it may not live to take it later
            ballast = np.ones(int(Path("ballast").read_text()) << 17) if Path("ballast").exists() else None
            wait(held)
            del ballast
        return super().simulate(theta, noise, fidelity)
'''


def plant(project: SlurmProject) -> None:
    """Puts the places into a copy of the project."""
    (project.folder / "held.py").write_text(TASK)
    settings = project.settings()
    settings["task"] |= {"file": "held.py", "class": "Held"}
    project.write(settings)
    project.edit("src/veridical/bank/shards.py", "        sync()\n", "        sync(); wait(take('write'))\n")
    checkpoints = "src/veridical/training/checkpoints.py"
    project.edit(checkpoints, "save_seconds: float = 10.0", "save_seconds: float = 0.0")
    project.edit(
        checkpoints, "os.replace(draft, self.state)", "os.replace(draft, self.state); wait(take('train'))"
    )
    for path in ("src/veridical/bank/shards.py", checkpoints):
        with (project.folder / path).open("a") as stream:
            stream.write(HOLD)


def order(project: SlurmProject, place: str, passes: int = 1) -> None:
    """Orders that one process be held where it comes by a place for so many times."""
    (project.folder / f"hold-{place}").write_text(f"{passes}")


def held(project: SlurmProject, place: str) -> int | None:
    """The number of the process that is held at a place."""
    found = [path.name for path in project.folder.glob(f"held-{place}-*")]
    return int(found[0].rpartition("-")[2]) if found else None


def wait_until_held(main: Main, place: str) -> int:
    """Waits until a process is held at a place; returns its number."""
    wait_for(lambda: main.process.poll() is not None or held(main.project, place), f"a job held in {place}")
    number = held(main.project, place)
    assert number, f"no job was held in {place}:\n{main.log.read_text()[-8000:]}"
    return number


def let_go(project: SlurmProject, place: str) -> None:
    """Lets the held process go on."""
    (project.folder / f"held-{place}-{held(project, place)}").unlink()

"""Small tasks with planted faults, for tests of the bank; used as a user's own task file."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import SimulationTimeout
from veridical.tasks import Dimension, Parameter, Task


def spec(name: str = "coupled", **settings: Any) -> dict[str, Any]:
    """A study's `task` section for one of these tasks."""
    return {"name": name, "file": __file__, "class": name.capitalize(), "settings": settings}


def has_ended(pid: int) -> bool:
    """Whether a process that was killed ends within ten seconds."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    ready, _, _ = select.select([process], [], [], 10)
    os.close(process)
    return bool(ready)


class Box:
    """The uniform distribution on (0, 1)^d."""

    def __init__(self, d: int) -> None:
        self.d = d

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.random((n, self.d))

    def log_prob(self, theta: np.ndarray) -> np.ndarray:
        return np.where(((theta >= 0) & (theta <= 1)).all(axis=1), 0.0, -np.inf)


class Coupled(Task):
    """x = theta_0 + theta_1 t + scale * z, with the same z at both fidelities, and one planted fault.

    A row is bad if its theta_0 is above 1 - `bad`; `folder` is where faults leave their marks.
    """

    name = "coupled"

    def __init__(
        self, fault: str = "none", bad: float = 0.2, block_rows: int = 10, length: int = 3, folder: str = ""
    ) -> None:
        self.fault, self.bad, self.folder = fault, bad, folder
        self.block_rows = block_rows
        self.parameters = (Parameter("a", 0.0, 1.0, "m"), Parameter("b", 0.0, 1.0))
        self.fidelities = {"low": 1.0, "high": 4.0}
        self.dimensions = (Dimension("time", tuple(range(length)), "s"),)
        self.prior = Box(2)

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
        return {"z": rng.normal(size=(n, *self.x_shape))}

    def simulate(self, theta: np.ndarray, noise: Any, fidelity: str) -> Any:
        z = noise["z"] if self.coupled else noise.normal(size=(len(theta), *self.x_shape))
        x = theta[:, :1] + theta[:, 1:] * np.arange(self.x_shape[0]) + 0.1 * self.fidelities[fidelity] * z
        return self._spoil(x, theta, theta[:, 0] > 1 - self.bad)

    def _spoil(self, x: np.ndarray, theta: np.ndarray, bad: np.ndarray) -> Any:
        """Applies the planted fault to rows (N,) that are bad."""
        match self.fault:
            case "none":
                return x
            case "extras":
                return {"x": x, "score": np.cos(x), "count": np.arange(len(x))}
            case "nan":
                return np.where(bad[:, None], np.nan, x)
            case "overflow":
                return np.where(bad[:, None], 1e200, x)
            case "square_root":
                return x + np.sqrt(np.where(bad, -1.0, 1.0))[:, None]
            case "raise" if bad.any():
                raise ValueError(f"theta_0 of {bad.sum()} rows is too large")
            case "time_out" if bad.any():
                raise SimulationTimeout("theta_0 is too large to be quick")
            case "memory" if bad.any():
                raise MemoryError("a machine too small")
            case "crash" if bad.any():
                os.kill(os.getpid(), signal.SIGKILL)
            case "exit" if bad.any():
                sys.exit(3)
            case "spoil_inputs" if bad.any():
                theta[:] = -1.0
                raise ValueError("after writing into its inputs")
            case "wrong_rows":
                return x[:-1]
            case "wrong_shape":
                return x[:, :-1]
            case "text":
                return x.astype(str)
            case "nothing":
                return None
            case "bad_name":
                return {"x": x, "theta": theta}
            case "hang" if bad.any():
                signal.pause()
            case "hang_with_grandchild" if bad.any():
                child = subprocess.Popen(["sleep", "1000"])
                Path(self.folder, "grandchild").write_text(str(child.pid))
                child.wait()
            case "stop_job" | "kill_job" if bad.any() and not (mark := Path(self.folder, "mark")).exists():
                mark.write_text("")
                os.kill(os.getppid(), signal.SIGTERM if self.fault == "stop_job" else signal.SIGKILL)
                subprocess.run(["sleep", "1000"], check=False)
            case "clock":
                Path(self.folder, "started").write_text(repr(time.time()))
            case "own_generator":
                return x + int.from_bytes(os.urandom(4), "little")
            case "constant":
                return np.zeros_like(x)
        return x


class Loose(Coupled):
    """The same without coupling: `simulate` gets a generator."""

    name = "loose"
    noise = Task.noise

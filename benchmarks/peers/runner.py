"""What the runners share: what they are given, a clock that can be stopped, what they hand back.

A runner is called with a folder. It finds there `job.json` and arrays (`theta`, `x` to learn from,
`theta_apart`, `x_apart` to validate on, `theta_test`, `x_test`, `bounds`), and leaves `draws.npy`,
(draws, observations, parameters), and `result.json`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np


class Clock:
    """Wall seconds and CPU seconds of this process, of the time in which it runs."""

    def __init__(self) -> None:
        self.begun = np.array([time.perf_counter(), time.process_time()])

    def read(self) -> list[float]:
        """Returns both."""
        now = np.array([time.perf_counter(), time.process_time()])
        return [float(spent) for spent in now - self.begun]

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Leaves out what happens inside."""
        before = np.array([time.perf_counter(), time.process_time()])
        yield
        self.begun += np.array([time.perf_counter(), time.process_time()]) - before


class Job:
    """One fit of one family: its settings and arrays, and the looks at its validation loss."""

    def __init__(self, folder: str, dtype: type = np.float64) -> None:
        self.folder = Path(folder)
        self.settings: dict[str, Any] = json.loads((self.folder / "job.json").read_text())
        found = {path.stem: np.load(path, allow_pickle=False) for path in self.folder.glob("*.npy")}
        self.arrays = {name: array.astype(dtype) for name, array in found.items()}
        self.looks: list[list[float]] = []
        self.start()

    def start(self) -> None:
        """Starts the clock."""
        self.clock = Clock()

    def __getitem__(self, name: str) -> Any:
        """An array or a setting."""
        return self.arrays[name] if name in self.arrays else self.settings[name]

    def look(self, log_prob: Callable[[], Any]) -> None:
        """Keeps wall and CPU seconds up to here and the mean of -log q of the validation rows, in nats."""
        with self.clock.stopped():
            self.looks.append([*self.clock.read(), float(-np.mean(np.asarray(log_prob())))])
            print(len(self.looks), *(f"{value:.4f}" for value in self.looks[-1]), flush=True)

    def finish(
        self,
        version: str,
        draw: Callable[[int, int], Any],
        log_prob: Callable[[str], Any] | None,
        epochs: int,
    ) -> None:
        """Measures draws and log densities, and hands back what was found.

        Arguments:
            version: Of the toolbox.
            draw: Makes so many draws of so many of the first test observations.
            log_prob: Log densities of theta at x of the rows of one name; None where there are none.
            epochs: Passes over the training rows.
        """
        seconds, cpu_seconds = self.clock.read()
        found = {"version": version, "epochs": epochs, "seconds": seconds, "cpu_seconds": cpu_seconds}
        draw(1, 1)  # what a first call costs once is no cost of draws
        clock = Clock()
        draws = np.asarray(draw(self["draws"], self["observations"]))
        found |= dict(zip(("sample_seconds", "sample_cpu_seconds"), clock.read(), strict=True))
        np.save(self.folder / "draws.npy", draws, allow_pickle=False)
        if log_prob:
            found |= {part: float(-np.mean(np.asarray(log_prob(part)))) for part in ("apart", "test")}
        (self.folder / "result.json").write_text(json.dumps({**found, "looks": self.looks}))


def job(dtype: type = np.float64) -> Job:
    """Returns the job that the command line names."""
    return Job(sys.argv[1], dtype)

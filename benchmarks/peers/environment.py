"""The peers' own environment, and one fit there by its Python: arrays and JSON in a folder, no pickle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

HERE = Path(__file__).parent


def python() -> Path:
    """Returns the Python of the peers, whose environment is made where it is not there yet."""
    folder = HERE / ".venv"
    found, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        venv.create(folder, with_pip=True)
        wanted = ["-r", str(HERE / "requirements.txt")]
        subprocess.run([found, "-m", "pip", "install", "--quiet", *wanted], check=True)
        ready.touch()
    return found


def fit(
    tool: str,
    family: str,
    arrays: Mapping[str, np.ndarray],
    *,
    seed: int = 0,
    threads: int = 1,
    draws: int = 1000,
    observations: int,
    epochs: int | None = None,
) -> tuple[dict[str, Any], np.ndarray]:
    """Returns what a runner measured, and its draws (draws, observations, D).

    Arguments:
        tool: `sbi` or `bayesflow`.
        family: One of the families of its runner.
        arrays: What a runner is given; see `runner`.
        seed: Of its generators.
        threads: CPU threads.
        draws: For each observation.
        observations: So many of the first rows of `x_test`.
        epochs: At most; those of the tool where None.
    """
    job = {"family": family, "seed": seed, "threads": threads, "draws": draws}
    job |= {"observations": observations, "epochs": epochs}
    numbers = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    with TemporaryDirectory() as folder:
        here = Path(folder)
        (here / "job.json").write_text(json.dumps(job))
        for name, array in arrays.items():
            np.save(here / f"{name}.npy", array, allow_pickle=False)
        command = [str(python()), str(HERE / f"fit_{tool}.py"), folder]
        with (here / "log").open("w+") as log:  # beside the looks the toolboxes say much
            done = subprocess.run(command, cwd=here, env={**os.environ, **numbers}, stdout=log, stderr=log)
            if done.returncode:
                log.seek(0)
                sys.exit(f"{tool} {family} failed:\n{log.read()[-5000:]}")
        return json.loads((here / "result.json").read_text()), np.load(here / "draws.npy", allow_pickle=False)

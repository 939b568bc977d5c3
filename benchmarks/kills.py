"""Kills a study at random moments and starts it again, until it has been killed often enough and has ended.

    PYTHONPATH=src python benchmarks/kills.py gaussian --kills 30 --seed 1 --json FILE

The study (the name of a file in config/) runs at the smoke scale in a scratch folder; all its processes are
killed at once, as by a power cut. A study that ends before it has been killed often enough begins anew. The
last line tells, as JSON, how often it was killed and ended, and whether all digests are that of a run which
nobody disturbed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


class Study:
    """A study in a folder of its own."""

    def __init__(self, name: str, folder: Path, cores: int) -> None:
        self.folder, self.results = folder, folder / "results" / f"{name}@smoke"
        shutil.copytree(ROOT / "config", folder / "config")
        self.command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "workflow/Snakefile")]
        self.command += ["--profile", str(ROOT / "profiles/local"), "--cores", str(cores)]
        self.command += ["--configfile", f"config/{name}.yaml", "--config", "scale=smoke"]
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}

    def run(self, *options: str, seconds: float | None = None) -> bool:
        """Runs it; kills it after so many seconds. Returns whether it ended by itself."""
        log = self.folder / "said.log"
        with log.open("w") as sink:
            run = subprocess.Popen(
                [*self.command, *options],
                cwd=self.folder,
                env=self.environment,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
            try:
                status = run.wait(seconds)
            except subprocess.TimeoutExpired:
                os.killpg(run.pid, signal.SIGKILL)
                run.wait()
                return False
        if status:
            raise RuntimeError(f"the study ended with status {status}:\n{log.read_text()[-4000:]}")
        return True

    def digest(self) -> str:
        """The digest of its results."""
        command = [sys.executable, "-m", "veridical", "digest", str(self.results)]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, check=True, capture_output=True, text=True
        )
        return done.stdout.split()[0]

    def clear(self) -> None:
        """Forgets all results, and the bank."""
        shutil.rmtree(self.folder / "results")


def disturbed(study: Study, kills: int, longest: float, rng: random.Random) -> tuple[int, set[str]]:
    """Kills and resumes; returns how often the study ended, and the digests that it had."""
    done, found = 0, set[str]()
    while kills:
        if study.run("--rerun-incomplete", seconds=rng.uniform(1.0, longest)):
            done += 1
            found.add(study.digest())
            study.clear()
            continue
        kills -= 1
        time.sleep(1.0)  # the last processes go
        study.run("--unlock")
    study.run("--rerun-incomplete")
    return done + 1, found | {study.digest()}


def main() -> None:
    """Measures an undisturbed run, disturbs others, compares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        study = Study(chosen.study, Path(folder), chosen.cores)
        began = time.monotonic()
        study.run()
        seconds, expected = time.monotonic() - began, study.digest()
        study.clear()
        ended, found = disturbed(study, chosen.kills, 0.7 * seconds, random.Random(chosen.seed))
    told = {
        "study": chosen.study,
        "seconds_undisturbed": round(seconds, 1),
        "kills": chosen.kills,
        "ended": ended,
        "digest": expected,
        "identical": found == {expected},
    }
    if chosen.json:
        chosen.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(told))
    sys.exit(found != {expected})


if __name__ == "__main__":
    main()

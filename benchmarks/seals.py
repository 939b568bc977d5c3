"""What seals cost: the seconds that a study spends writing and comparing them, of all that its jobs take.

    python benchmarks/seals.py [--study lynx_hare]

The study runs at the smoke scale in a scratch folder. In each of its Python processes a wrapper times all
calls of `veridical.seals`, which hash what they are given; the rest of a reader's work is left out. The
difference of whole runs with and without seals would be smaller than that of two runs alike. Target: at
most 3 % more wall time. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from kills import Study

TARGET = 0.03
WRAPPER = """
import atexit, os, time
from veridical import seals

spent = {"calls": 0, "seconds": 0.0, "depth": 0}

def timed(function):
    def call(*given, **named):
        spent["depth"] += 1
        began = time.perf_counter()
        try:
            return function(*given, **named)
        finally:
            spent["depth"] -= 1
            if not spent["depth"]:
                spent["calls"] += 1
                spent["seconds"] += time.perf_counter() - began
    return call

for name in ("filled", "append", "fill", "require"):
    setattr(seals, name, timed(getattr(seals, name)))

began = time.perf_counter()

@atexit.register
def tell():
    with open(os.environ["SEALS_LOG"], "a") as log:
        log.write(f"{spent['calls']} {spent['seconds']} {time.perf_counter() - began}\\n")
"""


def main() -> None:
    """Runs the study and adds up what its processes tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", default="lynx_hare")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="seals-") as name:
        folder = Path(name)
        study = Study(chosen.study, folder, 2)
        (folder / "wrapper").mkdir()
        (folder / "wrapper/sitecustomize.py").write_text(WRAPPER)
        paths = [str(folder / "wrapper"), study.environment["PYTHONPATH"]]
        study.environment |= {"PYTHONPATH": os.pathsep.join(paths), "SEALS_LOG": str(folder / "seals.log")}
        began = time.monotonic()
        study.run()
        seconds = time.monotonic() - began
        found = [[float(word) for word in line.split()] for line in (folder / "seals.log").open()]
    calls, sealing, running = (sum(column) for column in zip(*found, strict=True))
    told = {
        "study": chosen.study,
        "seconds": round(seconds, 1),
        "processes": len(found),
        "calls": int(calls),
        "seconds_of_all_processes": round(running, 1),
        "seconds_sealing": round(sealing, 3),
        "share": round(sealing / running, 5),
        "at_most": TARGET,
    }
    print(json.dumps(told))
    sys.exit(sealing / running > TARGET)


if __name__ == "__main__":
    main()

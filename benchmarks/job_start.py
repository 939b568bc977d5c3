"""How soon a simulation job starts its work, and what it has imported by its end.

    python benchmarks/job_start.py [--repeats 9]

A fresh Python runs stage simulate for one block; the clock starts with the process and stops in the first
call of the simulator. Prints one line of JSON. Target: within 1.5 s, no torch, Lightning, xarray or dask.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from statistics import median
from tempfile import TemporaryDirectory

HEAVY = ("torch", "lightning", "xarray", "dask", "sklearn", "matplotlib", "scipy", "pandas", "snakemake")
JOB = f"""
import sys, time
from veridical import job
from veridical.bank.filling import ShardRows
from veridical.stages.simulate import simulate_shard
from veridical.tasks.lotka_volterra import LotkaVolterra

class Timed(LotkaVolterra):
    block_rows = 100
    def simulate(self, *given):
        print("started", time.time(), flush=True)
        return super().simulate(*given)

path = sys.argv[1] + "/rows-000000000-000000099.zarr.zip"
rows = ShardRows(root=1, fidelity="ode", split="train", first=0, last=99)
simulate_shard(Timed(), path, rows, key="k")
print("loaded", *(name for name in {HEAVY} if name in sys.modules))
"""


def one_job() -> tuple[float, list[str]]:
    """Returns the seconds until a job called its simulator, and the heavy packages it loaded."""
    with TemporaryDirectory() as folder:
        begun = time.time()
        command = [sys.executable, "-c", JOB, folder]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    words = dict(
        line.split(maxsplit=1) for line in done.stdout.replace("loaded\n", "loaded none\n").splitlines()
    )
    loaded = [name for name in words["loaded"].split() if name != "none"]
    return float(words["started"]) - begun, loaded


def main() -> None:
    """Measures some jobs after one that warms the file cache."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=9)
    jobs = [one_job() for _ in range(parser.parse_args().repeats + 1)][1:]
    seconds = [s for s, _ in jobs]
    print(
        json.dumps(
            {
                "median_seconds": median(seconds),
                "longest_seconds": max(seconds),
                "imports": sorted({name for _, loaded in jobs for name in loaded}),
                "jobs": len(jobs),
            }
        )
    )


if __name__ == "__main__":
    main()

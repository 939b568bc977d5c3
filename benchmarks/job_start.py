"""How soon a simulation job starts its work, what it has imported by its end; how soon other jobs start.

    python benchmarks/job_start.py [--repeats 9]

A fresh Python runs stage simulate for one block; the clock starts with the process and stops in the first
call of the simulator. Target: within 1.5 s, no torch, Lightning, xarray or dask. A job of every other kind is
timed whole, with nothing to do but to import what trains: where it was started, and handed over to a warm
process (`veridical.warm`). Target: a tenth of the time. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from statistics import median
from tempfile import TemporaryDirectory

from veridical import warm

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

OTHER = """
import sys
from veridical import warm
if (code := warm.hand_over()) is not None:
    sys.exit(code)
import lightning.pytorch, veridical.stages.train
"""


def other_jobs(repeats: int) -> dict[str, float]:
    """Returns the median seconds of a job that imports what trains, where it was started and handed over."""
    os.environ |= {name: "1" for name in warm.THREADS}
    cold = {**os.environ}
    warm.start()
    while not warm.address().exists():
        time.sleep(0.1)
    with TemporaryDirectory() as folder:
        script = f"{folder}/job.py"
        with open(script, "w", encoding="utf-8") as stream:
            stream.write(OTHER)

        def seconds(environment: dict[str, str]) -> float:
            begun = time.perf_counter()
            subprocess.run([sys.executable, script], env=environment, check=True)
            return time.perf_counter() - begun

        pairs = [(seconds(cold), seconds({**os.environ})) for _ in range(repeats + 1)][1:]
    alone, handed_over = (median(column) for column in zip(*pairs, strict=True))
    return {"alone_seconds": alone, "warm_seconds": handed_over, "ratio": handed_over / alone}


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
    repeats = parser.parse_args().repeats
    jobs = [one_job() for _ in range(repeats + 1)][1:]
    seconds = [s for s, _ in jobs]
    print(
        json.dumps(
            {
                "median_seconds": median(seconds),
                "longest_seconds": max(seconds),
                "imports": sorted({name for _, loaded in jobs for name in loaded}),
                "jobs": len(jobs),
                **other_jobs(repeats),
            }
        )
    )


if __name__ == "__main__":
    main()

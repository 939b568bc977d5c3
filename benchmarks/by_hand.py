"""Runs the jobs of a plan one after another in this one process, without Snakemake.

    python benchmarks/by_hand.py plan.json

`overhead.py` writes the plan: for each job its rule, script and threads, and what the script is told.
Packages are imported once, by the first job that needs them. Writes the benchmark files that later jobs
read, and prints one line of JSON: the seconds of each job.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from threadpoolctl import threadpool_limits


class Items(list):
    """A list some of whose entries have names, which is how scripts see inputs, outputs and parameters."""

    def __init__(self, entries: list[Any], names: Mapping[str, Any]) -> None:
        super().__init__(entries)
        self.__dict__.update(names)

    def __getitem__(self, key: Any) -> Any:
        return self.__dict__[key] if isinstance(key, str) else super().__getitem__(key)

    def items(self) -> Any:
        """Names and what they stand for."""
        return self.__dict__.items()


def run(job: Mapping[str, Any]) -> float:
    """Runs the script of one job as Snakemake would, in this process; returns the seconds it took."""
    for path in (*job["output"]["entries"], *job["log"]["entries"], *job["benchmark"]):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    told = {
        name: Items(**job[name]) for name in ("input", "output", "log", "params", "wildcards", "resources")
    }
    snakemake = SimpleNamespace(rule=job["rule"], threads=job["threads"], **told)
    os.environ["OMP_NUM_THREADS"] = str(job["threads"])  # for libraries that this job is the first to load
    begun = time.perf_counter()
    with threadpool_limits(job["threads"]):
        runpy.run_path(job["script"], {"snakemake": snakemake})
    seconds = time.perf_counter() - begun
    for path in job["benchmark"]:
        Path(path).write_text(json.dumps({"s": seconds}) + "\n")
    return seconds


if __name__ == "__main__":
    print(json.dumps([run(job) for job in json.loads(Path(sys.argv[1]).read_text())]))

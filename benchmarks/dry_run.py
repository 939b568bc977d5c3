"""How long a dry run of a study with 1e8 simulations takes; prints one line of JSON.

    python benchmarks/dry_run.py [--rows 100000000] [--shard-rows 350000] [--repeats 5]

Study `gaussian` with a hundredth, a tenth and all of the rows as budgets, three replicates. `seconds` and
`cpu_seconds` are medians of whole dry runs, start of Python included; `parse_seconds` of a run that only
reads the rules, as each job of a cluster does. Targets: fewer than 1,000 jobs, 60 s.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import yaml

ROOT = Path(__file__).parents[1]


def study(rows: int, shard_rows: int) -> dict[str, object]:
    """A study with so many training simulations in each of three replicates."""
    settings = yaml.safe_load((ROOT / "config" / "gaussian.yaml").read_text())
    for name in ("observations", "reference", "scales"):
        del settings[name]
    return {
        **settings,
        "budgets": [rows // 100, rows // 10, rows],
        "simulation": {"shard_rows": shard_rows},
    }


def run(folder: Path, *options: str) -> tuple[float, float, str]:
    """Wall seconds, CPU seconds and output of Snakemake."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "workflow" / "Snakefile")]
    command += ["--profile", str(ROOT / "profiles" / "local"), "--cores", "2", "--configfile", "study.yaml"]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [*command, *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu, done.stdout


def measure(rows: int, shard_rows: int, repeats: int) -> dict[str, object]:
    """Times dry runs in a folder of their own."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "study.yaml").write_text(yaml.safe_dump(study(rows, shard_rows), sort_keys=False))
        runs = [run(folder, "--dry-run") for _ in range(repeats + 1)][1:]
        parsed = [run(folder, "--list-rules") for _ in range(repeats + 1)][1:]
    (jobs,) = set(re.findall(r"^total +(\d+)$", runs[0][2], flags=re.MULTILINE))
    return {
        "rows": rows,
        "replicates": 3,
        "jobs": int(jobs),
        "seconds": median(r[0] for r in runs),
        "cpu_seconds": median(r[1] for r in runs),
        "parse_seconds": median(r[0] for r in parsed),
        "parse_cpu_seconds": median(r[1] for r in parsed),
        "repeats": repeats,
    }


def main() -> None:
    """Reads the options, measures, prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--shard-rows", type=int, default=350_000)
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    print(json.dumps(measure(chosen.rows, chosen.shard_rows, chosen.repeats)))


if __name__ == "__main__":
    main()

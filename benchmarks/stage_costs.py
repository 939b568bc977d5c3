"""Seconds and memory of the jobs of every stage, as lines in what they grow with; prints one line of JSON.

    python benchmarks/stage_costs.py [--folder DIR]

Runs one study with Snakemake at two sizes (its scales `smoke` and `laptop`) and fits the benchmark files of
its jobs as `make plan` does: seconds = start + slope * work, work in rows, rows seen, draws, batches or runs
(see `veridical.plan.work`). Memory is the largest of a job at the least and at the most work.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from veridical.plan.measured import Rate, Record, records
from veridical.study import settings
from veridical.study.layout import Layout

ROOT = Path(__file__).parents[1]
SCALES = ("smoke", "laptop")
COLUMNS = ("least work", "most work", "start s", "s per million", "MB at least", "MB at most")
SMALL = {
    "budgets": [10_000],
    "simulation": {"shard_rows": 10_000},
    "test_rows": 200,
    "test_draws": 199,
    "experiments": {"batches": 2, "rows": 50},
    "estimators": {"npe": {"training": {"epochs": 2}}},
}
STUDY: dict[str, Any] = {
    "study": "costs",
    "seed": 1,
    "task": {"name": "gaussian_linear", "settings": {"dimension": 5, "real_noise_sd": 1.4}},
    "simulation": {"shard_rows": 200_000},
    "estimators": {"npe": {"type": "npe", "training": {"epochs": 5, "accelerator": "cpu"}}},
    "remedies": {
        "rope_tuning_only": {"type": "tuned", "of": "npe", "steps": 500},
        "rope": {"type": "rope", "of": "rope_tuning_only", "simulations": 1000},
    },
    "budgets": [200_000],
    "calibration": [100],
    "replicates": 1,
    "test_rows": 1_000,
    "test_draws": 999,
    "checks": {"exact": {"observations": 5, "draws": 500}},
    "experiments": {"batches": 4, "rows": 200, "draws": 999},
    "scales": {"smoke": SMALL},
}


def run(folder: Path, scale: str) -> None:
    """Runs the study at one scale, one core a job."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "workflow" / "Snakefile")]
    command += ["--profile", str(ROOT / "profiles" / "local"), "--cores", "1", "--quiet", "all"]
    command += ["--configfile", "study.yaml", "--config", f"scale={scale}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=sys.stderr)


def lines(found: list[Record]) -> dict[str, list[Any]]:
    """The line of each kind of job, by kind and what tells its rates apart."""
    by_group: dict[str, list[Record]] = {}
    for record in found:
        by_group.setdefault(" ".join(filter(None, (record.piece.kind, record.piece.group))), []).append(
            record
        )
    table: dict[str, list[Any]] = {"columns": list(COLUMNS)}
    for group, own in sorted(by_group.items()):
        rate, sizes = Rate.through(own), sorted({r.work for r in own})
        largest = [
            max((r.mb for r in own if r.work == work and r.mb), default=None)
            for work in (sizes[0], sizes[-1])
        ]
        memory = ["" if mb is None else round(mb) for mb in largest]
        seconds = [round(rate.start, 2), round(1e6 * rate.slope, 3)]
        table[group] = [sizes[0], sizes[-1], *seconds, *memory]
    return table


def measure(folder: Path) -> dict[str, Any]:
    """Runs both sizes in a folder and returns the lines."""
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))
    for scale in SCALES:
        run(folder, scale)
    os.chdir(folder)
    return lines(records([Layout(settings.load("study.yaml", scale), scale=scale) for scale in SCALES]))


def main() -> None:
    """Reads the options, measures, prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="where to run; results that are there count")
    chosen = parser.parse_args()
    with TemporaryDirectory() as temporary:
        folder = (chosen.folder or Path(temporary)).resolve()
        print(json.dumps(measure(folder)))


if __name__ == "__main__":
    main()

"""How soon `make infer` shows its first page and its whole report, and what share of a study its checks take.

    PYTHONPATH=src python benchmarks/first_page.py lynx_hare [--scale laptop]

The study has to have ended in `results/`; its first data set, under another name, serves as new data, whose
results are removed in the end. CPU seconds are those of Snakemake with all its jobs. Shares are of the wall
seconds of all jobs, as Snakemake measured them: of checks alone, and with what is computed for them alone.
The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from veridical import files
from veridical.study import settings
from veridical.study.layout import Layout

FOR_CHECKS = ("predictive", "nearby", "densities", "exact")  # suffixes of what is computed for checks alone
NEW = "first_page_benchmark"  # name of the new data
Measured = dict[str, float]


def spent(command: list[str]) -> Measured:
    """Runs a command; returns the seconds that it and its children took."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=sys.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu_seconds": round(cpu, 1), "wall_seconds": round(time.perf_counter() - began, 1)}


def infer(layout: Layout, study: str) -> dict[str, Measured]:
    """Both steps of `make infer`, and the same again, when there is nothing to do."""
    (first, *_) = layout.study.observations.values()
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/local", "--configfile", study]
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, f"{NEW}{''.join(Path(first.file).suffixes)}")
        shutil.copyfile(first.file, data)
        command += ["--config", f"scale={layout.scale}", f"data={data}"]
        steps = {"first_page": [*command, "--", "first_page"], "whole_report": command}
        found = {name: spent(step) for name, step in steps.items()}
        found |= {f"{name}_again": spent(step) for name, step in steps.items()}
    for path in sorted(Path(layout.results).rglob(f"{NEW}*"), reverse=True):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return found


def shares(layout: Layout) -> Measured:
    """What part of the wall seconds of a study's jobs are those of checks."""
    folder = Path(layout.results, "benchmarks")
    known = {"simulated", "real", *layout.observations}
    own = list(folder.rglob("*.jsonl"))
    made = [path for path in own if path.stem.split(".")[0] in known and path.stem.endswith(FOR_CHECKS)]
    checks = [path for path in own if path.is_relative_to(folder / "check")]
    everything = _seconds([*own, *map(Path, layout.bank_benchmarks())])
    return {
        "job_wall_seconds": round(everything, 1),
        "share_of_checks": round(_seconds(checks) / everything, 3),
        "share_with_what_they_need": round(_seconds([*checks, *made]) / everything, 3),
    }


def _seconds(paths: Iterable[Path]) -> float:
    return sum(float(record["s"]) for path in paths for record in files.benchmark_records(path))


def main() -> None:
    """Measures one study."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study")
    parser.add_argument("--scale", default="laptop")
    given = parser.parse_args()
    study = f"config/{given.study}.yaml"
    layout = Layout(settings.load(study, given.scale), scale=given.scale)
    print(json.dumps({**shares(layout), **infer(layout, study)}))


if __name__ == "__main__":
    main()

"""What the workflow itself costs: a study run by Snakemake, against its jobs run by hand in one process.

    python benchmarks/overhead.py [--study lynx_hare] [--scale laptop] [--cores 2] [--folder FOLDER]

By hand means: the same scripts on the same arguments with the same threads, in the order of the DAG, one
after another in one Python process that imports each package once and knows nothing of Snakemake
(`by_hand.py`); the time of a run by hand is the sum of its jobs. Snakemake runs the study with
`profiles/local` on one core and on `--cores`. Each run begins in an empty folder with a bank of its own.
Ends with an error where the result digests of two runs differ.

`ratio` is wall time on `--cores` over time by hand. `ratio_one_core` is the stricter: nothing is gained from
two jobs at once. `cpu_ratio_one_core` is the same of CPU seconds (of all processes), which other load on the
machine moves less. Where the time beyond that by hand goes, on one core:

    planning   a dry run: start of Snakemake, settings, DAG
    in jobs    seconds inside the scripts' `main` beyond those by hand: imports anew, cold caches
    around     the rest: start and end of a Python for each job, scheduling

Targets: both ratios at most 1.25, for a study of at least 600 seconds by hand. Prints one line for each rule
and ends with one line of JSON.
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
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, OutputSettings, Quietness, ResourceSettings

from veridical.evidence import result_digest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SNAKEFILE = ROOT / "workflow" / "Snakefile"
TARGET = 1.25
Plan = list[dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """A study at a scale."""

    study: str
    scale: str

    @property
    def settings(self) -> Path:
        """The file of the study."""
        return ROOT / "config" / f"{self.study}.yaml"

    @property
    def results(self) -> str:
        """Its results, below the folder that it runs in."""
        return f"results/{self.study}{'' if self.scale == 'laptop' else f'@{self.scale}'}"

    def folder(self, base: Path, name: str) -> Path:
        """An empty folder in which the study finds its data."""
        folder = base / name
        folder.mkdir(parents=True)
        (folder / "config").symlink_to(ROOT / "config")
        return folder


@dataclass(frozen=True)
class Run:
    """What one process with all its children took, and what it printed."""

    wall: float
    cpu: float
    text: str


# ---- the plan ----------------------------------------------------------------------------------------


def plan(case: Case, cores: int, folder: Path) -> Plan:
    """Returns the jobs of a study in the order of its DAG, each with what its script is told.

    Arguments:
        case: The study.
        cores: What Snakemake may use; no job has more threads.
        folder: Where the study will run.
    """
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        workflow = api.workflow(
            ResourceSettings(cores=cores),
            ConfigSettings(config={"scale": case.scale}, configfiles=[case.settings]),
            snakefile=SNAKEFILE,
            workdir=folder,
        )
        workflow.dag().execute_workflow(executor="dryrun")
        levels = list(workflow._workflow.dag.toposorted())
        told = [[_told(job) for job in level if job.rule.script] for level in levels]
        return [job for level in told for job in sorted(level, key=lambda job: job["log"]["entries"])]


def _told(job: Any) -> dict[str, Any]:
    """One job as JSON can hold it."""
    script = Path(job.rule.basedir.get_path_or_uri(secret_free=True)) / job.rule.script
    told: dict[str, Any] = {
        "rule": job.rule.name,
        "script": str(script.resolve()),
        "threads": job.threads,
        "benchmark": [str(job.benchmark)] if job.benchmark else [],
        **{name: _entries(getattr(job, name)._plainstrings()) for name in ("input", "output", "log")},
        **{name: _entries(getattr(job, name)) for name in ("params", "wildcards", "resources")},
    }
    return json.loads(json.dumps(told, allow_nan=False))


def _entries(items: Any) -> dict[str, Any]:
    return {"entries": list(items), "names": dict(items.items())}


# ---- runs --------------------------------------------------------------------------------------------


def run(command: Sequence[str], folder: Path) -> Run:
    """Runs a command to its end on the code of this checkout; its libraries use one thread by default."""
    path = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-6000:]}")
    return Run(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout)


def by_hand(jobs: Plan, folder: Path) -> tuple[Run, list[float]]:
    """Runs the jobs in one process; returns what it took and the seconds of each job."""
    written = folder / "plan.json"
    written.write_text(json.dumps(jobs))
    done = run([sys.executable, str(HERE / "by_hand.py"), str(written)], folder)
    return done, json.loads(done.text.splitlines()[-1])


def by_snakemake(case: Case, cores: int, folder: Path, *options: str) -> Run:
    """Runs the study as the README says, with the local profile."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE)]
    command += ["--profile", str(ROOT / "profiles" / "local"), "--cores", str(cores)]
    command += ["--configfile", str(case.settings), "--config", f"scale={case.scale}", *options]
    return run(command, folder)


def seconds_inside(jobs: Plan, folder: Path) -> list[float]:
    """The seconds that each job itself says that it took, from the last line of its log."""
    logs = [folder / job["log"]["entries"][0] for job in jobs]
    return [float(re.findall(r"^done in ([\d.]+) s$", log.read_text(), re.MULTILINE)[-1]) for log in logs]


# ---- what is told ------------------------------------------------------------------------------------


def print_rules(jobs: Plan, hand: Sequence[float], inside: Sequence[float]) -> None:
    """Prints for each rule its jobs, and their seconds by hand and under Snakemake."""
    rules: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for job, *seconds in zip(jobs, hand, inside, strict=True):
        rules[job["rule"]].append((seconds[0], seconds[1]))
    print(f"{'rule':<20} {'jobs':>5} {'by hand':>9} {'in jobs':>9} {'more per job':>13}")
    for rule, pairs in rules.items():
        first, second = (sum(column) for column in zip(*pairs, strict=True))
        more = (second - first) / len(pairs)
        print(f"{rule:<20} {len(pairs):>5} {first:>9.2f} {second:>9.2f} {more:>13.2f}")


def same_results(folders: Iterable[Path]) -> str:
    """Returns the one result digest of all runs, or ends the benchmark."""
    found = {folder.parents[1].name: result_digest.digest(folder) for folder in folders}
    if len(set(found.values())) > 1:
        raise SystemExit(f"The runs made different results: {found}")
    return next(iter(found.values()))


def measure(case: Case, cores: int, base: Path) -> dict[str, Any]:
    """Runs a study by hand and by Snakemake, on one core and on several; returns what it took.

    Arguments:
        case: The study.
        cores: Cores of the run that may run jobs at the same time.
        base: Where the folders of the runs go.
    """
    planned = case.folder(base, "plan")
    jobs, jobs_on_cores = plan(case, 1, planned), plan(case, cores, planned)
    planning = by_snakemake(case, 1, planned, "--dry-run", "--quiet")
    hand, each = by_hand(jobs, case.folder(base, "by_hand"))
    each_on_cores = each
    if jobs_on_cores != jobs:  # jobs of more than one thread
        each_on_cores = by_hand(jobs_on_cores, case.folder(base, "by_hand_on_cores"))[1]
    one = by_snakemake(case, 1, case.folder(base, "snakemake"))
    several = by_snakemake(case, cores, case.folder(base, "snakemake_on_cores"))
    digest = same_results(sorted(base.glob(f"*/{case.results}")))

    inside = seconds_inside(jobs, base / "snakemake")
    print_rules(jobs, each, inside)
    around = one.wall - planning.wall - sum(inside)
    return {
        "study": f"{case.study}, {case.scale}",
        "jobs": len(jobs),
        "cores": cores,
        "by_hand_seconds": sum(each),
        "by_hand_on_cores_seconds": sum(each_on_cores),
        "snakemake_seconds": one.wall,
        "snakemake_on_cores_seconds": several.wall,
        "ratio": several.wall / sum(each_on_cores),
        "ratio_one_core": one.wall / sum(each),
        "cpu_ratio_one_core": one.cpu / hand.cpu,
        "largest_ratio_wanted": TARGET,
        "planning_seconds": planning.wall,
        "in_jobs_seconds": sum(inside) - sum(each),
        "around_seconds": around,
        "around_seconds_per_job": around / len(jobs),
        "result_digest": digest,
    }


def main() -> None:
    """Reads the options, measures, prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--study", default="lynx_hare")
    parser.add_argument("--scale", default="laptop")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument(
        "--folder", type=Path, help="new folder that keeps all runs; a temporary one if left out"
    )
    chosen = parser.parse_args()
    case = Case(chosen.study, chosen.scale)
    with TemporaryDirectory() if chosen.folder is None else nullcontext(chosen.folder) as base:
        print(json.dumps(measure(case, chosen.cores, Path(base).resolve())))


if __name__ == "__main__":
    main()

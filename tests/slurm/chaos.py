"""Kills random running jobs of a study for minutes, lets it finish, and holds it against an undisturbed run.

    python -m tests.slurm.chaos --seed 1

As root, on Debian with SLURM installed (`tests/slurm/cluster install`). It asserts that the results are the
same to the last bit, that at least so many jobs were lost, trainings among them, and that each job of the
study ended well exactly once: what is finished is not made again. The last line tells all that as JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.workflow.conftest import copy_project
from veridical.evidence import result_digest

from .on_slurm import FEWER, PROVENANCE, Job, Main, SlurmProject, asked, running_cluster, wait_for

SLOW = '''
import time

from veridical.tasks.gaussian_linear import GaussianLinear


class Slow(GaussianLinear):
    """The Gaussian task, as slow as a dear simulator."""

    def simulate(self, theta, noise, fidelity):
        time.sleep(8 * len(theta) / self.block_rows)
        return super().simulate(theta, noise, fidelity)
'''
SHARDS = 12  # for each replicate
LEAST_RUNNING = 4
WAYS = (
    ("scancel",),
    ("scancel", "--signal=KILL"),
    ("scancel", "--full", "--signal=KILL"),
    ("scontrol", "requeue"),
)


def study(project: SlurmProject) -> None:
    """Writes a study of many simulations and a few trainings."""
    settings = project.settings()
    method = settings["estimators"]["npe"]
    project.write(
        {
            **settings,
            "simulation": {"shard_rows": 250, "probe_rows": 50},
            "estimators": {"npe": {**method, "training": {"epochs": 6, "threads": 1}}},
            "budgets": [250 * SHARDS],
            "replicates": 3,
            "checks": FEWER,
        }
    )


def slow_down(project: SlurmProject) -> None:
    """Gives jobs the length that makes them worth killing; none of it changes a number."""
    (project.folder / "slow.py").write_text(SLOW)
    settings = project.settings()
    settings["task"] |= {"file": "slow.py", "class": "Slow"}
    project.write(settings)
    checkpoints = "src/veridical/training/checkpoints.py"
    project.edit(checkpoints, "save_seconds: float = 10.0", "save_seconds: float = 0.0")
    project.edit(checkpoints, "os.replace(draft, self.state)", "os.replace(draft, self.state); time.sleep(1)")


def kill_at_random(main: Main, rng: random.Random, seconds: float, every: float, least: int) -> Counter[str]:
    """Kills a running job every few seconds, once simulations have begun; returns how many of which rule.

    Each rule that runs has the same chance, however many jobs it has. It goes on for so many seconds, and
    until it has killed so many, or the study has ended. Where fewer than `LEAST_RUNNING` jobs run, it often
    kills none, so that a job can come to its end alone.
    """
    wait_for(lambda: any("_simulate_" in name for _, name in main.queue("RUNNING")), "a simulation")
    killed: Counter[str] = Counter()
    until = time.monotonic() + seconds
    while main.process.poll() is None and (time.monotonic() < until or killed.total() < least):
        time.sleep(every)
        running = [(number, name.split("_")[1]) for number, name in sorted(main.queue("RUNNING"))]
        if rng.randrange(max(len(running), LEAST_RUNNING)) < len(running):
            chosen = rng.choice(sorted({rule for _, rule in running}))
            number = rng.choice([number for number, rule in running if rule == chosen])
            done = subprocess.run([*rng.choice(WAYS), number], capture_output=True)  # it may just have ended
            killed[chosen] += done.returncode == 0
    return killed


def fixed(project: SlurmProject) -> list[str]:
    """Options that let each attempt ask for the same, since what doubles each time soon exceeds any node."""
    limits = ("mem_mb=2000", "runtime=30")
    rules = project.local.reruns()
    return ["--set-resources", *(f"{rule}:{limit}" for rule in sorted(rules) for limit in limits)]


def chaotic(project: SlurmProject, chosen: argparse.Namespace) -> tuple[Counter[str], list[Job]]:
    """Runs the study while its jobs are killed, then lets it end; returns kills by rule, and allocations."""
    rng = random.Random(chosen.seed)
    with project.start("--retries", "100", *fixed(project)) as main:
        killed = kill_at_random(main, rng, chosen.seconds, chosen.every, chosen.least)
        print(f"killed {killed.total()} jobs: {dict(killed)}", flush=True)
        assert killed["train"], "no training was killed; try another --seed, or more --seconds"
        main.end(patience=1800.0)  # after many losses the plugin looks every three minutes only
        jobs = main.jobs()
    return killed, jobs


def resumed(project: SlurmProject) -> list[int]:
    """The steps after which trainings went on."""
    paths = sorted(project.folder.glob("results/tiny/train/*/*/history.json"))
    return [step for path in paths for step in json.loads(path.read_text())["resumed_from"]]


def judge(jobs: list[Job], wanted: set[str], least: int) -> Counter[str]:
    """Returns how many allocations ended in which state.

    Raises:
        AssertionError: Unless enough jobs were lost, and each job ended well exactly once.
    """
    ends = Counter(job.state for job in jobs)
    print(f"allocations by their end: {dict(ends)}")
    lost = sum(n for state, n in ends.items() if state != "COMPLETED")
    assert lost >= least, f"expected at least {least} jobs to be lost to the kills, got {lost}"
    completed = Counter(job.name for job in jobs if job.state == "COMPLETED")
    twice = {name: n for name, n in completed.items() if n > 1}
    assert not twice, f"finished jobs were run again: {twice}"
    assert set(completed) == wanted, f"jobs that differ from the study's: {set(completed) ^ wanted}"
    return ends


def main() -> None:
    """Runs the study undisturbed, then in chaos, and compares."""
    parser = argparse.ArgumentParser(description="Kills jobs of a study at random and compares its results.")
    parser.add_argument("--seed", type=int, default=1, help="of the choice of jobs and of ways to kill them")
    parser.add_argument("--seconds", type=float, default=300.0, help="how long to go on killing")
    parser.add_argument("--every", type=float, default=4.0, help="seconds from one kill to the next")
    parser.add_argument("--least", type=int, default=20, help="how many jobs must be lost")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="veridical-chaos-") as name:
        folder = Path(name)
        calm = SlurmProject(copy_project(folder / "calm").folder)
        study(calm)
        calm.local.snakemake("--", PROVENANCE)
        expected = result_digest.digest(calm.folder / "results/tiny")
        print("the undisturbed run has ended", flush=True)
        wild = SlurmProject(copy_project(folder / "wild").folder)
        wild.fill_in_profile()
        study(wild)
        slow_down(wild)
        with running_cluster():
            killed, jobs = chaotic(wild, chosen)
            ends = judge(jobs, set(asked(wild)), chosen.least)
        found, steps = result_digest.digest(wild.folder / "results/tiny"), resumed(wild)
    print(f"undisturbed {expected}\nin chaos    {found}")
    assert found == expected, "the results differ"
    told = {"killed": killed.total(), **{f"killed_{rule}": n for rule, n in sorted(killed.items())}}
    told |= {f"ended_{state.lower()}": n for state, n in sorted(ends.items())}
    print(json.dumps({**vars(chosen), **told, "trainings_resumed_after_steps": steps, "same_digest": True}))


if __name__ == "__main__":
    main()

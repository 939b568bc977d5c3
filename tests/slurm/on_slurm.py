"""A project whose jobs go to the test cluster, and what SLURM tells of them."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.workflow.conftest import Project

CLUSTER = Path(__file__).with_name("cluster")
PATIENCE = 300.0  # seconds; beyond any good run on a busy machine
CHECKS = ("coverage", "tarp", "scores", "predictive", "typicality", "exact", "detection")
NEARBY = ("local_ranks", "local_c2st", "importance", "prior_sensitivity")
FEWER = {name: None for name in (*CHECKS, *NEARBY)}  # leaves one check, so that a study is a dozen jobs
QUICK = ("--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "5")
PROVENANCE = "results/tiny/provenance.json"  # with it there is a digest
FIELDS = "JobIDRaw,Comment,Partition,State,ReqTRES,TimelimitRaw,NodeList"

T = TypeVar("T")


def cluster(*command: str) -> None:
    """Calls the cluster's script; raises with what it said where it fails."""
    done = subprocess.run([CLUSTER, *command], text=True, capture_output=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"cluster {' '.join(command)}:\n{done.stdout}{done.stderr}"


@contextmanager
def running_cluster() -> Iterator[None]:
    """The cluster, for this process alone (another one waits), and stopped whatever ends this."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    with (Path(tempfile.gettempdir()) / "veridical-slurm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            cluster("start")
            yield
        finally:
            cluster("stop")
            signal.signal(signal.SIGTERM, before)


def wait_for(condition: Callable[[], T | None], what: str, patience: float = PATIENCE) -> T:
    """Asks until the answer is true, and returns it."""
    until = time.monotonic() + patience
    while not (answer := condition()):
        assert time.monotonic() < until, f"waited {patience:g} s for {what}"
        time.sleep(0.1)
    return answer


def query(*command: str) -> list[list[str]]:
    """The lines that one of SLURM's commands prints, cut at `|`; none while the controller is away."""
    done = subprocess.run(command, text=True, capture_output=True)
    return [line.split("|") for line in done.stdout.splitlines()] if done.returncode == 0 else []


def node_of(number: str) -> str:
    """Where a job runs now; empty while it does not."""
    found = query("squeue", "--noheader", "--states", "RUNNING", "--jobs", number, "--format", "%N")
    return found[0][0] if found else ""


@dataclass(frozen=True)
class Job:
    """One allocation of SLURM's; a job that was requeued has several.

    Attributes:
        id: Its number.
        name: Rule and wildcards, as Snakemake's plugin writes them: `rule_train_wildcards_tiny_npe_n1000-r0`.
        partition: Where it ran.
        state: Such as RUNNING, COMPLETED, FAILED.
        cpus: CPUs asked for.
        gpus: GPUs asked for.
        mem_mb: Memory asked for.
        minutes: Time limit.
        node: The node, or `None assigned`.
    """

    id: str
    name: str
    partition: str
    state: str
    cpus: int
    gpus: int
    mem_mb: int
    minutes: int
    node: str

    @classmethod
    def of(cls, fields: list[str], names: dict[str, str]) -> Job:
        """Reads a line of `sacct`, which knows the name of a job only when that has ended."""
        number, name, partition, state, resources, minutes, node = fields
        asked = dict(part.split("=") for part in resources.split(","))
        return cls(
            id=number,
            name=name or names.get(number, ""),
            partition=partition,
            state=state.split()[0],  # CANCELLED by 0
            cpus=int(asked["cpu"]),
            gpus=int(asked.get("gres/gpu", 0)),
            mem_mb=megabytes(asked["mem"]),
            minutes=int(minutes),
            node=node,
        )


def megabytes(text: str) -> int:
    """Reads SLURM's `3000M` or `2.50G`."""
    return round(float(text[:-1]) * {"M": 1, "G": 1024}[text[-1]])


class SlurmProject(Project):
    """A copy of the project that works by `profiles/slurm`, its EDIT lines filled in."""

    @property
    def command(self) -> list[str]:
        """Snakemake with the profile for SLURM."""
        return [sys.executable, "-m", "snakemake", "--profile", "profiles/slurm", *QUICK]

    @property
    def local(self) -> Project:
        """The same folder, by the local profile."""
        return Project(self.folder)

    def fill_in_profile(self) -> None:
        """Does what the profile asks its reader to do."""
        file = self.folder / "profiles/slurm/profile.yaml"
        text, n = re.subn(r"(?<=slurm_account: )\S+", "test", file.read_text())
        assert n == 1, "the profile names one account"
        file.write_text(text)

    def start(self, *options: str) -> Main:
        """Starts Snakemake in the background."""
        return Main(self, *options)

    def finish(self, *options: str) -> Main:
        """Runs Snakemake to its end, which must be a good one."""
        main = self.start(*options)
        main.end()
        return main


class Main:
    """A Snakemake in the background that submits jobs. A context manager: what still runs is killed."""

    def __init__(self, project: SlurmProject, *options: str) -> None:
        self.project = project
        number = len(list(project.folder.glob("main-*.log")))
        self.log = project.folder / f"main-{number}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*project.command, "--configfile", "config/tiny.yaml", *options],
                cwd=project.folder,
                env=project.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def __enter__(self) -> Main:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()
        if self.id():
            subprocess.run(["scancel", "--name", self.id()], check=True)

    def kill(self) -> None:
        """Ends it at once, as a power cut of the login node would; its jobs run on."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self, good: bool = True, patience: float = PATIENCE) -> str:
        """Waits for its end, which must be a good one or a bad one; returns what it said."""
        wait_for(lambda: self.process.poll() is not None, f"the end of Snakemake ({self.log})", patience)
        text = self.log.read_text()
        assert (self.process.returncode == 0) == good, f"{self.log}:\n{text[-8000:]}"
        return text

    def id(self) -> str:
        """The name that all its jobs carry; empty before it has one."""
        found = re.search(r"SLURM run ID: (\S+)", self.log.read_text())
        return found[1] if found else ""

    def jobs(self) -> list[Job]:
        """All its allocations so far, in order."""
        wait_for(self.id, "the first job")
        asked = ("--allocations", "--duplicates", "--noheader", "--parsable2", "--starttime", "now-1days")
        found = query("sacct", *asked, "--name", self.id(), "--format", FIELDS)
        names = dict(self.queue("all"))
        return [Job.of(fields, names) for fields in found]

    def running(self, rule: str) -> str:
        """The number of the job of a rule that runs now."""
        (number,) = (number for number, name in self.queue("RUNNING") if name.startswith(f"rule_{rule}_"))
        return number

    def queue(self, states: str) -> list[list[str]]:
        """Numbers and names of jobs that the controller knows."""
        return query("squeue", "--noheader", "--states", states, "--name", self.id(), "--format", "%A|%k")


def asked(project: SlurmProject) -> dict[str, dict[str, str]]:
    """What the jobs of the finished study asked for, by their names on the cluster, as a dry run tells it."""
    rules = "".join(path.read_text() for path in project.folder.glob("workflow/**/*") if path.is_file())
    local = set(
        re.findall(r"^rule (\w+):\n(?:(?:    .*)?\n)*?    localrule: True", rules, flags=re.MULTILINE)
    )
    text = project.snakemake("--dry-run", "--forceall", "--cores", "64").stdout  # it caps threads
    found = {}
    for rule, lines in re.findall(r"^rule (\w+):\n((?:    .*\n)+)", text, flags=re.MULTILINE):
        if rule in local:
            continue
        about = dict(re.findall(r"^    (\w+): (.*)$", lines, flags=re.MULTILINE))
        resources = dict(part.split("=", 1) for part in about["resources"].split(", "))
        values = [part.split("=", 1)[1] for part in about.get("wildcards", "").split(", ") if part]
        name = f"rule_{rule}" + ("_wildcards_" + "_".join(values) if values else "")
        found[name] = {"threads": about.get("threads", "1"), **resources}
    return found

"""A copy of the project with a tiny study that has run to its end."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
Done = subprocess.CompletedProcess

TINY = {
    "study": "tiny",
    "seed": 7,
    "task": {"name": "gaussian_linear", "settings": {"dimension": 2}, "block_rows": 250},
    "simulation": {"shard_rows": 1000, "probe_rows": 50},
    "observations": {"field": {"file": "config/data/field.csv", "layout": "table"}},
    "estimators": {
        "npe": {
            "type": "npe",
            "summary": {"type": "none"},
            "flow": {"transforms": 1, "bins": 4, "hidden": [16]},
            "training": {"epochs": 3, "threads": 2, "batch_size": 256},
        }
    },
    "budgets": [1000],
    "replicates": 1,
    "test_rows": 100,
    "draws": 200,
    "test_draws": 99,
    "checks": {"exact": {"observations": 1, "draws": 50}},
    "scales": {"smoke": {"test_rows": 60}},
}


@dataclass
class Project:
    """A copy of the project in a folder of its own."""

    folder: Path

    @property
    def command(self) -> list[str]:
        """Snakemake with the local profile."""
        return [sys.executable, "-m", "snakemake", "--profile", "profiles/local", "--cores", "2"]

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which the code of the copy is what runs."""
        return {**os.environ, "PYTHONPATH": str(self.folder / "src"), "PYTHONDONTWRITEBYTECODE": ""}

    def run(self, command: list[str], *, check: bool = True, **options: Any) -> Done:
        """Runs a command there, on the code of the copy."""
        there = {"cwd": self.folder, "env": self.environment, "text": True, "capture_output": True}
        done = subprocess.run(command, **{**there, **options})
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-6000:]}")
        return done

    def snakemake(self, *options: str, study: str = "tiny", **others: Any) -> Done:
        """Runs a study there."""
        return self.run([*self.command, "--configfile", f"config/{study}.yaml", *options], **others)

    def veridical(self, *arguments: str, **others: Any) -> Done:
        """Runs `python -m veridical` there."""
        return self.run([sys.executable, "-m", "veridical", *arguments], **others)

    def reruns(self, *options: str, study: str = "tiny") -> dict[str, int]:
        """Rules that would run now and how often; empty where nothing would."""
        done = self.snakemake("--dry-run", *options, study=study)
        return counts_of(done.stdout + done.stderr)

    def ran(self) -> set[str]:
        """Rules that the last run ran, by its full log."""
        log = max((self.folder / ".snakemake/log").glob("*.log"))
        return set(re.findall(r"^(?:local)?rule (\w+):", log.read_text(), flags=re.MULTILINE))

    def settings(self, study: str = "tiny") -> dict:
        """The settings of a study there."""
        return yaml.safe_load((self.folder / f"config/{study}.yaml").read_text())

    def write(self, settings: dict, study: str = "tiny") -> None:
        """Writes a study there."""
        (self.folder / f"config/{study}.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))

    def edit(self, path: str, old: str, new: str) -> None:
        """Replaces text in a file there."""
        file = self.folder / path
        text = file.read_text()
        assert old in text, f"{path} has no {old!r}"
        file.write_text(text.replace(old, new, 1))

    def add_code(self, path: str) -> None:
        """Adds a line of code to a Python file there."""
        file = self.folder / path
        file.write_text(file.read_text() + "\nANSWER = 42\n")


def counts_of(text: str) -> dict[str, int]:
    """Rules that Snakemake says it would run and how often; empty where nothing would."""
    if "Nothing to be done" in text:
        return {}
    table = text[text.index("Job stats:") :].split("\ntotal")[0]
    counts = dict(re.findall(r"^(\w+) +(\d+)$", table, flags=re.MULTILINE))
    return {rule: int(n) for rule, n in counts.items() if rule != "all"}


def copy_project(folder: Path) -> Project:
    """Copies what the workflow needs into a folder."""
    for name in ("workflow", "scripts", "envs", "profiles", "src"):
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    for name in ("README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "config" / "data").mkdir(parents=True)
    (folder / "config" / "data" / "field.csv").write_text("x0,x1\n0.3,-0.2\n0.1,0.4\n")
    project = Project(folder)
    project.write(TINY)
    return project


Share = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def share(tmp_path_factory: pytest.TempPathFactory) -> Share:
    """Makes a folder once for all processes of a test run: by the first that asks, while others wait."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def once(name: str, make: Callable[[Path], object]) -> Path:
        folder, made = base / name, base / f"{name}.made"
        with (base / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                shutil.rmtree(folder, ignore_errors=True)
                make(folder)
                made.touch()
        return folder

    return once


@pytest.fixture(scope="session")
def finished(share: Share) -> Project:
    """The tiny study, run to its end once for all tests."""

    def make(folder: Path) -> None:
        (folder / "said.txt").write_text(copy_project(folder).snakemake().stderr)

    return Project(share("finished", make))


def changeable(project: Project, folder: Path) -> Project:
    """A copy of a project that a test may change."""
    shutil.copytree(project.folder, folder, symlinks=True, copy_function=shutil.copy2)
    return Project(folder)


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished study that a test may change."""
    return changeable(finished, tmp_path / "project")


@dataclass
class Examples:
    """The files of docs/bring_your_own.md in a folder of a user's own, outside the project."""

    folder: Path
    page: str

    def snakemake(self, study: str, *options: str, profile: bool = True, **changes: dict) -> Done:
        """Runs a study of the page there at the smoke scale, but for what must be quicker."""
        quicker = f"quicker_{study}.yaml"
        (self.folder / quicker).write_text(yaml.safe_dump({"replicates": 1, **changes}))
        clone = self.folder.parent / "a clone"
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(clone / "workflow/Snakefile")]
        command += ["--profile", str(clone / "profiles/local")] if profile else []
        command += ["--configfile", f"config/{study}.yaml", quicker, "--config", "scale=smoke"]
        return Project(clone).run([*command, "--cores", "2", *options], cwd=self.folder)

    def results(self, study: str) -> Path:
        """The folder of results of a study at the smoke scale."""
        return self.folder / "results" / f"{study}@smoke"


def files_of(page: str) -> dict[str, str]:
    """The files that a page shows: code blocks whose first line is a comment with a path."""
    blocks = re.findall(r"^```\w+\n((?:#|//) (\S+/\S+)\n.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    return {path: text for text, path in blocks}


@pytest.fixture(scope="session")
def examples(share: Share) -> Examples:
    """The examples as a reader saves them, in a folder with spaces in its name; scripts have run."""
    page = (ROOT / "docs" / "bring_your_own.md").read_text()

    def save(base: Path) -> None:
        copy_project(base / "a clone")
        folder = base / "my three cups"
        for name, text in files_of(page).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        for script in sorted((folder / "models").glob("make_*.py")):
            subprocess.run([sys.executable, script.relative_to(folder)], cwd=folder, check=True)

    return Examples(share("examples", save) / "my three cups", page)


QUICK = {
    "checks": {"coverage": None, "scores": None, "tarp": None, "predictive": None, "typicality": None},
    "reference": {"ensembles": 2},
}


@pytest.fixture(scope="session")
def levels(examples: Examples, share: Share) -> Path:
    """Results of the study with two fidelities and a reference: plain Snakemake, without a profile."""
    share("levels", lambda _: examples.snakemake("coffee_levels", profile=False, **QUICK))
    return examples.results("coffee_levels")


FEW: dict[str, Any] = {"epochs": 2, "rounds": 2}
NPE: dict[str, Any] = {
    "type": "npe",
    "summary": {"type": "mlp", "hidden": [8], "features": 2},
    "flow": {"transforms": 1, "bins": 4, "hidden": [8]},
    "training": FEW,
}
REAL: dict[str, Any] = {
    "study": "real",
    "seed": 7,
    "task": {
        "name": "gaussian_linear",
        "settings": {"dimension": 2, "real_noise_sd": 1.4},
        "block_rows": 100,
    },
    "simulation": {"shard_rows": 500, "probe_rows": 50},
    "estimators": {
        "npe": NPE,
        "early": {**NPE, "budgets": [500]},
        "late": {**NPE, "start": "early"},
    },
    "remedies": {
        "rope_tuning_only": {"type": "tuned", "of": "npe", "steps": 5, "looks": 2},
        "rope": {"type": "rope", "of": "rope_tuning_only", "simulations": 50},
    },
    "budgets": [1000],
    "calibration": [20],
    "replicates": 1,
    "test_rows": 60,
    "draws": 100,
    "test_draws": 99,
    "checks": {
        "sbc": None,
        "tarp": None,
        "detection": None,
        "typicality": None,
        "exact": {"observations": 1, "draws": 50},
    },
    "experiments": {"batches": 1, "rows": 30, "draws": 99, "methods": ["rope"]},
}
WALKERS = {"walkers": 20, "prior_draws": 100, "warm_up": 10, "steps": 10, "doublings": 0, "proposals": 200}
LIKELIHOODS: dict[str, Any] = {
    **{name: REAL[name] for name in ("seed", "task", "simulation", "replicates", "draws", "test_draws")},
    "study": "likelihoods",
    "estimators": {
        "chains": {"type": "nre", "training": NPE["training"], "sampling": WALKERS},
        "weights": {"type": "nle", "training": NPE["training"], "sampling": {**WALKERS, "by": "importance"}},
    },
    "budgets": [500],
    "test_rows": 60,
    "checks": {"sbc": None, "wilks": {"observations": 5, "cells": 10}},
}
RATIOS: dict[str, Any] = {
    "study": "ratios",
    "seed": 7,
    "task": {"name": "gaussian_classes", "settings": {"separation": 0.5}, "block_rows": 250},
    "simulation": {"shard_rows": 500, "probe_rows": 50},
    "estimators": {"ratios": {"type": "ratios", "members": 2, "training": {"epochs": 2}}},
    "remedies": {"wifi": {"type": "wifi", "of": "ratios", "fit_rows": 500}},
    "budgets": [500],
    "replicates": 1,
    "experiments": {
        "batches": 1,
        "rows": 5,
        "true_values": [0.3],
        "events": 500,
        "fit_rows": 500,
        "pool": 1000,
    },
}


@pytest.fixture(scope="session")
def finished_methods(share: Share) -> Project:
    """Both studies, run to their ends once for all tests."""

    def run(folder: Path) -> None:
        project = copy_project(folder)
        for study in (REAL, RATIOS, LIKELIHOODS):
            project.write(study, study["study"])
            project.snakemake(study=study["study"])

    return Project(share("methods", run))


ROUNDS: dict[str, Any] = {
    **TINY,
    "study": "rounds",
    "estimators": {
        "tsnpe": {
            "type": "tsnpe",
            "rounds": 2,
            "rows": [1000, 600],
            "posterior": {**TINY["estimators"]["npe"], "training": {"epochs": 8}},
        },
    },
    "checks": {"sbc": {}, "coverage": {}, "tarp": {}, "typicality": {}},
}


@pytest.fixture(scope="session")
def finished_rounds(share: Share) -> Project:
    """A study of rounds for one observation, run to its end once for all tests."""

    def run(folder: Path) -> None:
        project = copy_project(folder)
        (project.folder / "config/data/field.csv").write_text("x0,x1\n0.3,-0.2\n")
        project.write(ROUNDS, "rounds")
        project.snakemake(study="rounds")

    return Project(share("rounds", run))

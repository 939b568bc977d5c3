"""Runs the study of a case in a copy of its folder, as users do, and has it judged."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from case_judges import Ended, Judge

from veridical.errors import VeridicalError

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Case:
    """One study of a case.

    Attributes:
        folder: The folder of the case.
        study: Its study file in there.
        before: What came of it, in a few words.
        judge: Says what is right now.
        target: What is asked of Snakemake, below the study's results; everything if empty.
        change: Entries of the study file that are put in others' place; all of one that is not there.
        what: What differs from the study file, in a word.
        said: A model, a text in it and what stands there instead, as a user adds what the page names.
    """

    folder: str
    study: str
    before: str
    judge: Judge
    target: str = ""
    change: dict[str, Any] = field(default_factory=dict)
    what: str = ""
    said: tuple[str, str, str] | None = None


def run(case: Case, home: Path, scratch: Path, cores: int) -> Ended:
    """Runs a study in a copy of its folder."""
    folder = scratch / case.folder
    shutil.copytree(home / case.folder, folder)
    if (folder / "make_runs.py").exists():
        subprocess.run([sys.executable, "make_runs.py"], cwd=folder, check=True)
    (file,) = list(folder.rglob(f"{case.study}.yaml")) or [folder / f"{case.study}.yaml"]
    name = case.study
    if case.said:
        model, old, new = case.said
        (folder / model).write_text((folder / model).read_text().replace(old, new))
    if case.change:
        written = yaml.safe_load(file.read_text()) if file.exists() else {"study": case.study}
        settings = {**written, **case.change}
        file.write_text(yaml.safe_dump(settings))
        name = settings["study"]
    found = re.search(r"^study: (\S+)", file.read_text(errors="replace"), re.MULTILINE)
    results = folder / "results" / (found[1] if found else name)
    target = [f"results/{results.name}/{case.target}"] if case.target else []
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "workflow" / "Snakefile"]
    command += ["--profile", ROOT / "profiles" / "local", "--configfile", file.relative_to(folder)]
    done = subprocess.run(
        [*map(str, command), "--cores", str(cores), *target],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        text=True,
        errors="replace",
        capture_output=True,
    )
    return Ended(folder, done.stdout + done.stderr, done.returncode, results)


def judged(case: Case, home: Path, cores: int) -> tuple[bool, str]:
    """Whether a case is right, and what came of it."""
    with tempfile.TemporaryDirectory(prefix="case-") as scratch:
        ended = run(case, home, Path(scratch), cores)
        try:
            return True, case.judge(ended).replace(scratch, "").strip()
        except (AssertionError, ValueError, VeridicalError) as fault:
            return False, f"{type(fault).__name__}: {fault} {ended.said[-2000:]}"

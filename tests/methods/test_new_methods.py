"""A new method is its files and one line of a registry: the contract takes it up, and studies may name it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
NEW = {  # room: name, the method that it differs from in nothing else, its class, its settings
    "estimators": ("twin", "joint", "JointNPE", "JNPESettings"),
    "remedies": ("again", "tuned", "Tuned", "TunedSettings"),
}
STUDY = """
from veridical.study import layout, settings, validation
study = {"study": "s", "seed": 1, "task": "gaussian_chain", "budgets": [100], "calibration": [20]}
study |= {"estimators": {"first": {"type": "twin"}}, "remedies": {"second": {"type": "again", "of": "first"}}}
made = layout.Layout(settings.parse(study))
validation.validate(made)
print([run.folder for run in made.runs if not run.replicate], list(settings.schema()["$defs"]))
"""


def python(folder: Path, *given: str) -> str:
    env = {"PYTHONPATH": str(folder / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *given], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_files_and_one_line_make_a_method(tmp_path: Path) -> None:
    for name in ("src", "tests/methods", "tests/remedies", "tests/conftest.py", "pyproject.toml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (tmp_path / name).parent.mkdir(exist_ok=True)
        copy(ROOT / name, tmp_path / name)
    for room, (name, old, cls, settings) in NEW.items():
        home, package = tmp_path / "src" / "veridical" / room, f"veridical.{room}"
        (home / f"{name}_settings.py").write_text(
            f"from typing import Literal\nfrom {package}.{old}_settings import {settings}\n"
            f'class New({settings}):\n    type: Literal["{name}"] = "{name}"\n'
        )
        (home / f"{name}.py").write_text(
            f'from {package}.{old} import {cls}\nclass New({cls}):\n    type = "{name}"\n'
        )
        with (home / "__init__.py").open("a") as registry:
            registry.write(f"from {package}.{name}_settings import New\n")
            registry.write(f'{room.upper()}["{name}"] = Entry(New, "{package}.{name}:New")\n')
    told = python(tmp_path, "-c", STUDY)
    assert "first/n100-c20-r0" in told and "second/n100-c20-r0" in told and "New" in told
    chosen = "(twin or again) and not rope"
    told = python(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/methods", "-k", chosen)
    passed = re.search(r"(\d+) passed", told)
    assert passed and int(passed[1]) >= 6 * 4, (
        "two methods, and each remedy around each method with an encoder"
    )

"""One file and one line bring a new task, estimator, remedy, check or figure, from settings to the report."""

from __future__ import annotations

import filecmp
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from veridical.evidence import metrics

from .conftest import ROOT, Project, copy_project

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

NEWCOMERS = Path(__file__).parent / "newcomers"
LINES = {  # the room of each, and what its line in the registry of that room names
    "task": ("tasks", "NewcomerTask"),
    "estimator": ("estimators", "NewcomerSettings"),
    "remedy": ("remedies", "NewcomerRemedySettings"),
    "check": ("checks", "NewcomerCheck"),
    "figure": ("figures", "NewcomerFigure"),
}
FIRST = {
    "tasks": "cancer_stromal",
    "estimators": "npe",
    "remedies": "tuned",
    "checks": "sbc",
    "figures": "coverages",
}
STUDY = {
    "study": "newcomers",
    "seed": 7,
    "task": "newcomer_task",
    "simulation": {"shard_rows": 500, "probe_rows": 50},
    "estimators": {"newcomer": {"type": "newcomer_estimator"}},
    "remedies": {"moved": {"type": "newcomer_remedy", "of": "newcomer"}},
    "budgets": [500],
    "calibration": [40],
    "replicates": 1,
    "test_rows": 60,
    "draws": 100,
    "test_draws": 99,
}
CONTRACTS = (
    "tasks/test_registry.py",
    "methods/test_contract.py",
    "checks/test_contract.py",
    "figures/test_contract.py",
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the project to which five files and five lines were added, with a study that ran there."""
    project = copy_project(tmp_path_factory.mktemp("newcomers"))
    package = project.folder / "src" / "veridical"
    for kind, (room, named) in LINES.items():
        module = f"newcomer_{kind}"
        shutil.copy(NEWCOMERS / f"{module}.py", package / room)
        project.edit(
            f"src/veridical/{room}/__init__.py",
            f'    "{FIRST[room]}": ',
            f'    "{module}": "veridical.{room}.{module}:{named}",\n    "{FIRST[room]}": ',
        )
    project.write(STUDY, "newcomers")
    project.snakemake(study="newcomers")
    return project


def test_nothing_else_was_touched(project: Project) -> None:
    here, there = ROOT / "src" / "veridical", project.folder / "src" / "veridical"
    files = {path.relative_to(there) for path in there.rglob("*.py")}
    added = {path for path in files if not (here / path).exists()}
    assert added == {Path(room, f"newcomer_{kind}.py") for kind, (room, _) in LINES.items()}
    changed = {path for path in files - added if not filecmp.cmp(here / path, there / path, shallow=False)}
    assert changed == {Path(room, "__init__.py") for room, _ in LINES.values()}
    for path in changed:
        before, after = ((folder / path).read_text().splitlines() for folder in (here, there))
        assert len(after) == len(before) + 1


def test_all_of_them_are_in_the_report(project: Project) -> None:
    results = project.folder / "results" / "newcomers"
    page = (results / "report.html").read_text()
    said = (
        "newcomer_task",
        "newcomer",
        "moved (40 pairs)",
        "mean error, as a newcomer tests it",
        "The newcomer looked at",
    )
    assert [words for words in said if words not in page] == []
    rows = metrics.read(results / "metrics.csv")
    found = {(r["method"], r["metric"]) for r in rows}
    assert {("newcomer", "newcomer_bias"), ("newcomer", "newcomer_check_p"), ("moved", "lpp")} <= found


def test_they_keep_the_contracts(project: Project) -> None:
    """The tests of the registries, as they stand, hold what was added to the same promises."""
    tests = project.folder / "tests"
    shutil.copytree(ROOT / "tests", tests, ignore=shutil.ignore_patterns("__pycache__"))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-rp",
        "-p",
        "no:cacheprovider",
        *(f"tests/{contract}" for contract in CONTRACTS),
        "-k",
        "newcomer",
    ]
    done = subprocess.run(
        command, cwd=project.folder, env=project.environment, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stdout[-4000:]
    for contract in CONTRACTS:
        assert f"PASSED tests/{contract}::" in done.stdout, contract

"""`python -m veridical new`: from a new folder to a finished report, in each way to run it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from veridical import project
from veridical.study import code_digests

from .conftest import ROOT, Project, copy_project

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

SNAKEMAKE = (sys.executable, "-m", "snakemake")
VERIDICAL = (sys.executable, "-m", "veridical")
SMOKE = ("--config", "scale=smoke")
SNAKEFILE = re.compile(r"```python\n(.*?)```", flags=re.DOTALL)
QUICKER = {
    "estimators": {"npe": {"training": {"epochs": 2}}},
    "checks": {"coverage": None, "scores": None, "tarp": None, "predictive": None, "detection": None}
    | {"local_ranks": None, "local_c2st": None},
}


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the package has been installed from a wheel."""
    base = tmp_path_factory.mktemp("wheel")
    clone = copy_project(base / "clone").folder
    for name in ("setup.py", "LICENSE"):
        shutil.copy(ROOT / name, clone)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", base, clone],
        check=True,
        capture_output=True,
    )
    (wheel,) = base.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", base / "site", wheel], check=True)
    shutil.copy(wheel, base / "site")
    return base / "site"


def run(code: Path, folder: Path, *command: str, check: bool = True) -> str:
    """What a command says in a folder, with the package in `code`."""
    environment = {**os.environ, "PYTHONPATH": str(code)}
    done = Project(folder).run([*command], env=environment, check=check)
    return done.stdout + done.stderr


def snakemake(code: Path, folder: Path, *options: str) -> str:
    """What Snakemake says there with the project's profile."""
    return run(code, folder, *SNAKEMAKE, "--profile", "profiles/local", "--cores", "2", *options)


def by_its_path(code: Path, folder: Path) -> list[str]:
    """What to say so that Snakemake runs a study at the smoke scale, but quicker."""
    (folder / "quicker.yaml").write_text(yaml.safe_dump(QUICKER))
    path = run(code, folder, *VERIDICAL, "workflow").strip()
    return ["-s", path, "--configfile", f"config/{folder.name}.yaml", "quicker.yaml", *SMOKE]


def assert_finished(folder: Path) -> None:
    """The report is there, and the estimates are those of an influenza."""
    results = folder / "results" / f"{folder.name}@smoke"
    assert "How fast does influenza spread" in (results / "report.html").read_text()
    (verdict,) = json.loads((results / "verdict.json").read_text())["verdicts"]
    assert (verdict["method"], verdict["dataset"], verdict["budget"]) == ("npe", "school", 1000)


def test_the_wheel_holds_the_workflow_as_it_stands(site: Path) -> None:
    (wheel,) = site.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        prefix = "veridical/_workflow/"
        held = {
            name.removeprefix(prefix): opened.read(name)
            for name in opened.namelist()
            if name.startswith(prefix)
        }
        assert "snakemake_logger_plugin_veridical/screen.py" in opened.namelist()
    folders = ("workflow", "scripts", "envs", "profiles")
    paths = [path for name in folders for path in (ROOT / name).rglob("*") if path.is_file()]
    expected = {str(path.relative_to(ROOT)): path.read_bytes() for path in paths if path.suffix != ".pyc"}
    assert held == expected


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_a_class_as_written_by_make_in_an_installed_package(site: Path, tmp_path: Path) -> None:
    folder = tmp_path / "my flu" / "flu"
    folder.parent.mkdir()
    run(site, folder.parent, *VERIDICAL, "new", "flu")
    said = run(site, folder, "make", f"PYTHON={sys.executable}", "SCALE=smoke")
    assert f"{folder}/results/flu@smoke/report.html" in said
    assert_finished(folder)
    assert not (ROOT / "results" / "flu@smoke").exists()
    snakemake(site, folder, *by_its_path(site, folder)[:4], *SMOKE, "--report", "all.html")
    assert "Start with the report" in (folder / "all.html").read_text()


@pytest.mark.parametrize("kind", ["command", "file"])
def test_from_nothing_to_a_report_by_the_path_of_the_workflow(kind: str, site: Path, tmp_path: Path) -> None:
    folder = tmp_path / "flu"
    run(site, tmp_path, *VERIDICAL, "new", "flu", "--task", kind)
    snakemake(site, folder, *by_its_path(site, folder))
    assert_finished(folder)
    if kind == "file":
        as_a_module(site, folder)


def as_a_module(code: Path, folder: Path) -> None:
    """The README's Snakefile takes the results of the other way for its own, and makes what is missing."""
    (snakefile,) = SNAKEFILE.findall((folder / "README.md").read_text())
    (folder / "Snakefile").write_text(snakefile)
    smoke = ("--configfile", "quicker.yaml", *SMOKE)
    assert "Nothing to be done" in snakemake(code, folder, *smoke, "--dry-run")
    report = folder / "results" / "flu@smoke" / "report.html"
    report.unlink()
    assert "2 of 2 jobs" in snakemake(code, folder, *smoke)
    assert report.is_file()
    assert "good condition" in snakemake(code, folder, *smoke, "--lint")


def test_as_a_module_of_a_clone_with_a_rule_of_the_users_own(tmp_path: Path) -> None:
    source, folder = code_digests.SOURCE.parent, project.create(tmp_path / "flu")
    (snakefile,) = SNAKEFILE.findall((folder / "README.md").read_text())
    own = "rule mine:\n    input: rules.report.output.page\n    output: 'mine.txt'\n"
    own += "    shell: 'touch {output}'\n"
    (folder / "Snakefile").write_text(f"{snakefile}\n\n{own}")
    said = snakemake(source, folder, *SMOKE, "--", "results/flu@smoke/observe/school.nc")
    assert "1 of 1 jobs" in said
    direct = ("-s", project.snakefile(), "--configfile", "config/flu.yaml", *SMOKE)
    counts = [
        dict(re.findall(r"^(\w+) +(\d+)$", snakemake(source, folder, "--dry-run", *way), flags=re.MULTILINE))
        for way in (direct, SMOKE, (*SMOKE, "--", "mine.txt"))
    ]
    assert counts[0] == counts[1] and counts[0]["train"] == "1" and "observe" not in counts[0]
    assert counts[2].pop("mine") == "1"
    assert {**counts[2], "all": "1", "outcome": "1", "total": counts[0]["total"]} == counts[0]


def test_rules_and_package_of_two_installations_are_told_apart(site: Path, tmp_path: Path) -> None:
    folder = project.create(tmp_path / "flu")
    command = [*SNAKEMAKE, "-s", str(site / "veridical/_workflow/workflow/Snakefile"), "--dry-run"]
    command += ["--configfile", "config/flu.yaml"]
    said = run(code_digests.SOURCE.parent, folder, *command, check=False)
    assert "Rules and package are of two installations: expected the package around" in said

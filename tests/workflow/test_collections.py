"""A collection of two tasks run to its end: one page, shared banks, and only what has changed runs again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from veridical import plan
from veridical.evidence import metrics
from veridical.plan import dry_run

from .conftest import TINY, Project, Share, changeable, copy_project

pytestmark = pytest.mark.workflow

NPE = TINY["estimators"]["npe"]
OFF = ("sbc", "tarp", "detection", "typicality", "exact")
COLLECTION: dict[str, Any] = {
    "collection": "pair",
    "title": "Two <tasks>",
    "seed": TINY["seed"],
    "tasks": {"two_moons": {}, "line": {"task": TINY["task"]}},
    "estimators": {"npe": NPE, "wide": {**NPE, "flow": {"transforms": 1, "bins": 4, "hidden": [24]}}},
    **{
        name: TINY[name]
        for name in ("simulation", "budgets", "replicates", "test_rows", "draws", "test_draws")
    },
    "checks": dict.fromkeys(OFF),
}
FILE = "collections/pair"
ON_TOP = {"metrics", "figures", "provenance", "report", "outcome"}  # of each study that has changed


@pytest.fixture(scope="session")
def finished_pair(share: Share) -> Project:
    """The collection, run to its end once for all tests."""

    def run(folder: Path) -> None:
        project = copy_project(folder)
        (project.folder / "config/collections").mkdir()
        project.write(COLLECTION, FILE)
        (folder / "said.txt").write_text(project.snakemake(study=FILE).stderr)

    return Project(share("pair", run))


@pytest.fixture
def project(finished_pair: Project, tmp_path: Path) -> Project:
    """A copy that a test may change."""
    return changeable(finished_pair, tmp_path / "project")


def to_do(project: Project, *options: str) -> list[dry_run.Job]:
    """The jobs that would run now."""
    return dry_run.jobs(project.snakemake("--dry-run", *options, study=FILE).stdout)


def test_all_studies_and_their_page_are_made(finished_pair: Project) -> None:
    folder = finished_pair.folder / "results/pair"
    tables = {name: metrics.read(folder / name / "metrics.csv") for name in ("two_moons", "line")}
    assert metrics.read(folder / "metrics.csv") == [*tables["two_moons"], *tables["line"]]
    page = (folder / "report.html").read_text()
    links = re.findall('href="([^"]+report.html)"', page)
    assert links == ["two_moons/report.html", "line/report.html"]
    assert all((folder / link).is_file() for link in links)
    assert "Two &lt;tasks&gt;" in page
    said = (finished_pair.folder / "said.txt").read_text()
    assert "Collection of 2 studies pair (laptop): results/pair" in said
    assert f"Report: {folder / 'report.html'}\n" in said
    assert to_do(finished_pair) == []


def test_another_task_redoes_nothing_of_the_others(project: Project) -> None:
    project.write({**COLLECTION, "tasks": {**COLLECTION["tasks"], "slcp": {}}}, FILE)
    for job in to_do(project):
        own = [path for path in (job.log, *job.outputs) if re.search(r"results/(pair/|bank/)slcp", path)]
        assert own or job.rule == "collection", job


def test_a_setting_of_one_estimator_redoes_its_cells_alone(project: Project) -> None:
    changed = {"npe": NPE, "wide": {**COLLECTION["estimators"]["wide"], "base": "none"}}
    project.write({**COLLECTION, "estimators": changed}, FILE)
    jobs = to_do(project)
    cells = [job for job in jobs if job.rule not in {*ON_TOP, "collection"}]
    assert {job.rule for job in cells} == {"train", "infer", "check"}
    assert all("/wide/" in job.log for job in cells)
    assert sum(job.rule == "train" for job in cells) == 2
    project.write(
        {**COLLECTION, "tasks": {**COLLECTION["tasks"], "two_moons": {"estimators": changed}}}, FILE
    )
    places = {job.log.split("/")[2] for job in to_do(project) if job.rule != "collection"}
    assert places == {"two_moons"}


def test_cells_are_those_of_a_study_alone(project: Project) -> None:
    project.write({**TINY, "observations": {}, "checks": COLLECTION["checks"]})
    assert "simulate" not in project.reruns()
    project.snakemake("--until", "train")
    weights = "train/npe/n1000-r0/weights.safetensors"
    alone, member = (project.folder / "results" / name / weights for name in ("tiny", "pair/line"))
    assert alone.read_bytes() == member.read_bytes()


def test_plan_and_status_know_all_studies(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.folder)
    text = project.snakemake("--dry-run", "--forceall", study=FILE).stdout
    costs = {cost.rule: cost for cost in plan.costs_of(text, f"config/{FILE}.yaml", "laptop")}
    assert costs["train"].jobs == 4
    assert [*costs["train"].basis] == ["measured at laptop"]
    assert costs["collection"].jobs == 1
    for place in (f"config/{FILE}.yaml", "results/pair"):
        said = project.veridical("status", place).stdout
        assert said.endswith("All is there: results/pair/report.html\n")
        assert re.search(r"^two_moons +\d+ +0 +0 +0$", said, re.MULTILINE)
    (project.folder / "results/pair/line/train/npe/n1000-r0/weights.safetensors").unlink()
    said = project.veridical("status", "results/pair").stdout
    assert re.search(r"^line +\d+ +0 +1 +0$", said, re.MULTILINE)


def test_what_is_wrong_with_one_task_stops_all(project: Project) -> None:
    project.write({**COLLECTION, "tasks": {**COLLECTION["tasks"], "slpc": {}}}, FILE)
    done = project.snakemake(study=FILE, check=False)
    assert done.returncode == 1
    assert "tasks.slpc: task 'slpc' is unknown. Did you mean 'slcp'?" in done.stderr
    assert "Traceback" not in done.stderr

"""What is trained, applied to new data: a first page, then observe onward; then verify, gc, export."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from veridical.evidence import metrics
from veridical.saved import observations, posteriors
from veridical.study import settings
from veridical.study.layout import Layout
from veridical.study.validation import validate

from .conftest import TINY, Project, Share, changeable
from .test_outputs import patterns

pytestmark = pytest.mark.workflow

ONWARD = {"observe", "look", "infer", "predict", "nearby", "densities", "check", "metrics", "figures"}
ONWARD |= {"provenance", "report", "outcome", "all"}
NEW = np.array([[0.9, 0.9], [-1.5, 0.2], [0.0, 0.0]])
SECOND = ("--config", "data=second_field.npz")
FIRST = (*SECOND, "--", "first_page")
PAGE = "tiny/second_field/report.html"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="session")
def applied(finished: Project, share: Share) -> Project:
    """The finished study applied to new data, once for all tests."""

    def run(folder: Path) -> None:
        project = changeable(finished, folder)
        np.savez(folder / "second_field.npz", x=NEW)
        project.snakemake(*SECOND)

    return Project(share("applied", run))


@pytest.mark.slow
def test_new_data_are_judged_beside_the_study(finished: Project, applied: Project) -> None:
    project, results = applied, applied.folder / "results"
    assert project.ran() == ONWARD
    before, after = contents(finished.folder / "results"), contents(results)
    assert {name: after[name] for name in before} == before, "nothing of the study changes"
    added = after.keys() - before.keys()
    assert all("second_field" in name for name in added)
    known = patterns().values()
    assert all(any(p.fullmatch(f"results/{name}") for p in known) for name in added), (
        "docs/outputs.md lacks a file"
    )
    report = "tiny/second_field"
    assert {
        f"{report}/{name}" for name in ("report.html", "metrics.csv", "verdict.json", "provenance.json")
    } <= added
    assert observations.load(results / "tiny/observe/second_field.nc").x.tolist() == NEW.tolist()
    draws = posteriors.load(results / "tiny/infer/npe/n1000-r0/second_field.nc")
    assert draws.draws.shape == (TINY["draws"], len(NEW), 2)
    (verdict,) = json.loads(after[f"{report}/verdict.json"])["verdicts"]
    assert (verdict["method"], verdict["dataset"]) == ("npe", "second_field")
    assert "second_field" in after[f"{report}/report.html"].decode()
    table = metrics.read(results / report / "metrics.csv")
    assert {row["dataset_name"] for row in table if row["dataset"] == "observed"} == {"second_field"}
    assert any(row["metric"] == "sbc_p" for row in table), (
        "the calibration of the study counts for new data too"
    )
    assert project.reruns() == {}
    assert project.reruns(*SECOND) == {}


@pytest.mark.slow
def test_a_first_page_comes_before_the_slow_evidence_and_changes_none_of_it(
    project: Project, applied: Project
) -> None:
    np.savez(project.folder / "second_field.npz", x=NEW)
    results = project.folder / "results"
    before = contents(results)
    said = project.snakemake(*FIRST).stderr
    assert project.ran() == {"first_page"} and f"First page: {results / PAGE}" in said
    first = contents(results)
    assert {name: first[name] for name in before} == before
    assert all(name.startswith("tiny/second_field/") for name in first.keys() - before.keys())
    coming = ["local_ranks", "local_c2st", "importance"]
    assert f"Still to come: {', '.join(coming)}." in " ".join(first[PAGE].decode().split())
    record = json.loads(first["tiny/second_field/verdict.json"])
    assert {(e["what"], e["cause"]) for e in record["unchecked"]} == {
        (f"check {c}", "still to come") for c in coming
    }
    (verdict,) = record["verdicts"]
    assert verdict["verdict"] in ("caution", "do not trust")
    assert verdict["questions"]["inference"]["outcome"] != "good"
    outcomes = {f["rule"]: f["outcome"] for f in verdict["findings"]}
    assert "not asked" not in (outcomes["typical"], outcomes["reproduces"], outcomes["prior_conflict"])

    project.snakemake(*SECOND)
    assert project.ran() == ONWARD, "all of it, whether or not there is a first page"
    whole, expected = contents(results), contents(applied.folder / "results")
    numbers = [n for n in expected if "second_field" in n and n.endswith((".nc", ".npz", ".json", ".csv"))]
    same = [n for n in numbers if not n.endswith("provenance.json")]
    assert {n: whole[n] for n in same} == {n: expected[n] for n in same}
    assert "Still to come" not in whole[PAGE].decode()
    assert project.reruns(*FIRST) == project.reruns(*SECOND) == {}

    np.savez(project.folder / "second_field.npz", x=-NEW)
    project.snakemake(*FIRST)
    assert "Still to come" in (results / PAGE).read_text()
    assert not (results / "tiny/second_field/metrics.csv").exists(), "of other data than the page"
    assert project.reruns(*SECOND).keys() >= {"observe", "infer", "metrics", "report", "outcome"}


def test_wrong_new_data_change_nothing(project: Project) -> None:
    before = contents(project.folder / "results")
    (project.folder / "wrong.csv").write_text("x0,x1,x2\n1,2,3\n")
    for option, sentence in (
        ("data=wrong.csv", "wrong.csv: each row must hold the 2 numbers of one observation (2 feature)"),
        ("data=2025", "data set data_2025: file 2025 does not exist."),
    ):
        done = project.snakemake("--config", option, check=False)
        assert done.returncode == 1
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr
    assert contents(project.folder / "results") == before


def test_new_data_have_the_columns_of_the_study_but_their_own_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("old.csv").write_text("year,a,b\n0,1,2\n1,3,4\n")
    Path("new.csv").write_text("b,year,note,a\n20,1990,0,10\n40,1991,0,30\n")
    command = {
        "name": "pelts",
        "command": "awk {theta} {out}",
        "parameters": {"rate": {"prior": "uniform", "lower": 0, "upper": 1}},
        "dimensions": [{"name": "year", "coordinates": [0, 1]}, {"name": "species", "length": 2}],
    }
    study = {**TINY, "task": command, "observations": {"old": {"file": "old.csv", "index": "year"}}}
    layout = Layout(settings.parse(study), data="new.csv")
    validate(layout)
    ((name, chosen),) = layout.observations.items()
    assert (name, chosen.columns) == ("new", ["a", "b"])
    assert observations.read(chosen, layout.task, name).x.tolist() == [[[10, 20], [30, 40]]]


@pytest.mark.slow
def test_a_finished_study_is_verified_cleared_up_and_packed(project: Project) -> None:
    assert "6 of 6 files are what was written." in project.veridical("verify").stdout
    (used,) = (project.folder / "results/bank").iterdir()
    old = used.with_name("gaussian_linear-000000000000")
    shutil.copytree(used, old)
    assert f"results/bank/{old.name}\n1 banks that no study uses" in project.veridical("gc").stdout
    assert "removed" in project.veridical("gc", "--delete").stdout
    assert list((project.folder / "results/bank").iterdir()) == [used]

    project.veridical("export", "--study", "config/tiny.yaml", "--out", "tiny.tar.gz")
    with tarfile.open(project.folder / "tiny.tar.gz") as archive:
        files = {m.name.removeprefix("tiny/"): archive.extractfile(m).read() for m in archive.getmembers()}
    sums = dict(line.split("  ")[::-1] for line in files.pop("SHA256SUMS").decode().splitlines())
    assert sums == {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    assert {"report.html", "metrics.csv", "verdict.json", "inputs/tiny.yaml", "inputs/field.csv"} <= set(
        files
    )
    assert {"train/npe/n1000-r0/weights.safetensors", "infer/npe/n1000-r0/field.nc"} <= set(files)
    assert {"observe/field.nc", "check/npe/n1000-r0/simulated/sbc.json"} <= set(files)
    study = contents(project.folder / "results/tiny")
    assert all(study[name] == content for name, content in files.items() if name in study)

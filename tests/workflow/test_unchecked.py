"""What fails costs itself alone; mended, it is made, with what follows. What is refused stays so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Project, changeable

pytestmark = pytest.mark.workflow

FAULT = 'if __import__("os").environ.get("VERIDICAL_TEST_FAULT"):\n    raise ValueError("a \\x1b[2Jfault")\n'
ONWARD = {"metrics": 1, "figures": 1, "provenance": 1, "report": 1, "outcome": 1}


def plant(project: Project, path: str, function: str) -> None:
    """Makes a function fail for as long as a variable of the environment says so."""
    text = (project.folder / path).read_text()
    at = text.index("\n", text.index(":\n", text.index(f"def {function}(")))
    fault = "".join(f"        {line}\n" for line in FAULT.splitlines())
    (project.folder / path).write_text(f"{text[: at + 1]}{fault}{text[at + 1 :]}")


@pytest.mark.slow
def test_a_study_ends_with_its_report_and_names_what_is_missing(project: Project) -> None:
    digest = project.veridical("digest", "results/tiny").stdout
    plant(project, "src/veridical/checks/tarp.py", "_judge")
    plant(project, "src/veridical/figures/ranks.py", "draw")
    assert project.reruns() == {"check": 1, **ONWARD}
    failing = {**project.environment, "VERIDICAL_TEST_FAULT": "1"}
    for _ in range(2):  # the second time by the journals alone: no code has changed since
        done = project.snakemake(check=False, env=failing)
        said = done.stdout + done.stderr
        assert done.returncode == 1
        assert project.ran() - {"all"} == {"check", *ONWARD}
        assert "Incomplete: 5 of 6 jobs done" in said and "2 could not be made:" in said
        assert "Unchecked: the report is there but lacks what could not be made: check tarp of npe" in said
        assert "ValueError: a \\x1b[2Jfault" in said and "\x1b" not in said
        assert project.reruns() == {"check": 1, **ONWARD}
    results = project.folder / "results/tiny"
    assert not (results / "outcome.json").exists()
    found = json.loads((results / "verdict.json").read_text())
    log = "results/tiny/logs/check/npe/n1000-r0/simulated/tarp.log"
    (entry,) = found["unchecked"]
    assert (entry["what"], entry["dataset"], entry["log"]) == ("check tarp", "simulated", log)
    assert "\x1b" not in (project.folder / log).read_text()
    assert {v["verdict"] for v in found["verdicts"]} <= {"caution", "do not trust"}
    page = (results / "report.html").read_text()
    for text in ("What could not be made", f"(log: {log})", "figure ranks of npe on simulated: ValueError"):
        assert text in page
    assert project.veridical("verify", "results/tiny").returncode == 0
    told = project.veridical("status", "config/tiny.yaml").stdout
    assert "report/outcome failed at" in told and "check tarp of npe" in told
    assert project.snakemake().returncode == 0
    assert project.ran() - {"all"} == {"check", *ONWARD}
    assert project.reruns() == {}
    assert json.loads((results / "outcome.json").read_text())["unchecked"] == []
    assert project.veridical("digest", "results/tiny").stdout == digest


@pytest.mark.slow
def test_a_pool_without_events_costs_the_experiments_that_draw_from_it(
    finished_methods: Project, tmp_path: Path
) -> None:
    """The report comes without coverage, names the pool's fault, and the next run makes all of it."""
    project = changeable(finished_methods, tmp_path / "project")
    digest = project.veridical("digest", "results/ratios").stdout
    path = project.folder / "src/veridical/stages/experiment.py"
    place = "    task = tasks.build(spec)\n    if not isinstance(task, ClassTask):\n"
    text = path.read_text()
    assert text.count(place) == 1
    fault = "".join(f"    {line}\n" for line in FAULT.splitlines())
    path.write_text(text.replace(place, f"{fault}{place}"))
    again = {"pool": 2, "experiment": 1, "experiments": 1, **ONWARD}
    assert project.reruns(study="ratios") == again
    failing = {**project.environment, "VERIDICAL_TEST_FAULT": "1"}
    done = project.snakemake(study="ratios", check=False, env=failing)
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "2 could not be made:" in said
    results = project.folder / "results/ratios"
    found = json.loads((results / "verdict.json").read_text())
    (entry,) = found["unchecked"]
    assert "experiments" in entry["what"] and "ValueError" in entry["cause"]
    assert Path(entry["log"]).name in ("background-0000.log", "signal-0000.log")
    assert {v["verdict"] for v in found["verdicts"]} <= {"caution", "do not trust"}
    assert "What could not be made" in (results / "report.html").read_text()
    assert project.reruns(study="ratios") == again
    assert project.snakemake(study="ratios").returncode == 0
    assert project.reruns(study="ratios") == {}
    assert project.veridical("digest", "results/ratios").stdout == digest


@pytest.mark.slow
def test_a_study_whose_correction_is_refused_ends_with_its_report(project: Project) -> None:
    """No answer is an answer: nothing of it is made or tried again, and its verdict says so."""
    settings = project.settings()
    settings["remedies"] = {"corrected": {"type": "importance", "of": "npe", "least_share": 0.999}}
    project.write(settings)
    assert project.snakemake().returncode == 0
    assert project.reruns() == {}
    answer = project.folder / "results/tiny/infer/corrected/n1000-r0/field.nc"
    assert "is not answered" in json.loads(answer.read_text())["unchecked"]
    verdicts = json.loads((project.folder / "results/tiny/verdict.json").read_text())["verdicts"]
    said = {v["dataset"]: v for v in verdicts if v["method"] == "corrected"}
    assert said["field"]["verdict"] == "do not trust"
    assert project.veridical("verify", "results/tiny").returncode == 0

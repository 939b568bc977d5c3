"""The plan of a study: what a real dry run says, and what finished jobs say of those to come."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
import yaml

from veridical import files, plan
from veridical.errors import PlanError
from veridical.job import LAST
from veridical.plan import dry_run
from veridical.progress import jobs as progress_jobs
from veridical.progress import status
from veridical.study import settings
from veridical.study.layout import Layout

from .conftest import ROOT, TINY, Project, counts_of

pytestmark = pytest.mark.workflow


def dry(project: Project, *options: str, study: str = "tiny") -> str:
    """The text of a dry run."""
    return project.snakemake("--dry-run", *options, study=study).stdout


@pytest.fixture(scope="module")
def text(finished: Project) -> str:
    """The dry run of the whole tiny study, as if nothing were there."""
    done = finished.snakemake("--dry-run", "--forceall")
    assert "Exception" not in done.stdout + done.stderr, "it speaks of rules that do not apply"
    return done.stdout


@pytest.fixture(scope="module")
def asked(finished: Project) -> str:
    """The same as `make plan` runs it, with more threads than this machine has cores, and with two GPUs."""
    recipe = re.search(r"--dry-run (.*?) \|", (ROOT / "Makefile").read_text())
    assert recipe is not None
    options = ("--set-threads", "train=640", "--set-resources", "train:gpu=2")
    return dry(finished, "--forceall", *options, *recipe[1].split())


def costs_of(text: str, study: str = "tiny") -> dict[str, plan.Cost]:
    """What each rule costs by this text, in the folder where this runs."""
    return {cost.rule: cost for cost in plan.costs_of(text, f"config/{study}.yaml", "laptop")}


@pytest.fixture
def here(finished: Project, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the finished study, in which the test runs."""
    monkeypatch.chdir(finished.folder)
    return finished.folder


@pytest.fixture
def costs(here: Path, text: str) -> dict[str, plan.Cost]:
    """What each rule of the tiny study costs, after it has run."""
    return costs_of(text)


def test_jobs_are_those_that_snakemake_counts(text: str) -> None:
    jobs = dry_run.jobs(text)
    assert Counter(job.rule for job in jobs) == counts_of(text)
    (train,) = [job for job in jobs if job.rule == "train"]
    assert train.threads == 2
    assert train.number("mem_mb") > 1000
    assert [Path(name).name for name in train.outputs] == [
        "weights.safetensors", "estimator.json", "history.json", "cost.json",
    ]  # fmt: skip


def test_the_settings_alone_tell_the_same_jobs(here: Path, text: str) -> None:
    listed = progress_jobs.jobs(Layout(settings.load("config/tiny.yaml", "laptop"), scale="laptop"))
    found = {(job.rule, job.log, job.outputs) for job in listed}
    assert found == {(job.rule, job.log, job.outputs) for job in dry_run.jobs(text)}
    assert {seen.state for seen in status.look(listed, 0.0)} == {"done"}


def test_a_job_that_was_measured_costs_what_it_cost(here: Path, costs: dict[str, plan.Cost]) -> None:
    (measured,) = files.benchmark_records(here / "results/tiny/benchmarks/train/npe/n1000-r0.jsonl")
    log = (here / "results/tiny/logs/train/npe/n1000-r0.log").read_text()
    told = LAST.fullmatch(log.splitlines()[-1])
    assert told is not None
    train = costs["train"]
    assert train.longest == pytest.approx(measured["s"])
    assert train.cpu_hours == pytest.approx(measured["s"] * 2 / 3600)
    assert train.mb_seen == pytest.approx(max(measured["max_rss"], float(told[3])))
    assert train.basis == {"measured at laptop": pytest.approx(1)}
    assert train.gpu_hours == pytest.approx(measured["s"] / 3600)  # an npe asks for one


def test_every_rule_of_a_finished_study_is_measured(costs: dict[str, plan.Cost]) -> None:
    assert not {rule for rule, cost in costs.items() if "time assumed" in cost.basis}


def test_disk_is_that_of_the_files(here: Path, costs: dict[str, plan.Cost]) -> None:
    results = here / "results"
    shards = sum(path.stat().st_size for path in results.glob("bank/*/*/*/*.zarr.zip"))
    assert costs["simulate"].bytes == pytest.approx(shards, rel=0.1)
    draws = sum(path.stat().st_size for path in results.glob("tiny/infer/*/*/*.nc"))
    assert costs["infer"].bytes == pytest.approx(draws, rel=0.25)  # a data set of two, planned as of one
    there = sum(1 for path in results.rglob("*") if "checkpoints" not in path.parts) + 2
    outputs = sum(1 for _ in (here / ".snakemake/metadata").rglob("*"))
    assert sum(cost.inodes for cost in costs.values()) == pytest.approx(there + outputs, rel=0.1)


def test_a_larger_budget_is_scaled_up(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write({**TINY, "budgets": [1000, 4000]})
    monkeypatch.chdir(project.folder)
    found = costs_of(dry(project))
    assert found["simulate"].jobs == 3
    (measured,) = files.benchmark_records(Path("results/tiny/benchmarks/train/npe/n1000-r0.jsonl"))
    assert found["train"].longest == pytest.approx(4 * measured["s"])
    assert found["train"].basis == {"measured at laptop": pytest.approx(4)}


def test_gpu_hours_come_from_the_resource(here: Path, asked: str) -> None:
    found = costs_of(asked)
    assert found["train"].gpu_hours == pytest.approx(2 * found["train"].longest / 3600)
    assert not any(cost.gpu_hours for rule, cost in found.items() if rule != "train")


def test_without_measurements_the_limit_is_assumed_and_said(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write({**TINY, "study": "other", "seed": 8}, "other")
    monkeypatch.chdir(project.folder)
    found = costs_of(dry(project, study="other"), "other")
    assert found["train"].longest == 240 * 60
    assert "time assumed: the limit" in found["train"].basis
    table = plan.table(list(found.values()))
    (line,) = [line for line in table.splitlines() if line.startswith("train ")]
    assert line.endswith("disk assumed; time assumed: the limit")
    assert table.splitlines()[-1].startswith("total ")
    assert "WARNING" not in table


def test_a_finished_study_needs_nothing(here: Path, finished: Project) -> None:
    assert costs_of(dry(finished)) == {}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda text: " \n", "the dry run failed, see above."),
        (lambda text: "MissingInputException in rule train:\nfield.csv\n", "failed:\nMissingInput"),
        (
            lambda text: "Nothing to be done\n" + text[: len(text) // 2],
            "expected the text of a Snakemake dry run",
        ),
        (lambda text: "Nothing to be done\nWorkflowError:\n", "the dry run failed:\nNothing to be done"),
        (lambda text: text[: len(text) // 2], "expected the text of a Snakemake dry run"),
        (lambda text: text.replace("rule train:", "Rule train:"), "train: 0 of 1"),
        (lambda text: text.replace("    jobid: ", "    number: "), "expected `jobid` and `resources`"),
        (lambda text: text.replace("mem_mb=", "mem_mb=about"), "expected a number for mem_mb"),
        (lambda text: text.replace("Job stats", "Stats"), "expected a table `Job stats`"),
        (lambda text: text.replace("results/tiny/logs", "results/huge/logs"), "of another study"),
    ],
)
def test_what_cannot_be_read_is_refused(here: Path, text: str, fault, message: str) -> None:
    with pytest.raises(PlanError, match=re.escape(message)):
        costs_of(fault(text))


def test_the_command_reads_the_dry_run_and_fails_on_anything_else(finished: Project, text: str) -> None:
    command = ("plan", "--study", "config/tiny.yaml")
    assert finished.veridical(*command, input=text).stdout.startswith("rule ")
    failed = finished.veridical(*command, input="WorkflowError:\n", check=False)
    assert failed.returncode == 1
    assert failed.stderr.startswith("PlanError: the dry run failed:\nWorkflowError:")
    assert not failed.stdout


def test_make_plan_does_not_cap_threads_at_the_cores_of_this_machine(asked: str) -> None:
    (train,) = [job for job in dry_run.jobs(asked) if job.rule == "train"]
    assert train.threads == 640


def test_a_check_asks_for_memory_by_its_inputs_once_they_are_there(
    project: Project, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def memory(text: str) -> set[str]:
        return {job.resources["mem_mb"] for job in dry_run.jobs(text) if job.rule == "check"}

    assert all(2000 <= int(mb) < 2100 for mb in memory(text))
    with (project.folder / "results/tiny/infer/npe/n1000-r0/simulated.nc").open("r+b") as file:
        file.truncate(2_000_000_000)  # a hole: no bytes on disk
    large = memory(dry(project, "--forceall"))
    assert max(map(int, large)) == pytest.approx(2000 + 3 * 2000, rel=0.06)
    shutil.rmtree(project.folder / "results")
    monkeypatch.chdir(project.folder)
    before = dry(project)
    assert memory(before) == {"<TBD>"}
    assert costs_of(before)["check"].mb_asked == 0


def test_a_torn_probe_is_named_with_the_remedy(
    project: Project, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    (bank,) = Path("results/bank").iterdir()
    probe = bank / "model/probe.json"
    probe.write_text(probe.read_text()[:20])
    shutil.rmtree(bank / "logs/model")
    shutil.rmtree(bank / "benchmarks/model")
    told = r"probe\.json: expected the seconds of a row.*Delete it and run again"
    with pytest.raises(PlanError, match=told):
        costs_of(text)


def test_a_hundred_million_simulations_stay_below_a_thousand_jobs(project: Project) -> None:
    """Those of each of three replicates, in shards of a million rows."""
    settings = yaml.safe_load((ROOT / "config/gaussian.yaml").read_text())
    del settings["observations"], settings["reference"], settings["scales"]
    rows = 100_000_000
    project.write(
        {**settings, "budgets": [rows // 100, rows // 10, rows], "simulation": {"shard_rows": rows // 100}}
    )
    found = project.reruns(study="tiny")
    assert found["simulate"] == 3 * 100 + 1
    assert sum(found.values()) < 1_000

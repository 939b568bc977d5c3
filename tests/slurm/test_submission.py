"""A whole study through the profile for SLURM: each job gets what its rule asks for."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.workflow.conftest import ROUNDS, copy_project

from .conftest import digest
from .on_slurm import FEWER, Job, SlurmProject, asked

pytestmark = pytest.mark.slurm


def test_a_whole_study_runs_with_what_its_rules_ask_for(tmp_path: Path, undisturbed: str) -> None:
    project = SlurmProject(copy_project(tmp_path / "project").folder)
    project.fill_in_profile()
    project.write({**project.settings(), "checks": FEWER})

    jobs = project.finish().jobs()

    wishes = asked(project)
    assert all(job.state == "COMPLETED" for job in jobs), jobs
    assert sorted(job.name for job in jobs) == sorted(wishes), "every job went to the cluster, once"
    for job in jobs:
        assert job == wished(job, wishes[job.name])
    assert {job.name.split("_")[1] for job in jobs if job.partition == "gpu"} == {"train"}
    (log,) = project.folder.glob("results/tiny/logs/train/*/*.log")
    assert re.search(r"CUDA_VISIBLE_DEVICES: [01]\b", log.read_text()), "training saw no GPU of its own"
    assert (project.folder / "results/tiny/report.html").stat().st_size > 0
    assert digest(project) == undisturbed


def test_rounds_on_the_cluster_have_the_bits_of_this_machine(tmp_path: Path) -> None:
    """Every stage of a round is a job of its own."""
    weights = []
    for name in ("here", "there"):
        project = SlurmProject(copy_project(tmp_path / name).folder)
        project.fill_in_profile()
        (project.folder / "config/data/field.csv").write_text("x0,x1\n0.3,-0.2\n")
        project.write({**ROUNDS, "study": "tiny"})
        if name == "here":
            project.local.snakemake("--until", "gather")
        else:
            rules = [job.name.split("_wildcards")[0] for job in project.finish("--until", "gather").jobs()]
        (found,) = project.folder.glob("results/tiny/train/tsnpe/*/weights.safetensors")
        weights.append(found.read_bytes())
    counts = {name: rules.count(f"rule_{name}") for name in ("propose", "simulate_round", "train_round")}
    assert counts == {"propose": 1, "simulate_round": 1, "train_round": 2}
    assert weights[0] == weights[1]


def wished(job: Job, wish: dict[str, str]) -> Job:
    """The job with what its rule asks for."""
    gpus = int(wish.get("gpu", 0))
    return replace(
        job,
        partition="gpu" if gpus else "cpu",
        cpus=int(wish["threads"]),
        gpus=gpus,
        mem_mb=int(wish["mem_mb"]),
        minutes=int(wish["runtime"]),
    )

"""A whole study through the profile for SLURM: each job gets what its rule asks for."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.workflow.conftest import copy_project

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

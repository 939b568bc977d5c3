"""The test cluster, and small studies to run on it. Only with VERIDICAL_SLURM=1: it needs root and SLURM."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workflow.conftest import Project, copy_project
from veridical.evidence import result_digest

from .holds import plant
from .on_slurm import FEWER, PROVENANCE, SlurmProject, running_cluster


@pytest.fixture(scope="session", autouse=True)
def the_cluster() -> Iterator[None]:
    """The cluster for all tests here."""
    if os.environ.get("VERIDICAL_SLURM") != "1":
        pytest.skip("starts a SLURM cluster on this machine; run `make slurm-test` (as root, on Debian)")
    with running_cluster():
        yield


def digest(project: Project) -> str:
    """The digest of the finished study."""
    return result_digest.digest(project.folder / "results/tiny")


@pytest.fixture(scope="session")
def finished(the_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> SlurmProject:
    """The study, run to its end on this machine without a disturbance. Its jobs can be held (see `holds`)."""
    project = SlurmProject(copy_project(tmp_path_factory.mktemp("finished") / "project").folder)
    project.fill_in_profile()
    project.write({**project.settings(), "checks": FEWER})
    plant(project)
    project.local.snakemake("--", PROVENANCE)
    return project


@pytest.fixture(scope="session")
def undisturbed(finished: SlurmProject) -> str:
    """The digest that every run must end with."""
    return digest(finished)


@pytest.fixture
def project(finished: SlurmProject, tmp_path: Path) -> SlurmProject:
    """A copy of it for one test."""
    shutil.copytree(finished.folder, tmp_path / "project", symlinks=True)
    return SlurmProject(tmp_path / "project")

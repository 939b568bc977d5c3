"""docs/deployment.md: whatever Python environment a job runs in, it runs the code in src/.

Conda itself and the module system of a site are played by stand-ins with their interfaces: what is tested is
what Snakemake and this project make of them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from .conftest import TINY, Done, Project, copy_project

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

# Makes environments that are a Python without any package.
CONDA = """#!/bin/bash
set -eu
case "$1 ${2:-}" in
    "info --json") echo '{"conda_prefix": "FOLDER", "platform": "linux-64"}' ;;
    "--version ") echo "conda 24.11.0" ;;
    "config --get") echo '{"get": {"channel_priority": "strict"}}' ;;
    "env create") "PYTHON" -m venv --without-pip "${!#}" ;;
    "clean -y") ;;
    *) echo "the stand-in for conda does not know: $*" >&2; exit 2 ;;
esac
"""
ACTIVATE = 'export PATH="$1/bin:$PATH"\n'
# `module load NAME` puts MODULES/NAME/bin first, as a modulefile of a simulator would.
MODULE = '() { [ "$1" = purge ] || export PATH="$MODULES/$2/bin:$PATH"\n}'
SAYS_WHERE = "\nimport sys\nprint(f'prefix {sys.prefix}, code {__file__}')\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A copy of the project whose probe says where it runs."""
    project = copy_project(tmp_path / "project")
    probe = project.folder / "src/veridical/bank/probe.py"
    probe.write_text(probe.read_text() + SAYS_WHERE)
    return project


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def run(project: Project, *options: str, check: bool = True, **environment: str) -> Done:
    """Runs the study up to the probe, where nothing but Snakemake tells jobs of the code."""
    variables = {**os.environ, **environment}
    variables.pop("PYTHONPATH", None)
    return project.snakemake("--until", "probe", *options, check=check, env=variables)


def where(project: Project) -> str:
    """What the probe said in its log."""
    (log,) = project.folder.glob("results/bank/*/logs/probe-*.log")
    (line,) = [line for line in log.read_text().splitlines() if line.startswith("prefix ")]
    return line


def said(prefix: Path, project: Project) -> str:
    return f"prefix {prefix}, code {project.folder / 'src/veridical/bank/probe.py'}"


def test_jobs_in_the_environment_of_snakemake_run_the_code_in_src(project: Project) -> None:
    run(project)
    assert where(project) == said(Path(sys.prefix), project)


@pytest.mark.parametrize("option", [(), ("--conda-not-block-search-path-envvars",)], ids=["", "not-block"])
def test_jobs_in_a_conda_environment_run_the_code_in_src(
    project: Project, tmp_path: Path, option: tuple[str, ...]
) -> None:
    python = str(Path(sys.base_prefix) / "bin" / "python3")
    conda = CONDA.replace("FOLDER", str(tmp_path / "conda")).replace("PYTHON", python)
    write_program(tmp_path / "conda/bin/conda", conda)
    write_program(tmp_path / "conda/bin/activate", ACTIVATE)
    path = f"{tmp_path / 'conda/bin'}{os.pathsep}{os.environ['PATH']}"
    run(project, "--sdm", "conda", *option, PATH=path)
    made = {path.read_text(): path for path in (project.folder / ".snakemake/conda").glob("*.yaml")}
    wanted = made[(project.folder / "envs/cpu.yaml").read_text()]
    assert where(project) == said(wanted.with_suffix(""), project)


def test_a_task_finds_what_its_modules_bring(project: Project, tmp_path: Path) -> None:
    task = {
        "name": "echo",
        "command": "echo_theta {theta} {out}",
        "parameters": {"a": {"prior": "normal", "mean": 0, "sd": 1}},
        "dimensions": [{"name": "value", "coordinates": [0]}],
        "block_rows": 250,
    }
    study = {**TINY, "task": task, "simulation": {**TINY["simulation"], "modules": ["echo/1.0"]}}
    project.write({**study, "observations": {}})
    write_program(tmp_path / "modules/echo/1.0/bin/echo_theta", '#!/bin/sh\ntail -n +2 "$1" > "$2"\n')
    system = {"MODULES": str(tmp_path / "modules"), "BASH_FUNC_module%%": MODULE}
    without = run(project, check=False, **system)
    assert without.returncode == 1
    assert "program 'echo_theta' cannot be started" in without.stderr
    run(project, "--sdm", "env-modules", **system)
    assert where(project) == said(Path(sys.prefix), project)

"""Bad input: a clear sentence, nothing lost. Before the DAG, in the probe, and in the job that meets it."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from veridical import bank
from veridical.errors import VeridicalError
from veridical.study import settings
from veridical.study.layout import Layout
from veridical.study.validation import validate

from .conftest import TINY, Done, Project, copy_project

pytestmark = pytest.mark.workflow

TASK = '''
"""A straight line at eleven times; a test plants its fault at one of the marks."""

import subprocess
from pathlib import Path

import numpy as np

from veridical.tasks import Dimension, Parameter, Task


class Prior:
    def sample(self, rng, n):
        return <sample>

    def log_prob(self, theta):
        return <log_prob>


class Line(Task):
    parameters = (Parameter("slope", 0.0, 1.0), Parameter("offset", 0.0, 1.0))
    dimensions = <dimensions>
    fidelities = <fidelities>
    prior = Prior()

    def __init__(self, error=0.1):
        <init>

    def simulate(self, theta, rng, fidelity):
        x = theta[:, :1] * np.arange(11.0) + theta[:, 1:]
        if fidelity == "raises":
            raise ValueError("the mesh is torn")
        if fidelity == "hangs":
            child = subprocess.Popen(["sleep", "1000"])
            Path("grandchild").write_text(str(child.pid))
            child.wait()
        if fidelity == "misshapes":
            return x[:, :-1]
        if fidelity == "loses":
            return np.full_like(x, np.nan)
        return x + 0.1 * rng.normal(size=x.shape)
'''
SOUND = {
    "sample": "rng.random((n, 2))",
    "log_prob": "np.where(((theta > 0) & (theta < 1)).all(axis=1), 0.0, -np.inf)",
    "dimensions": '(Dimension("time", tuple(range(11)), "s"),)',
    "fidelities": '{"model": 1.0}',
    "init": "self.error = error",
}
COLUMNS = [f"x{i}" for i in range(11)]
ELSEWHERE = {
    "simulations": "runs.csv",
    "parameters": {"slope": {"lower": 0, "upper": 1}, "offset": {"lower": 0, "upper": 1}},
}
SIMULATE = {
    "name": "line",
    "command": "awk -f line.awk {theta} {out}",
    "parameters": {"slope": {"prior": "uniform", "lower": 0, "upper": 1}},
    "x_shape": [11],
}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which nothing has run, with data of the line and simulations in files."""
    project = copy_project(tmp_path_factory.mktemp("bad"))
    table = np.random.Generator(np.random.PCG64(1)).random((500, 13))
    header = ",".join(["slope", "offset", *COLUMNS])
    np.savetxt(project.folder / "runs.csv", table, delimiter=",", header=header, comments="")
    np.savez(project.folder / "runs.npz", theta=table[:, :2], x=table[:, 2:])
    (project.folder / "line.csv").write_text(f"{','.join(COLUMNS)}\n{','.join(['0.5'] * 11)}\n")
    return project


@pytest.fixture
def here(workplace: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(workplace.folder)
    return workplace


def study(task: Any, file: str = "line.csv", **changes: Any) -> dict[str, Any]:
    """The tiny study with another task, and with data that fit the line."""
    return {**TINY, "task": task, "observations": {"table": {"file": file, "layout": "table"}}, **changes}


def line(**planted: str) -> dict[str, Any]:
    """The study of the line in a Python file, with code planted at the marks."""
    text = TASK
    for mark, code in (SOUND | planted).items():
        text = text.replace(f"<{mark}>", code)
    Path("line.py").write_text(text)
    return study("line.py:Line")


def refusal(given: dict[str, Any], data: str | None = None) -> str:
    """What a study is told before the DAG; in this process, as `workflow/rules/common.smk` does it."""
    with pytest.raises(VeridicalError) as caught:
        validate(Layout(settings.parse(given), data=data))
    return str(caught.value)


def assert_told(done: Done, *sentences: str) -> None:
    """Snakemake failed with these sentences and without a traceback."""
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    for sentence in sentences:
        assert sentence in said, said
    assert "Traceback" not in said


# ---- before the DAG ------------------------------------------------------------------------------


def test_what_is_sound_is_let_through(here: Project) -> None:
    Path("line.awk").write_text("")
    for task in (ELSEWHERE, {**ELSEWHERE, "simulations": "runs.npz"}, SIMULATE):
        validate(Layout(settings.parse(study(task, budgets=[300]))))
    validate(Layout(settings.parse(line())))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"replicats": 3}, "replicats: unknown setting. Did you mean 'replicates'?"),
        ({"observations": {"table": {"file": "bad.csv"}}}, "bad.csv, line 3, column 'x1': expected a number"),
        ({"task": {**SIMULATE, "command": "./lime {theta} {out}"}}, "program ./lime is missing"),
        ({"task": {**SIMULATE, "depends_on": ["table.txt"]}}, "file table.txt is missing"),
        ({"task": {**ELSEWHERE, "simulations": "run.npz"}}, "simulations run.npz are missing"),
        ({"task": {**ELSEWHERE, "x_shape": [10]}, "budgets": [300]}, "expected rows of x of shape (10,)"),
        ({"task": ELSEWHERE}, "1000 rows for train are asked for, but the file of simulations has 400"),
        ({"task": ELSEWHERE, "budgets": [300], "reference": {}}, "task runs has no exact likelihood"),
        ({"reference": {}}, "task line has no exact likelihood; remove this section"),
    ],
)
def test_what_a_study_is_told(here: Project, changes: dict[str, Any], sentence: str) -> None:
    """One error of each kind; the tests of settings, tasks and data have all others."""
    Path("bad.csv").write_text("x0,x1\n0.3,-0.2\n0.1,about 2\n")
    assert sentence in refusal({**line(), **changes})


def test_a_refusal_reaches_the_user_and_starts_nothing(here: Project) -> None:
    kinds = {
        "settings": ({**TINY, "replicats": 3}, "replicats: unknown setting. Did you mean 'replicates'?"),
        "own": (
            line(sample="np.full((n, 2), np.nan)"),
            "task 'line': prior.sample: expected finite numbers, got nan.",
        ),
    }
    for name, (given, sentence) in kinds.items():
        here.write(given, name)
        assert_told(here.snakemake(study=name, check=False), sentence)
    assert not Path("results").exists()


def test_new_data_must_have_a_name_of_their_own(here: Project) -> None:
    for name in ("field.csv", "simulated.npz", "train.csv", "figures.nc"):
        assert f"data: {name} would be called" in refusal(TINY, data=name)


# ---- in the probe --------------------------------------------------------------------------------


def test_an_unsound_simulator_is_stopped_in_the_probe(here: Project) -> None:
    faults = ("raises", "hangs", "misshapes", "loses")
    given = line(fidelities=str(dict.fromkeys(faults, 1.0)))
    given["estimators"] = {f"npe_{name}": {"type": "npe", "fidelity": name} for name in faults}
    given["simulation"] = {"shard_rows": 1000, "probe_rows": 20, "time_limit": 3.0}
    here.write(given, "faulty")
    done = here.snakemake("--until", "simulate", study="faulty", check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    for sentence in (
        "SimulationError: task line at fidelity raises: all 20 simulations of the probe failed (20 raised).",
        "ValueError: the mesh is torn",
        "SimulationTimeout: task line at fidelity hangs: the probe took longer than the time limit of 3 s.",
        "0 of 20 rows were simulated",
        "task line at fidelity misshapes: simulate returned 'x' of shape (1, 10), expected (1, 11)",
        "task line at fidelity loses: all 20 simulations of the probe failed (20 non_finite).",
    ):
        assert sentence in said, said
    (found,) = Path("results/bank").glob("line-*")
    assert {path.parent.name for path in found.rglob("*") if path.is_file()} == {"logs"}, "only logs are left"
    for name in faults:
        assert f"fidelity {name}" in (found / f"logs/probe-{name}.log").read_text()
    assert not _runs(int(Path("grandchild").read_text())), "the process group is killed"


def _runs(pid: int) -> bool:
    """Whether a process runs; one that is dead but not yet reaped does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


# ---- in the job that meets it --------------------------------------------------------------------


def test_a_flipped_byte_and_another_schema_are_reported_with_the_file(project: Project) -> None:
    shards = {path.parent.name: path for path in (project.folder / "results/bank").rglob("*.zarr.zip")}
    _flip_a_byte(shards["test"], "x/c/0/0")
    _edit_manifest(shards["train-r0"], schema=99)
    before = {path: path.read_bytes() for path in shards.values()}
    targets = ["results/tiny/observe/simulated.nc", "results/tiny/train/npe/n1000-r0/weights.safetensors"]
    forced = ["--forcerun", "observe_simulated", "train", "--", *targets]
    done = project.snakemake(*forced, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    named = {split: path.relative_to(project.folder) for split, path in shards.items()}
    assert (
        f"BankError: {named['test']}: cannot be decoded (BadZipFile: Bad CRC-32 for file 'x/c/0/0')" in said
    )
    assert "Delete it and run again" in said and "its simulations come back bit by bit" in said
    newer = f"expected schema {bank.SCHEMA_VERSION}, got 99, which a later veridical"
    assert f"BankError: {named['train-r0']}: {newer}" in said
    assert {path: path.read_bytes() for path in shards.values()} == before
    assert "BankError" in (project.folder / "results/tiny/logs/observe/simulated.log").read_text()


def _flip_a_byte(path: Path, member: str) -> None:
    """Flips one bit of the content of a member of a zip file that is not compressed."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(member)
    content = bytearray(path.read_bytes())
    content[info.header_offset + 30 + len(member) + info.file_size // 2] ^= 1
    path.write_bytes(content)


def _edit_manifest(path: Path, **changes: Any) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {info: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for info, content in members.items():
            if info.filename == "zarr.json":
                group = json.loads(content)
                group["attributes"] |= changes
                content = json.dumps(group).encode()
            archive.writestr(info, content)

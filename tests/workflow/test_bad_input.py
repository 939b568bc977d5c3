"""Bad input: a clear sentence, nothing lost. Before the DAG, in the probe, and in the job that meets it."""

from __future__ import annotations

import json
import os
import resource
import subprocess
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

from .conftest import TINY, Project, copy_project

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


def assert_told(done: subprocess.CompletedProcess, *sentences: str) -> None:
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


def test_each_kind_of_error_reaches_the_user_and_starts_nothing(here: Project) -> None:
    bad = {**TINY, "observations": {"field": {"file": "bad.csv", "layout": "table"}}}
    Path("bad.csv").write_text("x0,x1\n0.3,-0.2\n0.1,about 2\n")
    kinds = {
        "settings": ({**TINY, "replicats": 3}, "replicats: unknown setting. Did you mean 'replicates'?"),
        "task": (
            {**TINY, "task": "gausian_linear"},
            "task 'gausian_linear' is unknown. Did you mean 'gaussian_linear'?",
        ),
        "data": (bad, "data set field: bad.csv, line 3, column 'x1': expected a number, got 'about 2'."),
        "own": (
            line(sample="np.full((n, 2), np.nan)"),
            "task 'line': prior.sample: expected finite numbers, got nan.",
        ),
    }
    for name, (given, sentence) in kinds.items():
        here.write(given, name)
        assert_told(here.snakemake(study=name, check=False), sentence)
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"budgets": ["many"]}, "budgets.0: expected an integer; got 'many'."),
        ({"replicates": 0}, "replicates: expected a number greater than or equal to 1; got 0."),
        (
            {"simulation": {"shard_rows": 300}},
            "a multiple of the task's block of 250 rows, got 300; 250 would",
        ),
        (
            {"estimators": {"npe": {"type": "npe", "fidelity": "modal"}}},
            "estimators.npe.fidelity: task gaussian_linear has no 'modal'. Did you mean 'model'?",
        ),
        (
            {"task": {"name": "gaussian_linear", "settings": {"dimensions": 2}}},
            "task 'gaussian_linear' has no setting 'dimensions'. Did you mean 'dimension'?",
        ),
        ({"task": "lime.py:Line"}, "task file lime.py is missing"),
        ({"task": "line.py:Lime"}, "line.py has no class 'Lime'. Did you mean 'Line'?"),
    ],
)
def test_a_wrong_setting(here: Project, changes: dict[str, Any], sentence: str) -> None:
    line()
    assert sentence in refusal({**TINY, **changes})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "file data.csv does not exist"),
        (
            "x0,x1,x2\n1,2,3\n",
            "each row must hold the 2 numbers of one observation (2 feature), got 3 columns",
        ),
        ("x0,x1\n1\n", "line 2: expected 2 columns (x0, x1), got 1"),
        ("x0,x1\n1,nan\n", "data.csv holds 1 values that are not finite, the first at index (0, 1)"),
        ("x0,x1\n1,\n", "line 2, column 'x1': expected a number, got ''"),
        ("# two lines below\nx0,x1\n1,no\n", "line 3, column 'x1': expected a number, got 'no'"),
        ("1,2\n3,4\n", "line 1: expected names of columns, got the numbers 1, 2."),
        ("x0,x0\n3,4\n", "data.csv has two columns 'x0'; give each a name of its own."),
        ("x0;x1\n3;4\n", "line 2, column 'x0;x1': expected a number, got '3;4'"),
        ("x0,x1\n3,\N{MICRO SIGN}\n", "data.csv is not a CSV file in UTF-8"),
        ("", "data.csv needs a line of column names and at least one row"),
    ],
)
def test_wrong_data(here: Project, text: str | None, sentence: str) -> None:
    data = Path("data.csv")
    data.unlink(missing_ok=True)
    if text is not None:
        data.write_bytes(text.encode("latin-1"))
    observed = {"field": {"file": "data.csv", "layout": "table"}}
    assert sentence in refusal({**TINY, "observations": observed})


def test_data_that_are_a_folder_a_broken_archive_or_of_no_known_kind(here: Project) -> None:
    for name in ("broken.npz", "broken.nc", "broken.xls"):
        Path(name).write_bytes(b"neither")
    np.savez("named.npz", y=np.zeros((1, 2)))
    for name, sentence in (
        ("config", "file config is a folder, expected a file"),
        ("broken.npz", "broken.npz is not a readable NPZ file of numbers"),
        ("broken.nc", "broken.nc is not a readable netCDF4 file"),
        ("broken.xls", "expected a .csv, .npz or .nc file, got broken.xls"),
        ("named.npz", "named.npz has no array `x`. Choose from y."),
    ):
        assert sentence in refusal({**TINY, "observations": {"field": {"file": name}}})


@pytest.mark.parametrize(
    ("planted", "sentence"),
    [
        ({"sample": "rng.random(n)"}, "prior.sample(rng, 1): expected shape (1, 2), got (1,)."),
        ({"sample": "rng.random((n, 3))"}, "prior.sample(rng, 1): expected shape (1, 2), got (1, 3)."),
        ({"sample": "2 + rng.random((n, 2))"}, "prior.sample: slope left its bounds [0.0, 1.0]"),
        ({"sample": "1 / 0"}, "prior.sample raised ZeroDivisionError: division by zero"),
        ({"log_prob": "np.zeros((len(theta), 1))"}, "prior.log_prob: expected shape (16,), got (16, 1)."),
        ({"log_prob": "np.full(len(theta), np.nan)"}, "prior.log_prob is not finite at the prior's own draw"),
        ({"dimensions": '"time"'}, "task 'line': dimensions must be a tuple of Dimension, got 'time'."),
        ({"fidelities": '{"a": 2.0, "b": 1.0}'}, "fidelities must be ordered by cost, cheapest first"),
        ({"fidelities": '{"a": "cheap"}'}, "fidelity 'a': expected a positive cost, got 'cheap'."),
        ({"fidelities": '{"real": 1.0}'}, "expected a simulator's fidelity beside it"),
        ({"init": "raise OSError('no table')"}, "cannot be built with settings {}: OSError: no table"),
        ({"init": "return ("}, "task file line.py cannot be imported: SyntaxError"),
    ],
)
def test_a_task_of_the_users_own_that_breaks_its_contract(
    here: Project, planted: dict[str, str], sentence: str
) -> None:
    assert sentence in refusal(line(**planted))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"command": "awk -f line.awk {theta}"}, "expected {out} in the command"),
        ({"command": "awk {theta} {out} {seed}"}, "{seed} stands for nothing. Did you mean {seeds}?"),
        ({"command": "./lime {theta} {out}"}, "program ./lime is missing"),
        ({"depends_on": ["table.txt"]}, "file table.txt is missing"),
        ({"comand": "awk {theta} {out}"}, "task.comand: unknown setting. Did you mean 'command'?"),
        (
            {"parameters": {"slope": {"prior": "normal", "mean": 0}}},
            "parameter 'slope': a normal prior needs mean and sd; sd is missing.",
        ),
        ({"x_shape": None}, "expected `dimensions` or `x_shape`, the shape of one simulation"),
    ],
)
def test_a_command_that_cannot_work(here: Project, changes: dict[str, Any], sentence: str) -> None:
    Path("line.awk").write_text("")
    assert sentence in refusal(study({**SIMULATE, **changes}))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"parameters": {"slop": {}, "offset": {}}}, "runs.csv: 'slop' is missing. Did you mean 'slope'?"),
        ({"parameters": {"slope": {}}, "simulations": "runs.npz"}, "theta of shape (N, 1), got (500, 2)"),
        (
            {"parameters": {"slope": {"upper": 0.1}, "offset": {}}},
            "parameter 'slope' is not a number or outside",
        ),
        ({"columns": ["x0", "y1"]}, "runs.csv: 'y1' is missing. Did you mean 'x1'?"),
        ({"columns": ["x0"], "simulations": "runs.npz"}, "`columns` are those of a CSV; runs.npz has none."),
        ({"x_shape": [10]}, "expected rows of x of shape (10,) (dimensions), got (11,)"),
        ({"simulations": "run.npz"}, "simulations run.npz are missing"),
        ({"simulations": "line.csv"}, "line.csv: 'slope' is missing. It holds x0, x1, x2, x3, x4, ..."),
        (
            {"reserved": {"tset": 10}},
            "expected 'test', 'calibration' or 'fit'; got 'tset'. Did you mean 'test'?",
        ),
    ],
)
def test_simulations_that_disagree_with_the_settings(
    here: Project, changes: dict[str, Any], sentence: str
) -> None:
    assert sentence in refusal(study({**ELSEWHERE, **changes}, budgets=[300]))


def test_a_reference_needs_a_likelihood_and_a_budget_its_simulations(here: Project) -> None:
    assert "task line has no exact likelihood; remove this section" in refusal({**line(), "reference": {}})
    assert "budgets: 1000 rows for train are asked for, but the file of simulations has 400" in refusal(
        study(ELSEWHERE)
    )
    assert "task runs has no exact likelihood" in refusal(study(ELSEWHERE, budgets=[300], reference={}))


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


def test_a_full_disk_leaves_nothing_half_written(workplace: Project) -> None:
    given = {**TINY, "study": "full", "seed": 8, "task": {**TINY["task"], "block_rows": 5000}}
    given["task"]["settings"] = {"dimension": 10}
    workplace.write({**given, "simulation": {"shard_rows": 20_000}, "observations": {}}, "full")
    command = [*workplace.command, "--configfile", "config/full.yaml", "--until", "observe_simulated"]

    def nearly_full() -> None:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))  # a shard has 2.4 MB

    done = subprocess.run(
        command,
        cwd=workplace.folder,
        env=workplace.environment,
        text=True,
        capture_output=True,
        preexec_fn=nearly_full,
    )
    folder = workplace.folder / "results/bank"
    (found,) = folder.glob("gaussian_linear-*")
    shard = found.relative_to(workplace.folder) / "model/test/rows-000000000-000019999.zarr.zip"
    assert done.returncode == 1
    assert f"BankError: {shard}: cannot be written (File too large); nothing was left behind." in done.stderr
    left = {path.relative_to(found).as_posix() for path in found.rglob("*") if path.is_file()}
    probe = {"model/probe.json", "logs/probe-model.log", "benchmarks/probe-model.jsonl"}
    assert left == {*probe, f"logs/model/test/{shard.name[:-9]}.log"}
    workplace.snakemake("--until", "observe_simulated", study="full")
    assert bank.verify(workplace.folder / shard)["n_invalid"] == 0

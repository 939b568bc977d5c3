"""Stage simulate: a shard is the same however it is made, and no fault leaves half of one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.bank.small_tasks import spec as make_spec
from veridical import bank, tasks
from veridical.bank import blocks, filling, validity
from veridical.bank import probe as probing
from veridical.bank.filling import ShardRows
from veridical.errors import BankError, SettingError, SimulationError, SimulationTimeout, TaskError
from veridical.stages.simulate import simulate_shard


def train_rows(first: int, last: int, fidelity: str = "low", replicate: int = 0) -> ShardRows:
    return ShardRows(root=7, fidelity=fidelity, split="train", replicate=replicate, first=first, last=last)


def fill(
    folder: Path,
    rows: int,
    shard_rows: int,
    spec: dict[str, Any] | None = None,
    replicate: int = 0,
    **options: Any,
) -> list[Path]:
    """Fills a bank of `rows` rows in shards of `shard_rows`, leaving shards that are there alone."""
    paths = []
    for first in range(0, rows, shard_rows):
        last = first + shard_rows - 1
        paths.append(folder / bank.shard_name(first, last))
        if not paths[-1].exists():
            chosen = train_rows(first, last, replicate=replicate)
            simulate_shard(spec or make_spec(), paths[-1], chosen, key="k", **options)
    return paths


def bits(paths: list[Path]) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in bank.load(paths).items()}


# ---- the same bank, however it is made ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["coupled", "loose"])
@pytest.mark.parametrize("fault", ["none", "raise"])
def test_a_bank_is_bit_identical_for_any_shards_and_workers(tmp_path: Path, name: str, fault: str) -> None:
    spec = make_spec(name, fault=fault)
    made = [
        bits(fill(tmp_path / f"{size}-{workers}", 60, size, spec, workers=workers, max_invalid=0.5))
        for size, workers in ((60, 1), (60, 3), (20, 2), (10, 1))
    ]
    assert all(other == made[0] for other in made[1:])
    direct = [blocks.simulate_block(tasks.build(spec), 7, "low", "train", 0, b).arrays for b in range(6)]
    assert {n: b"".join(part[n].tobytes() for part in direct) for n in direct[0]} == made[0]


def test_a_larger_budget_adds_shards_and_leaves_the_others_alone(tmp_path: Path) -> None:
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in fill(tmp_path, 40, 20)}
    paths = fill(tmp_path, 80, 20)
    assert len(paths) == 4
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in before} == before
    np.testing.assert_array_equal(bank.load(paths, 40)["x"], bank.load(paths)["x"][:40])


def run_job(spec: dict[str, Any], path: Path, last: int = 59, **options: Any) -> subprocess.Popen[str]:
    """Starts a job of its own for the rows 0..last."""
    given = json.dumps({"spec": spec, "path": str(path), "key": "k", **options})
    code = (
        "import json, sys; from veridical.stages.simulate import ShardRows, simulate_shard; "
        f"rows = ShardRows(root=7, fidelity='low', split='train', first=0, last={last}); "
        "simulate_shard(rows=rows, **json.loads(sys.argv[1])); "
        "print(sorted(sys.modules))"
    )
    command = [sys.executable, "-W", "error", "-c", code, given]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_scratch_folder_that_is_gone_does_not_hide_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> list[int]:
        (tmp_path / "scratch").rmdir()
        raise SimulationError("the mesh is torn")

    monkeypatch.setattr(filling, "_run", fail)
    with pytest.raises(SimulationError, match="the mesh is torn"):
        filling.simulate_rows(tasks.build(make_spec()), train_rows(0, 19), tmp_path / "scratch")


@pytest.mark.parametrize(
    ("fault", "code"), [("kill_job", -signal.SIGKILL), ("stop_job", 128 + signal.SIGTERM)]
)
def test_a_job_that_is_killed_leaves_no_shard_and_its_successor_makes_the_same(
    tmp_path: Path, fault: str, code: int
) -> None:
    """The second block kills its job; `communicate` returns when the last descendant has ended."""
    (tmp_path / "marks").mkdir()
    folder = tmp_path / "bank"
    spec = make_spec(fault=fault, folder=str(tmp_path / "marks"))
    path = folder / bank.shard_name(0, 59)
    job = run_job(spec, path, workers=2)
    _, errors = job.communicate(timeout=30)
    assert job.returncode == code, errors
    assert not path.exists()
    left = [p.name.rpartition(".")[2] for p in folder.iterdir()]
    assert left == (["scratch"] if fault == "kill_job" else [])
    job = run_job(spec, path, workers=2)
    _, errors = job.communicate(timeout=30)
    assert job.returncode == 0, errors
    assert list(folder.iterdir()) == [path]
    assert bits([path]) == bits(fill(tmp_path / "undisturbed", 60, 60))


# ---- what a job costs --------------------------------------------------------------------------------


def test_a_job_imports_numpy_and_zarr_only_and_starts_soon(tmp_path: Path) -> None:
    delays = []
    for turn in range(3):
        spec = make_spec(fault="clock", folder=str(tmp_path))
        begun = time.time()
        output, errors = run_job(spec, tmp_path / f"{turn}.zarr.zip").communicate(timeout=60)
        delays.append(float((tmp_path / "started").read_text()) - begun)
        assert "zarr" in output, errors
        modules = {name.strip("[]' ").partition(".")[0] for name in output.splitlines()[-1].split(",")}
        assert not modules & {
            "torch",
            "lightning",
            "xarray",
            "dask",
            "scipy",
            "pydantic",
            "pandas",
            "snakemake",
        }
    assert min(delays) < 1.5, delays


# ---- failures ----------------------------------------------------------------------------------------


def test_failures_are_counted_in_the_manifest(tmp_path: Path) -> None:
    (path,) = fill(tmp_path, 60, 60, make_spec(fault="raise"), max_invalid=0.5, workers=2, replicate=3)
    manifest, arrays = bank.verify(path), bank.load([path])
    failed = int((arrays["status"] == validity.RAISED).sum())
    assert failed == (arrays["theta"][:, 0] > 0.8).sum() > 0
    assert manifest["counts"] == {"ok": 60 - failed, "non_finite": 0, "raised": failed, "timed_out": 0}
    assert (manifest["n_invalid"], manifest["first"], manifest["last"]) == (failed, 0, 59)
    assert "ValueError" in manifest["first_traceback"]
    assert (manifest["split"], manifest["replicate"], manifest["block_rows"]) == ("train", 3, 10)
    assert manifest["parameters"][0] == {"name": "a", "lower": 0.0, "upper": 1.0, "unit": "m"}
    assert manifest["seeds"]["root"] == 7 and manifest["seeds"]["theta"][1][-2:] == [3, 5]
    assert manifest["versions"]["numpy"] == np.__version__ and manifest["cpu"]["features"]


@pytest.mark.parametrize("fault", ["raise", "nan"])
def test_too_many_failures_stop_the_job_with_the_reason(tmp_path: Path, fault: str) -> None:
    with pytest.raises(
        SimulationError, match=r"coupled, fidelity low.*% of 100 simulations failed.*at most 20"
    ) as caught:
        fill(tmp_path, 100, 100, make_spec(fault=fault, bad=0.9))
    assert ("ValueError: theta_0" in str(caught.value)) == (fault == "raise")
    assert list(tmp_path.iterdir()) == []


def test_a_share_that_chance_explains_stops_the_consumer_only(tmp_path: Path) -> None:
    paths = fill(tmp_path, 60, 20, make_spec(fault="nan", bad=0.3), max_invalid=0.2)
    with pytest.raises(SimulationError, match="max_invalid"):
        bank.require_valid(paths, 0.2)


@pytest.mark.parametrize("fault", ["hang", "hang_with_grandchild"])
def test_a_hanging_simulator_fails_the_job_and_leaves_no_process(tmp_path: Path, fault: str) -> None:
    (tmp_path / "marks").mkdir()
    spec = make_spec(fault=fault, folder=str(tmp_path / "marks"))
    job = run_job(spec, tmp_path / "bank" / "rows.zarr.zip", last=19, time_limit=1.0, workers=2)
    _, errors = job.communicate(timeout=30)  # returns when the last descendant has ended
    assert job.returncode == 1
    assert "SimulationTimeout: task coupled at fidelity low: block" in errors
    assert "time limit of 1 s" in errors
    assert list((tmp_path / "bank").iterdir()) == []


def test_a_hanging_row_can_be_data(tmp_path: Path) -> None:
    """Block 0 has one bad row and hangs; its other rows are those of an undisturbed block."""
    good = blocks.simulate_block(tasks.build(make_spec()), 7, "low", "train", 0, 0).arrays
    spec = make_spec(fault="hang", bad=0.05)
    task = tasks.build(spec)
    task.timeout_is_data = True
    (path,) = fill(tmp_path, 10, 10, task, time_limit=1.5, workers=4, max_invalid=0.5)
    arrays = bank.load([path])
    late = arrays["theta"][:, 0] > 0.95
    assert late.sum() == 1
    np.testing.assert_array_equal(arrays["status"], np.where(late, validity.TIMED_OUT, validity.OK))
    np.testing.assert_array_equal(arrays["theta"], good["theta"])
    np.testing.assert_array_equal(arrays["x"][~late], good["x"][~late])
    assert np.isnan(arrays["x"][late]).all()


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("wrong_shape", TaskError, r"task coupled at fidelity low: simulate returned 'x' of shape \(10, 2\)"),
        ("memory", SimulationError, r"block 0 raised MemoryError: a machine too small"),
        ("crash", SimulationError, r"block 0 ended without a result: killed by SIGKILL"),
        ("time_out", SimulationTimeout, r"theta_0 is too large to be quick"),
    ],
)
def test_other_faults_fail_the_job_and_leave_nothing(
    tmp_path: Path, fault: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fill(tmp_path, 10, 10, make_spec(fault=fault))
    assert list(tmp_path.iterdir()) == []


def test_a_shard_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BankError, match=r"rows-000000000-000000009.*No space left on device"):
        fill(tmp_path, 10, 10)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("first", "last"), [(0, 14), (5, 14), (10, 9)])
def test_blocks_are_never_split(tmp_path: Path, first: int, last: int) -> None:
    with pytest.raises(
        SettingError, match="no whole blocks of task coupled, which simulates 10 rows at once"
    ):
        simulate_shard(make_spec(), tmp_path / "a.zarr.zip", train_rows(first, last), key="k")


def test_simulations_made_elsewhere_fill_a_bank_with_a_short_last_shard(tmp_path: Path) -> None:
    rng_free = np.arange(50.0)
    np.savez(tmp_path / "rows.npz", theta=rng_free[:, None], x=np.stack([rng_free, rng_free], axis=1))
    spec = {
        "name": "elsewhere", "simulations": str(tmp_path / "rows.npz"), "fidelity": "stored",
        "reserved": {"test": 5}, "parameters": {"a": {}}, "block_rows": 10,
    }  # fmt: skip
    task = tasks.build(spec)
    assert list(filling.whole_blocks(task, "train", 40, 44)) == [4]
    paths = [tmp_path / bank.shard_name(0, 39), tmp_path / bank.shard_name(40, 44)]
    for path, (first, last) in zip(paths, ((0, 39), (40, 44)), strict=True):
        simulate_shard(spec, path, train_rows(first, last, "stored"), key="k")
    arrays = bank.load(paths)
    assert len(np.unique(arrays["theta"])) == 45
    np.testing.assert_array_equal(arrays["x"][:, 1], arrays["theta"][:, 0])


# ---- rare rows that end their process, or leave something behind ---------------------------------------

WILD = """
import ctypes, os, signal, sys, time
import numpy as np
from veridical.tasks import Dimension, Task
from veridical.tasks.priors import Product, Uniform

class Wild(Task):
    prior = Product({"a": Uniform(lower=0.0, upper=1.0)})
    parameters = prior.parameters({})
    dimensions = (Dimension("k", (0, 1)),)
    fidelities = {"low": 1.0}
    block_rows = 50

    def __init__(self, what, share):
        self.what, self.share = what, share

    def simulate(self, theta, rng, fidelity):
        bad = bool((theta[:, 0] < self.share).any())
        if bad and self.what in ("exit", "exit far"):
            sys.exit(3)
        elif bad and self.what == "os_exit":
            os._exit(0)
        elif bad and self.what == "crash":
            ctypes.string_at(0)
        elif bad and self.what == "hang":
            time.sleep(1000)
        elif self.what == "chdir":
            os.chdir("/")
        elif self.what == "fork":
            os.fork()
        elif bad and self.what == "no_room":
            raise OSError(28, "No space left on device")
        return theta + rng.normal(size=(len(theta), 2)) + 1e9 * (self.what == "exit far")
"""


def wild(tmp_path: Path, what: str, share: float | None = None) -> dict[str, Any]:
    """Its bad rows are those with theta below `share`; if it is not given, two of the first 50 rows."""
    file = tmp_path / "wild.py"
    file.write_text(WILD)
    if share is None:
        theta = blocks.draw_theta(tasks.build(wild(tmp_path, what, 0.0)), 7, "train", 0, 0)
        share = float(np.sort(theta[:, 0])[1]) + 1e-9
    return {"name": "wild", "file": str(file), "class": "Wild", "settings": {"what": what, "share": share}}


@pytest.mark.parametrize("what", ["exit", "os_exit", "crash", "hang"])
def test_a_rare_row_that_ends_its_process_or_hangs_costs_itself(tmp_path: Path, what: str) -> None:
    spec = wild(tmp_path, what)
    (path,) = fill(tmp_path / "bank", 50, 50, spec, time_limit=4.0, workers=2)
    arrays = bank.load([path])
    bad = arrays["theta"][:, 0] < spec["settings"]["share"]
    assert bad.sum() == 2
    expected = validity.TIMED_OUT if what == "hang" else validity.RAISED
    np.testing.assert_array_equal(arrays["status"], np.where(bad, expected, validity.OK))
    assert np.isfinite(arrays["x"][~bad]).all() and np.isnan(arrays["x"][bad]).all()
    told = {"exit": "SystemExit: 3", "os_exit": "exit status 0", "crash": "killed by SIGSEGV", "hang": ""}
    assert told[what] in bank.manifest(path)["first_traceback"]
    spec["settings"]["share"] = 0.005 if what == "hang" else 0.05
    limit = 8.0 if what == "hang" else 60.0  # the fourth row is bad: slow machines reach it
    found = probing.run(spec, "low", root=35, rows=60, time_limit=limit)["fidelities"]["low"]
    assert 1 <= found["counts"]["timed_out" if what == "hang" else "raised"] < 10
    assert told[what] in found["first_traceback"]


def test_the_demands_on_x_hold_where_rows_run_alone(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="rounding would make the posterior wider"):
        probing.run(wild(tmp_path, "exit far", 0.05), "low", root=1, rows=100)


@pytest.mark.parametrize("what", ["chdir", "fork"])
def test_a_simulator_that_changes_directory_or_forks_is_contained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [fill(Path(name), 100, 50, wild(tmp_path, kind)) for name, kind in (("a", what), ("b", "none"))]
    found, expected = (bank.load(each) for each in paths)
    np.testing.assert_array_equal(found["x"], expected["x"])
    assert (
        sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "wild.py"] or "__pycache__" in os.listdir()
    )


def test_a_full_disk_is_not_blamed_on_the_rows(tmp_path: Path) -> None:
    with pytest.raises(BankError, match=r"cannot write: .*No space left.*no fault of a row: make"):
        fill(tmp_path / "bank", 50, 50, wild(tmp_path, "no_room"))


def test_a_crash_of_no_row_alone_fails_the_job(tmp_path: Path) -> None:
    """All rows hang: the limit is too small, or the simulator is broken."""
    with pytest.raises(SimulationTimeout, match=r"block 0 of 50 rows took longer than the time limit"):
        fill(tmp_path / "bank", 50, 50, wild(tmp_path, "hang", 1.0), time_limit=0.2, workers=4)

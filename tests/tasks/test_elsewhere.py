"""Simulations made elsewhere, in three formats that the test writes itself."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.storage import ZipStore

from veridical import tasks
from veridical.errors import TaskError
from veridical.tasks.base import FileTask

Arrays = tuple[np.ndarray, np.ndarray]

N = 40
PARAMETERS = {"a": {"lower": 0.0, "upper": 1.0, "unit": "m"}, "b": {"lower": -5.0}}


@pytest.fixture
def arrays(rng: np.random.Generator) -> Arrays:
    theta = np.stack([rng.random(N), rng.exponential(size=N)], axis=1)
    x = np.arange(N)[:, None] + np.array([0.0, 0.25, 0.5])
    return theta, x


def write(path: Path, theta: np.ndarray, x: np.ndarray) -> Path:
    if path.name.endswith(".npz"):
        np.savez(path, theta=theta, x=x)
    elif path.name.endswith(".csv"):
        table = np.concatenate([x[:, :1], theta[:, ::-1], x[:, 1:]], axis=1)
        np.savetxt(path, table, fmt="%.17g", delimiter=",", header='x1,"b",a, x2,x3', comments="")
    else:
        store = ZipStore(path, mode="w") if path.suffix == ".zip" else path
        group = zarr.open_group(store, mode="w")
        group.create_array("theta", data=theta)
        group.create_array("x", data=x)
        if isinstance(store, ZipStore):
            store.close()
    return path


def spec(file: Path, **changes: Any) -> dict[str, Any]:
    base = {"name": "elsewhere", "simulations": str(file), "parameters": PARAMETERS, "fidelity": "stored"}
    return base | {"reserved": {"test": 8, "calibration": 5}} | changes


def build(file: Path, **changes: Any) -> FileTask:
    task = tasks.build(spec(file, **changes))
    assert isinstance(task, FileTask)
    return task


@pytest.mark.parametrize("name", ["s.npz", "s.csv", "s.zarr", "s.zarr.zip"])
def test_each_row_comes_once_whatever_the_format(name: str, tmp_path: Path, arrays: Arrays) -> None:
    theta, x = arrays
    task = build(write(tmp_path / name, theta, x))
    tasks.check_task(task)
    assert {split: task.available(split) for split in ("train", "test", "calibration", "fit")} == {
        "train": 27,
        "test": 8,
        "calibration": 5,
        "fit": 0,
    }
    found = [
        task.rows(split, 0, 0, task.available(split) - 1, root=1)
        for split in ("test", "calibration", "train")
    ]
    numbers = np.concatenate([part["x"][:, 0] for part in found]).astype(int)
    assert sorted(numbers) == list(range(N)) and list(numbers) != list(range(N))
    assert np.array_equal(np.concatenate([part["theta"] for part in found]), theta[numbers])
    assert np.array_equal(np.concatenate([part["x"] for part in found]), x[numbers])
    assert tasks.digest_sources(spec(tmp_path / name)) == [tmp_path / name]
    assert tasks.modules(spec(tmp_path / name)) == ()


def test_rows_depend_on_nothing_but_seed_split_and_replicate(tmp_path: Path, arrays: Arrays) -> None:
    file = write(tmp_path / "s.npz", *arrays)
    whole = build(file).rows("train", 0, 0, 26, root=1)["x"]
    parts = [build(file).rows("train", 0, first, min(first + 9, 26), root=1)["x"] for first in (0, 10, 20)]
    assert np.array_equal(np.concatenate(parts), whole)
    other = build(file).rows("train", 1, 0, 26, root=1)["x"]
    assert not np.array_equal(other, whole)
    assert np.array_equal(np.sort(other, axis=0), np.sort(whole, axis=0)), "the same rows in another order"
    assert not np.array_equal(build(file).rows("test", 0, 0, 7, root=2)["x"], whole[:8])


def test_axes_units_and_prior(tmp_path: Path, arrays: Arrays) -> None:
    theta, x = arrays
    csv = build(write(tmp_path / "s.csv", theta, x), columns=["x3", "x2"])
    assert csv.dimensions[0].coordinates == ("x3", "x2")
    assert np.array_equal(csv.rows("test", 0, 0, 0, root=1)["x"][0] % 1, [0.5, 0.25])
    npz = write(tmp_path / "s.npz", theta, x)
    axes = [{"name": "time", "coordinates": [0.0, 0.5, 1.0], "unit": "s"}]
    task = build(npz, dimensions=axes, x_unit="m")
    assert (task.dimensions[0].unit, task.x_unit, task.x_shape) == ("s", "m", (3,))
    assert build(npz).dimensions[0].name == "axis_0"
    draws = task.prior.sample(np.random.Generator(np.random.PCG64(1)), 100)
    assert set(draws[:, 0]) <= set(theta[:, 0])
    with pytest.raises(TaskError, match="prior of simulations made elsewhere is unknown"):
        task.prior.log_prob(draws)
    stated = {
        "a": {"prior": "uniform", "lower": 0.0, "upper": 1.0},
        "b": {"prior": "lognormal", "mean": 0, "sd": 1},
    }
    task = build(npz, parameters=stated)
    assert np.isfinite(task.prior.log_prob(theta)).all()
    assert task.bounds.tolist() == [[0, 1], [0, np.inf]]


def test_nothing_can_be_simulated_or_had_beyond_the_file(
    tmp_path: Path, arrays: Arrays, rng: np.random.Generator
) -> None:
    task = build(write(tmp_path / "s.npz", *arrays))
    with pytest.raises(TaskError, match="holds 27 rows for split 'train'"):
        task.rows("train", 0, 20, 27, root=1)
    with pytest.raises(TaskError, match="simulations were made elsewhere"):
        task.simulate(arrays[0], rng, "stored")


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (lambda theta, x: (theta[:, :1], x), {}, "expected theta of shape (N, 2), got (40, 1)"),
        (lambda theta, x: (theta, x[:-1]), {}, "expected x of shape (40, ...)"),
        (lambda theta, x: (theta, x), {"x_shape": [4]}, "expected rows of x of shape (4,)"),
        (lambda theta, x: (theta - [0.5, 0], x), {}, "parameter 'a' is not a number or outside its bounds"),
        (lambda theta, x: (np.where(theta > 0, np.nan, 0), x), {}, "parameter 'a' is not a number"),
        (lambda theta, x: (theta + np.array([0, np.inf]), x), {}, "theta holds infinite values"),
        (lambda theta, x: (theta, x), {"reserved": {"test": 40}}, "none is left to train"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    tmp_path: Path, arrays: Arrays, change: Any, settings: dict[str, Any], message: str
) -> None:
    task = build(write(tmp_path / "s.npz", *change(*arrays)), **settings)
    with pytest.raises(TaskError, match=re.escape(message)):
        tasks.check_task(task)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    columns = write(tmp_path / "columns.csv", np.ones((3, 2)), np.ones((3, 3)))
    with pytest.raises(TaskError, match=r"'x4' is missing\. Did you mean 'x\d'\?"):
        tasks.check_task(build(columns, columns=["x1", "x4"]))
    with pytest.raises(TaskError, match="`columns` are those of a CSV"):
        tasks.check_task(build(write(tmp_path / "s.npz", np.ones((3, 2)), np.ones((3, 3))), columns=["x1"]))
    with pytest.raises(TaskError, match=r"nowhere\.npz are missing"):
        build(tmp_path / "nowhere.npz")
    contents = {
        "broken.npz": ("no zip", "is not a readable NPZ file"),
        "text.csv": ("a,b,x\n1,2,oops\n", "line 2, column 'x': expected a number, got 'oops'"),
        "names.csv": ("a,c,x\n1,2,3\n", "'b' is missing"),
        "many.csv": ("s,t,u,v,w,x\n1,2,3,4,5,6\n", "'a' is missing. It holds s, t, u, v, w, ..."),
        "empty.csv": ("", "'a' is missing"),
        "header.csv": ("a,b,x\n", "none is left to train"),
        "old.h5": ("", "is not a readable file of type .h5"),
        "old.mat": ("", "expected .npz, .csv, .zarr or .zarr.zip"),
        "folder.zarr": (None, "is not a readable file of type .zarr"),
    }
    for name, (text, message) in contents.items():
        path = tmp_path / name
        if text is None:
            path.mkdir()
        else:
            path.write_text(text)
        with pytest.raises(TaskError, match=re.escape(message)):
            tasks.check_task(build(path))
    np.savez(tmp_path / "other.npz", theta=np.zeros((3, 2)), y=np.zeros((3, 2)))
    with pytest.raises(TaskError, match="has no array `x`"):
        tasks.check_task(build(tmp_path / "other.npz"))


@pytest.mark.parametrize("name", ["s.zarr", "s.zarr.zip"])
def test_a_zarr_store_whose_chunks_are_missing_is_refused(name: str, tmp_path: Path, arrays: Arrays) -> None:
    write(tmp_path / "whole.zarr", *arrays)
    chunk = next(path for path in (tmp_path / "whole.zarr" / "x" / "c").rglob("*") if path.is_file())
    chunk.unlink()
    file = tmp_path / "whole.zarr"
    if name.endswith(".zip"):
        file = Path(shutil.make_archive(str(tmp_path / "s.zarr"), "zip", file))
    with pytest.raises(TaskError, match=r"1 of 1 chunks of 'x' are missing and would read as 0\.0"):
        build(file).rows("train", 0, 0, 1, root=1)


@pytest.mark.parametrize("cell", ["", "NA", "nan"])
def test_missing_cells_of_stored_simulations_are_nan(cell: str, tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("a,b,d0,d1\n0.5,1,2,3\n" + f"0.5,1,,3\n0.5,1,2,{cell}\n" * 10)
    axis = {"name": "day", "length": 2, "missing": True}
    task = build(tmp_path / "s.csv", dimensions=[axis], reserved={})
    x = task.rows("train", 0, 0, 20, root=1)["x"]
    assert task.has_missing
    assert np.isnan(x).sum(axis=0).tolist() == [10, 10]
    with pytest.raises(TaskError, match=r"\(a missing value\): leave out what lacks values, or say `missing"):
        _ = build(tmp_path / "s.csv", reserved={}).x_shape

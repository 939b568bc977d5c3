"""Names in files of data, simulations and new data: matched, turned round, or refused with both lists."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
import zarr

from veridical import tasks
from veridical.errors import DataError, TaskError, VeridicalError
from veridical.saved import columns, observations
from veridical.saved.settings import ObservationSettings
from veridical.study import settings
from veridical.study.layout import Layout
from veridical.tasks.base import Dimension, FileTask, Parameter, Task

TIMES = (0.0, 0.5, 1.0)
SPECIES = ("hare", "lynx")
X = np.arange(6.0).reshape(3, 2)  # at each time hare and lynx


class Axes(Task):
    """A task with given axes, of which nothing is simulated."""

    name = "t"
    parameters = (Parameter("a"),)
    fidelities = {"only": 1.0}  # noqa: RUF012

    def simulate(self, theta, noise, fidelity):  # type: ignore[no-untyped-def]
        raise NotImplementedError


def task(*axes: Dimension) -> Task:
    """A task with these axes."""
    made = Axes()
    made.dimensions = axes
    return made


NAMED = Dimension("what", SPECIES)
TIMED = Dimension("time", TIMES)
NUMBERED = Dimension("feature", (0, 1))
BOTH = (TIMED, Dimension("species", SPECIES))


def read(path: Path, to: Task, text: str = "", **given: Any) -> observations.Observations:
    if text:
        path.write_text(text)
    return observations.read({"layout": "table", "source": "", **given, "file": str(path)}, to, "d")


@pytest.mark.parametrize(
    ("axes", "text", "given", "meant"),
    [
        ([NAMED], "hare,lynx\n1,2\n", {}, [1, 2]),
        ([NAMED], "lynx,hare\n2,1\n", {}, [1, 2]),
        ([NAMED], " lynx ,\thare\n2,1\n", {}, [1, 2]),
        ([NAMED], "lynx,hare\n2,1\n", {"columns": ["lynx", "hare"]}, [1, 2]),
        ([NAMED], "day,lynx,hare\n9,2,1\n", {"columns": ["lynx", "hare"]}, [1, 2]),
        ([NAMED], "a,b\n1,2\n", {"columns": ["b", "a"]}, [2, 1]),
        ([NAMED], "hare,b\n1,2\n", {"columns": ["hare", "b"]}, [1, 2]),
        ([TIMED], "0,0.5,1\n1,2,3\n", {}, [1, 2, 3]),
        ([TIMED], "1.0, 0.50 ,0\n3,2,1\n", {}, [1, 2, 3]),
        ([TIMED], "t1,t0.5,t0\n3,2,1\n", {}, [1, 2, 3]),
        ([TIMED], "t1,t0.5,t0\n3,2,1\n", {"columns": ["t1", "t0.5", "t0"]}, [1, 2, 3]),
        ([NUMBERED], "x1,x0\n2,1\n", {"columns": ["x1", "x0"]}, [2, 1]),
        ([TIMED], "a,b,c\n1,2,3\n", {}, [1, 2, 3]),
        ([TIMED], "x1,x2,x3\n1,2,3\n", {}, [1, 2, 3]),
        ([Dimension("z", (-1, 0, 1))], "z1,z-1,z0\n3,1,2\n", {}, [1, 2, 3]),
        ([Dimension("z", (1, 2, 3))], "z-3,z-1,z-2\n3,1,2\n", {}, [1, 2, 3]),
        ([NUMBERED], "x1,x0\n2,1\n", {}, [1, 2]),
        ([NUMBERED], "x_0,x_1\n1,2\n", {}, [1, 2]),
        ([NUMBERED], "pm25,pm10\n1,2\n", {}, [1, 2]),
        ([NUMBERED], "mass,share\n1,2\n", {}, [1, 2]),
        (BOTH, "time,lynx,hare\n0,1,0\n0.5,3,2\n1,5,4\n", {"layout": "series"}, X.tolist()),
        (BOTH, "time,lynx,hare\n1,5,4\n0.5,3,2\n0,1,0\n", {"layout": "series", "index": "time"}, X.tolist()),
        (BOTH, "h,l\n0,1\n2,3\n4,5\n", {"layout": "series", "columns": ["h", "l"]}, X.tolist()),
        (BOTH, "a,b,c,d,e,f\n0,1,2,3,4,5\n", {}, X.tolist()),
        (
            BOTH,
            "lynx_0.0,lynx_0.5,lynx_1.0,hare_0.0,hare_0.5,hare_1.0\n1,3,5,0,2,4\n",
            {},
            X.tolist(),
        ),
        (BOTH, "0 hare,0 lynx,1 lynx,1 hare,0.5 hare,0.5 lynx\n0,1,5,4,2,3\n", {}, X.tolist()),
    ],
)
def test_columns_are_found_by_name(
    tmp_path: Path, axes: list[Dimension], text: str, given: dict[str, Any], meant: list[Any]
) -> None:
    assert read(tmp_path / "d.csv", task(*axes), text, **given).x.tolist() == [meant]


@pytest.mark.parametrize(
    ("axes", "text", "given", "both"),
    [
        (
            [NAMED],
            "lynx,mice\n1,2\n",
            {},
            r"expected hare, lynx, got lynx, mice\. Call them .* say with `columns:`, in the task's order",
        ),
        (
            [NAMED],
            "mice,voles\n1,2\n",
            {},
            r"expected hare, lynx, got mice, voles\. Call .* which they are\.",
        ),
        ([NAMED], "Lynx,hare (m)\n1,2\n", {}, r"perhaps columns: \[hare \(m\), Lynx\]"),
        ([NAMED], "Hare,Lynx\n1,2\n", {}, "expected hare, lynx, got Hare, Lynx"),
        (
            [NAMED],
            "lynx,mice\n1,2\n",
            {"columns": ["lynx", "mice"]},
            "expected hare, lynx, got lynx, mice. State",
        ),
        (
            [NAMED],
            "lynx,hare,mice\n1,2,3\n",
            {},
            r"got 3 columns \(lynx, hare, mice\). Choose them with `columns:`",
        ),
        ([NAMED], "lynx,lynx\n1,2\n", {}, "two columns 'lynx'"),
        ([TIMED], "t0,t0.5,t2\n1,2,3\n", {}, "expected 0.0, 0.5, 1.0, got t0, t0.5, t2"),
        ([TIMED], "x3,x2,x1\n1,2,3\n", {}, "expected 0.0, 0.5, 1.0, got x3, x2, x1"),
        (
            [TIMED],
            "0,0.5,2\n1,2,3\n",
            {},
            "line 1: expected names of columns, got the numbers 0, 0.5, 2.*0.0, 0.5, 1.0",
        ),
        (BOTH, "lynx,mice\n0,1\n2,3\n4,5\n", {"layout": "series"}, "expected hare, lynx, got lynx, mice"),
        (
            BOTH,
            "Hour,hare,lynx\n1,0,1\n0.5,2,3\n0,4,5\n",
            {"layout": "series", "columns": ["hare", "lynx"]},
            "column 'Hour' holds the task's time in another order. Set `index: Hour`",
        ),
        (
            BOTH,
            "time,hare,lynx\n0,0,1\n0.5,2,3\n1.1,4,5\n",
            {"layout": "series"},
            "line 4: time must be 1.0, got 1.1: the task's rows are 0.0 .. 1.0, those of the file 0 .. 1.1",
        ),
    ],
)
def test_other_names_are_refused_with_both_lists(
    tmp_path: Path, axes: list[Dimension], text: str, given: dict[str, Any], both: str
) -> None:
    with pytest.raises(DataError, match=both):
        read(tmp_path / "d.csv", task(*axes), text, **given)


def test_an_archive_says_its_coordinates_beside_x(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=X[::-1], time=TIMES[::-1], species=SPECIES)
    assert np.array_equal(read(tmp_path / "d.npz", task(*BOTH)).x, X[None])
    np.savez(tmp_path / "d.npz", x=X, time=np.array(TIMES) + 1)
    with pytest.raises(DataError, match=r"expected 0.0, 0.5, 1.0, got 1.0, 1.5, 2.0\. Bring"):
        read(tmp_path / "d.npz", task(*BOTH))


def netcdf(path: Path, array: xr.DataArray) -> None:
    xr.Dataset({"x": array}).to_netcdf(path, engine="h5netcdf")


def hdf5(path: Path, array: xr.DataArray) -> None:
    with h5py.File(path, "w") as stored:
        stored["x"] = array.to_numpy()
        for axis, name in enumerate(array.dims):
            stored["x"].dims[axis].label = str(name)
            if name in array.coords:
                values = array[name].to_numpy()
                stored[str(name)] = values.astype("S") if values.dtype.kind == "U" else values
                stored[str(name)].make_scale(str(name))
                stored["x"].dims[axis].attach_scale(stored[str(name)])


def zarred(path: Path, array: xr.DataArray) -> None:
    group = zarr.open_group(path, mode="w")
    group.create_array("x", data=array.to_numpy(), dimension_names=[str(name) for name in array.dims])
    for name in array.coords:
        values = array[name].to_numpy()
        if values.dtype.kind != "U":  # Zarr has no standard for text of fixed length
            group.create_array(str(name), data=values)


GOOD = xr.DataArray(X, {"time": list(TIMES), "species": list(SPECIES)}, ("time", "species"))
MANY = xr.concat([GOOD, GOOD + 10], "run")


@pytest.mark.parametrize(("ending", "write"), [("nc", netcdf), ("h5", hdf5), ("zarr", zarred)])
def test_axes_and_coordinates_of_arrays_decide(
    tmp_path: Path, ending: str, write: Callable[[Path, xr.DataArray], None]
) -> None:
    right: dict[str, xr.DataArray] = {
        "as it is": GOOD,
        "transposed": GOOD.T,
        "descending": GOOD.isel(time=slice(None, None, -1)),
        "shuffled": GOOD.isel(time=[2, 0, 1]).T,
        "rounded": GOOD.assign_coords(time=np.array([0.0, 0.5, 1.00001])),
        "without coordinates": GOOD.drop_vars(["time", "species"]),
    }
    for name, array in right.items():
        write(tmp_path / f"{name}.{ending}", array)
        assert np.array_equal(read(tmp_path / f"{name}.{ending}", task(*BOTH)).x, X[None]), name
    write(tmp_path / f"many.{ending}", MANY.transpose("species", "run", "time"))
    assert np.array_equal(read(tmp_path / f"many.{ending}", task(*BOTH)).x, np.stack([X, X + 10]))
    wrong: dict[str, tuple[xr.DataArray, str]] = {
        "elsewhere": (
            GOOD.assign_coords(time=np.array(TIMES) + 0.1),
            r"coordinates of time .*: expected 0.0, 0.5, 1.0, got 0.1, 0.6, 1.1\. Bring",
        ),
        "renamed": (GOOD.rename(time="year"), r"expected time, species, .* got year, species\. Rename"),
        "more": (MANY.expand_dims("ship"), "expected time, species, .* got ship, run, time, species"),
        "shorter": (
            GOOD.isel(time=[0, 1]),
            r"must have shape \(N, 3, 2\) \(3 time x 2 species\), got \(2, 2\)",
        ),
    }
    for name, (array, both) in wrong.items():
        write(tmp_path / f"{name}.{ending}", array)
        with pytest.raises(DataError, match=both):
            read(tmp_path / f"{name}.{ending}", task(*BOTH))


def test_a_variable_for_each_column_is_found_by_its_name(tmp_path: Path) -> None:
    apart = MANY.to_dataset("species")
    apart.assign(trout=apart.hare + 5).to_netcdf(tmp_path / "d.nc", engine="h5netcdf")
    assert np.array_equal(read(tmp_path / "d.nc", task(*BOTH)).x, [X, X + 10])
    turned = apart.assign(lynx=apart.lynx.transpose("time", "run")).isel(time=[2, 0, 1])
    turned.to_netcdf(tmp_path / "d.nc", engine="h5netcdf")
    assert np.array_equal(read(tmp_path / "d.nc", task(*BOTH)).x, [X, X + 10])
    xr.Dataset({"lynx": 2.0, "hare": 1.0}).to_netcdf(tmp_path / "d.nc", engine="h5netcdf")
    assert read(tmp_path / "d.nc", task(BOTH[1])).x.tolist() == [[1, 2]]
    wrong = {
        r"no array `x`, nor one for each of hare, lynx\. Choose from": apart.rename(lynx="mice"),
        "the same axes of the variables hare, lynx, got run x time, run": apart.assign(lynx=apart.lynx[:, 0]),
    }
    for message, found in wrong.items():
        found.to_netcdf(tmp_path / "d.nc", engine="h5netcdf")
        with pytest.raises(DataError, match=message):
            read(tmp_path / "d.nc", task(*BOTH))


def test_other_words_along_an_axis_are_refused(tmp_path: Path) -> None:
    swapped = GOOD.isel(species=[1, 0])
    netcdf(tmp_path / "d.nc", swapped)
    assert np.array_equal(read(tmp_path / "d.nc", task(*BOTH)).x, X[None])
    netcdf(tmp_path / "d.nc", GOOD.assign_coords(species=["hare", "mice"]))
    with pytest.raises(DataError, match="of species than the task's: expected hare, lynx, got hare, mice"):
        read(tmp_path / "d.nc", task(*BOTH))


def test_julian_days_are_told_apart(tmp_path: Path) -> None:
    days = (2459000.5, 2459001.5, 2459002.5)
    to = task(Dimension("day", days))
    x = np.arange(3.0)
    for offset, dtype in ((0.0, float), (0.0, np.float32), (1.0, float)):
        coordinate = (np.array(days) + offset).astype(dtype)
        netcdf(tmp_path / "d.nc", xr.DataArray(x, {"day": coordinate}, ("day",)))
        if offset:
            with pytest.raises(DataError, match="other coordinates of day"):
                read(tmp_path / "d.nc", to)
        else:
            assert read(tmp_path / "d.nc", to).x.tolist() == [[0, 1, 2]]


# ---- stored simulations ------------------------------------------------------------------------------


def stored(file: Path, **changes: Any) -> FileTask:
    parameters = {name: {"lower": -100.0, "upper": 100.0} for name in ("a", "b")}
    spec = {"name": "s", "simulations": str(file), "parameters": parameters, "fidelity": "only"}
    built = tasks.build({**spec, "reserved": {"test": 2}, **changes})
    assert isinstance(built, FileTask)
    return built


THETA = np.arange(20.0).reshape(10, 2)
RUNS = np.stack([THETA[:, 0] + 0.25, THETA[:, 1] + 0.5], axis=1)  # hare, lynx


def rows(built: FileTask) -> np.ndarray:
    """All rows in the order of theta, parameters before data."""
    parts = [built.rows(split, 0, 0, n - 1, root=1) for split, n in (("train", 8), ("test", 2))]
    both = np.concatenate([np.concatenate([p["theta"], p["x"]], axis=1) for p in parts])
    return both[np.argsort(both[:, 0])]


WHAT = {"dimensions": [{"name": "what", "coordinates": list(SPECIES)}]}


def test_columns_of_stored_simulations_are_found_by_name(tmp_path: Path) -> None:
    meant = np.hstack([THETA, RUNS])
    for name, order, moved in (("right", [0, 1, 2, 3], False), ("swapped", [3, 1, 0, 2], True)):
        header = ",".join(np.array(["a", "b", *SPECIES])[order])
        np.savetxt(tmp_path / f"{name}.csv", meant[:, order], delimiter=",", header=header, comments="")
        built = stored(tmp_path / f"{name}.csv", **WHAT)
        assert np.array_equal(rows(built), meant) and built.reordered is moved
        assert list(built.notes) == []
    text = (tmp_path / "right.csv").read_text()
    (tmp_path / "semi.csv").write_text(text.replace(",", ";").replace(".", ","))
    assert np.array_equal(rows(stored(tmp_path / "semi.csv", **WHAT)), meant)
    (tmp_path / "other.csv").write_text(text.replace("lynx", "mice"))
    with pytest.raises(TaskError, match="expected hare, lynx, got hare, mice"):
        tasks.check_task(stored(tmp_path / "other.csv", **WHAT))
    assert stored(tmp_path / "other.csv").dimensions[0].coordinates == ("hare", "mice")


def test_arrays_of_stored_simulations_are_matched(tmp_path: Path) -> None:
    meant = np.hstack([THETA, RUNS])
    np.savez(tmp_path / "plain.npz", theta=THETA, x=RUNS)
    np.savez(
        tmp_path / "named.npz", theta=THETA[:, ::-1], names=["b", "a"], x=RUNS[:, ::-1], what=SPECIES[::-1]
    )
    for name, moved in (("plain", False), ("named", True)):
        built = stored(tmp_path / f"{name}.npz", **WHAT)
        assert np.array_equal(rows(built), meant) and built.reordered is moved
        assert bool(built.notes) is True
    arrays = {
        "theta": (("row", "parameter"), THETA[:, ::-1]),
        "x": (("what", "row"), RUNS.T),
    }
    along = {"parameter": ["b", "a"], "what": list(SPECIES)}
    xr.Dataset(arrays, along).to_netcdf(tmp_path / "runs.nc", engine="h5netcdf")
    assert np.array_equal(rows(stored(tmp_path / "runs.nc", **WHAT)), meant)
    apart = {"lynx": RUNS[:, 1], "b": THETA[:, 1], "hare": RUNS[:, 0], "a": THETA[:, 0]}
    xr.Dataset({k: ("run", v) for k, v in apart.items()}).to_netcdf(tmp_path / "apart.nc", engine="h5netcdf")
    assert np.array_equal(rows(stored(tmp_path / "apart.nc", **WHAT)), meant)
    found = stored(tmp_path / "apart.nc")
    assert found.dimensions[0].coordinates == ("lynx", "hare"), "all others are x, as in a table"
    assert np.array_equal(rows(found), meant[:, [0, 1, 3, 2]])
    np.savez(tmp_path / "wrong.npz", theta=THETA, parameters=["a", "c"], x=RUNS)
    with pytest.raises(TaskError, match="parameters of theta are not the task's: expected a, b, got a, c"):
        tasks.check_task(stored(tmp_path / "wrong.npz", **WHAT))


def test_simulations_put_in_order_by_name_make_a_bank_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Banks of before, which were read by position, are not taken for these."""
    monkeypatch.chdir(tmp_path)
    header = "a,b,lynx,hare"
    table = np.tile(np.hstack([THETA, RUNS[:, ::-1]]), (4, 1))
    np.savetxt("s.csv", table, delimiter=",", header=header, comments="")
    spec = {"simulations": "s.csv", "parameters": {n: {"lower": -100.0, "upper": 100.0} for n in "ab"}}
    study = {"study": "s", "seed": 1, "estimators": {"npe": {"type": "npe"}}, "budgets": [8], "test_rows": 20}
    layout = Layout(settings.parse({**study, "task": {**spec, **WHAT}}))
    by_name = layout.bank_key
    monkeypatch.setattr(type(layout.task), "reordered", False)
    assert Layout(layout.study).bank_key != by_name


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float16", "float32"])
def test_arrays_of_any_numbers_are_looked_through(tmp_path: Path, dtype: str) -> None:
    np.savez(tmp_path / "s.npz", theta=THETA, x=RUNS.astype(dtype))
    assert list(stored(tmp_path / "s.npz").notes) == [
        "read by position: the file names no columns and no axes"
    ]


# ---- new data for a finished study -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "given", "new", "meant"),
    [
        ("x0,x1\n1,2\n", {}, "x1,x0\n-0.2,0.3\n", [[0.3, -0.2]]),
        ("u,v\n1,2\n", {}, "v,u\n2,1\n", [[1, 2]]),
        ("x1,x0\n2,1\n", {}, "x1,x0\n2,1\n", [[1, 2]]),
        ("u,v\n1,2\n", {"columns": ["v", "u"]}, "u,v,w\n1,2,3\n", [[2, 1]]),
        ("u,v\n1,2\n", {}, "v,w\n2,1\n", "has no column 'u'.*It has v, w; expected u, v"),
        ("u,v\n1,2\n", {}, "v,u,w\n2,1,3\n", "each row must hold the 2 numbers"),
    ],
)
def test_new_data_bear_the_names_of_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str, given: dict[str, Any], new: str, meant: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.csv").write_text(own)
    Path("new.csv").write_text(new)
    study = {
        "study": "s",
        "seed": 1,
        "task": {"name": "gaussian_linear", "settings": {"dimension": 2}},
        "observations": {"own": {"file": "own.csv", "layout": "table", **given}},
        "estimators": {"npe": {"type": "npe"}},
        "budgets": [1000],
        "test_rows": 100,
    }

    def of_new() -> list[Any]:
        layout = Layout(settings.parse(study), data="new.csv")
        ((name, chosen),) = layout.observations.items()
        found: list[Any] = observations.read(chosen, layout.task, name).x.tolist()
        return found

    if isinstance(meant, str):
        with pytest.raises(VeridicalError, match=meant):
            of_new()
    else:
        assert of_new() == meant


def test_the_index_of_new_data_may_begin_elsewhere_but_orders_them(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("t,hare,lynx\n0,0,1\n0.5,2,3\n1,4,5\n")
    first = ObservationSettings(file=str(tmp_path / "own.csv"), index="t")
    rows = {9.0: "9,1,0", 9.5: "9.5,3,2", 10.0: "10,5,4"}
    right = {"rising": [9.0, 9.5, 10.0], "falling": [10.0, 9.5, 9.0]}
    for name, order in right.items():
        path = tmp_path / f"{name}.csv"
        path.write_text("\n".join(["t,lynx,hare", *(rows[t] for t in order)]))
        chosen = columns.for_new_data(first, task(*BOTH), str(path), name)
        data = observations.read(chosen, task(*BOTH), name)
        assert np.array_equal(data.x, X[None]) and data.notes[0].startswith(
            "t begins 9 later than the task's"
        )
    path.write_text("\n".join(["t,lynx,hare", "9,1,0", "9.6,3,2", "10,5,4"]))
    with pytest.raises(DataError, match=r"time must be 0\.0, got 9: .* set `shift: true`"):
        observations.read(chosen, task(*BOTH), "steps")
    with pytest.raises(DataError, match=r"time must be 0\.0, got 9"):
        observations.read(first.model_copy(update={"file": str(tmp_path / "rising.csv")}), task(*BOTH), "own")

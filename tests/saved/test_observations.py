"""Real data: what is read, and what every wrong file is told."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.conftest import modules_after
from veridical import files
from veridical.errors import DataError
from veridical.saved import observations
from veridical.tasks.base import Dimension, Parameter, Task


class Pelts(Task):
    """Three years of two species."""

    name = "pelts"
    parameters = (Parameter("a"),)
    fidelities = {"ode": 1.0}  # noqa: RUF012
    dimensions = (Dimension("year", (1900, 1901, 1902)), Dimension("species", ("hare", "lynx")))
    x_unit = "thousand"

    def simulate(self, theta, noise, fidelity):  # type: ignore[no-untyped-def]
        return np.zeros((len(theta), 3, 2))


GOOD = "year,hare,lynx\n1900,30,4\n1901,47.2,6.1\n1902,70.2,9.8\n"


def read(path: Path, text: str, **settings: object) -> observations.Observations:
    path.write_bytes(text.encode("latin-1"))
    defaults = {"layout": "series", "columns": ["hare", "lynx"], "index": "year", "source": "a fur trader"}
    return observations.read({**defaults, **settings, "file": str(path)}, Pelts(), "pelts")


def test_a_series_is_one_observation(tmp_path: Path) -> None:
    data = read(tmp_path / "d.csv", GOOD)
    assert data.x.shape == (1, 3, 2)
    assert data.x[0, 1].tolist() == [47.2, 6.1]
    assert (data.kind, data.truth) == ("observed", None)


def test_columns_choose_and_names_order(tmp_path: Path) -> None:
    data = read(tmp_path / "d.csv", GOOD, columns=["lynx", "hare"])
    assert data.x[0, 0].tolist() == [30, 4]
    text = GOOD.replace("hare,lynx", "lynx (1000),hare (1000)")
    data = read(tmp_path / "d.csv", text, columns=["hare (1000)", "lynx (1000)"])
    assert data.x[0, 0].tolist() == [4, 30]


def test_a_table_has_an_observation_a_row(tmp_path: Path) -> None:
    text = "a,b,c,d,e,f\n1,2,3,4,5,6\n7,8,9,10,11,12\n"
    data = read(tmp_path / "d.csv", text, layout="table", columns=None, index=None)
    assert data.x.shape == (2, 3, 2)
    assert data.x[1].tolist() == [[7, 8], [9, 10], [11, 12]]


def test_npz_and_netcdf_hold_x(tmp_path: Path) -> None:
    x = np.arange(12.0).reshape(2, 3, 2)
    np.savez(tmp_path / "d.npz", x=x)
    settings = {"layout": "table", "source": "here"}
    task = Pelts()
    first = observations.read({**settings, "file": str(tmp_path / "d.npz")}, task, "d")
    assert np.array_equal(first.x, x)
    observations.save(tmp_path / "d.nc", first, task)
    second = observations.read({**settings, "file": str(tmp_path / "d.nc")}, task, "d")
    assert np.array_equal(second.x, x)


def test_a_data_set_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    data = observations.Observations(
        np.arange(12.0).reshape(2, 3, 2), np.array([[1.0], [2.0]]), "simulated", "simulated", "test rows"
    )
    observations.save(tmp_path / "d.nc", data, Pelts())
    back = observations.load(tmp_path / "d.nc")
    assert np.array_equal(back.x, data.x)
    assert np.array_equal(back.truth, data.truth)
    assert (back.name, back.kind, back.source) == ("simulated", "simulated", "test rows")
    assert [p.name for p in tmp_path.iterdir()] == ["d.nc"]


def test_data_in_seconds_stay_numbers(tmp_path: Path) -> None:
    class Waits(Pelts):
        x_unit = "s"

    data = observations.Observations(np.arange(12.0).reshape(2, 3, 2), None, "waits", "observed")
    observations.save(tmp_path / "d.nc", data, Waits())
    back = observations.load(tmp_path / "d.nc")
    assert back.x.dtype == float
    assert np.array_equal(back.x, data.x)
    assert (back.truth, back.source) == (None, "")


def test_a_job_that_reads_data_does_not_load_xarray(tmp_path: Path) -> None:
    data = observations.Observations(np.zeros((1, 3, 2)), None, "pelts", "observed")
    observations.save(tmp_path / "d.nc", data, Pelts())
    code = f"from veridical.saved import observations; observations.load({str(tmp_path / 'd.nc')!r})"
    assert not modules_after(code) & {"xarray", "dask", "pandas"}


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        (GOOD.replace("47.2", "many"), {}, r"line 3, column 'hare': expected a number, got 'many'"),
        (GOOD.replace("47.2", ""), {}, r"line 3, column 'hare': expected a number, got ''"),
        (GOOD.replace("47.2", "nan"), {}, r"1 values that are not finite, the first at index \(0, 1, 0\)"),
        (GOOD.replace("47.2", "inf"), {}, "not finite"),
        (GOOD.replace(",6.1", ""), {}, r"line 3: expected 3 columns \(year, hare, lynx\), got 2"),
        (GOOD, {"columns": ["hare", "linx"]}, r"no column 'linx'. Did you mean 'lynx'"),
        (GOOD, {"columns": ["hare"]}, r"has 3 rows and 2 columns \(3 year x 2 species\), got 3 rows and 1"),
        (GOOD + "1903,1,1\n", {}, "got 4 rows and 2 columns"),
        (GOOD.replace("1901", "1911"), {}, r"line 3: year must be 1901, got 1911"),
        (GOOD, {"layout": "table"}, "each row must hold the 6 numbers"),
        ("year,hare,lynx\n", {}, "needs a line of column names and at least one row"),
        ("# above\n" + GOOD.replace("47.2", "no"), {}, "line 4, column 'hare': expected a number, got 'no'"),
        ("1,2\n3,4\n", {}, "line 1: expected names of columns, got the numbers 1, 2."),
        ("a,a\n3,4\n", {}, "has two columns 'a'; give each a name of its own."),
        (GOOD.replace("47.2", "\N{MICRO SIGN}"), {}, "is not a CSV file in UTF-8"),
    ],
)
def test_wrong_csv_says_where_and_why(tmp_path: Path, text: str, settings: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path / "d.csv", text, **settings)


def test_missing_file_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "pelts.csv").write_text(GOOD)
    with pytest.raises(DataError, match=r"does not exist. Did you mean 'pelts.csv'"):
        observations.read(
            {"file": str(tmp_path / "pelt.csv"), "layout": "series", "source": ""}, Pelts(), "p"
        )


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": np.zeros((1, 3, 2))}, "no array `x`"),
        ({"x": np.zeros((1, 2, 3))}, r"must have shape \(N, 3, 2\) \(3 year x 2 species\), got \(1, 2, 3\)"),
        ({"x": np.zeros((0, 3, 2))}, "got \\(0, 3, 2\\)"),
        ({"x": np.array([[["a"] * 2] * 3])}, "must hold numbers"),
        ({"x": np.array([[[{}] * 2] * 3], dtype=object)}, "not a readable NPZ file of numbers"),
    ],
)
def test_wrong_npz_says_why(tmp_path: Path, arrays: dict, message: str) -> None:
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(DataError, match=message):
        observations.read({"file": str(tmp_path / "d.npz"), "layout": "table", "source": ""}, Pelts(), "d")


def test_files_that_are_not_what_their_name_says(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name, message in (
        ("d.npz", "not a readable NPZ"),
        ("d.nc", "not a readable netCDF4"),
        ("d.fits", "expected a file of type .csv, .* got d.fits. Convert it"),
        ("d.h5", "not a readable file of type .h5"),
        ("folder", "is a folder, expected a file"),
    ):
        if name != "folder":
            (tmp_path / name).write_bytes(b"neither one nor the other")
        with pytest.raises(DataError, match=message):
            observations.read({"file": str(tmp_path / name), "layout": "table", "source": ""}, Pelts(), "d")


@pytest.mark.parametrize("how", ["link", "external", "virtual", "deep"])
def test_netcdf_that_takes_data_from_other_files_is_refused(tmp_path: Path, how: str) -> None:
    secret, path = tmp_path / "secret.h5", tmp_path / "data.nc"
    with h5py.File(secret, "w") as file:
        file["x"] = np.zeros((2, 3))
    with h5py.File(path, "w") as file:
        if how == "link":
            file["x"] = h5py.ExternalLink(str(secret), "/x")
        elif how == "external":
            file.create_dataset("x", (2, 3), "f8", external=[(str(secret), 0, 48)])
        elif how == "virtual":
            layout = h5py.VirtualLayout((2, 3), "f8")
            layout[...] = h5py.VirtualSource(str(secret), "x", (2, 3))
            file.create_virtual_dataset("x", layout)
        else:
            file["x"] = np.zeros((2, 3))
            file.create_group("a/b")["c"] = h5py.ExternalLink(str(secret), "/x")
    with pytest.raises(DataError, match=r"data\.nc: '.*' takes its data from another file"):
        files.require_own_content(path, DataError)
    with pytest.raises(DataError, match="takes its data from another file"):
        observations.load(path)
    with pytest.raises(DataError, match="takes its data from another file"):
        observations.read({"file": str(path), "layout": "table", "source": ""}, Pelts(), "d")


# ---- missing values ----------------------------------------------------------------------------------


class Gaps(Pelts):
    """Pelts of which some years, or species in a year, may be missing."""

    dimensions = (Dimension("year", (1900, 1901, 1902), missing=True), Pelts.dimensions[1])


@pytest.mark.parametrize("cell", ["", "NA", "nan", "-", " null"])
@pytest.mark.parametrize("layout", ["series", "table"])
def test_a_missing_cell_is_nan_where_values_may_be_missing(cell: str, layout: str, tmp_path: Path) -> None:
    table = f"a,b,c,d,e,f\n1,{cell},3,4,5,6\n7,8,9,10,11,12\n"
    (tmp_path / "d.csv").write_text(GOOD.replace("47.2", cell) if layout == "series" else table)
    columns = {"columns": ["hare", "lynx"], "index": "year"} if layout == "series" else {}
    given = {"file": str(tmp_path / "d.csv"), "layout": layout, "source": "", **columns}
    x = observations.read(given, Gaps(), "d").x
    assert np.argwhere(np.isnan(x)).tolist() == [[0, 1, 0] if layout == "series" else [0, 0, 1]]
    with pytest.raises(DataError, match="say `missing: true` with the dimension of x"):
        observations.read(given, Pelts(), "d")


@pytest.mark.parametrize(
    ("text", "settings", "there", "note"),
    [
        (
            "year,hare,lynx\n1902,3,4\n1900,1,2\n",
            {"index": "year"},
            [0, 2],
            "2 of 3 year are there; the others",
        ),
        ("hare,lynx\n1,2\n3,4\n", {}, [0, 1], "2 of 3 year are there, read as the first ones; the others"),
    ],
)
def test_a_shorter_series_lacks_the_other_entries(
    text: str, settings: dict, there: list[int], note: str, tmp_path: Path
) -> None:
    (tmp_path / "d.csv").write_text(text)
    given = {"file": str(tmp_path / "d.csv"), "layout": "series", "source": "", **settings}
    data = observations.read(given, Gaps(), "d")
    assert data.x[0, there].tolist() == [[1, 2], [3, 4]] and np.isnan(data.x[0]).sum() == 2
    assert any(said.startswith(note) for said in data.notes)
    with pytest.raises(DataError, match=r"got 2 rows|year must be 1900, got 1902"):
        observations.read(given, Pelts(), "d")


@pytest.mark.parametrize("named", [True, False])
def test_a_shorter_array_lacks_the_other_entries(named: bool, tmp_path: Path) -> None:
    x = np.arange(8.0).reshape(2, 2, 2)
    beside = {"year": np.array([1902, 1901])} if named else {}
    np.savez(tmp_path / "d.npz", x=x, **beside)
    given = {"file": str(tmp_path / "d.npz"), "layout": "table", "source": ""}
    found = observations.read(given, Gaps(), "d").x
    assert np.array_equal(found[:, [2, 1] if named else [0, 1]], x) and np.isnan(found).sum() == 4
    np.savez(tmp_path / "d.npz", x=x, year=np.array([1902, 1950]))
    with pytest.raises(DataError, match="expected some of 1900, 1901, 1902, each once, got 1902, 1950"):
        observations.read(given, Gaps(), "d")


def test_a_fill_value_of_netcdf_is_missing(tmp_path: Path) -> None:
    import xarray as xr

    x = xr.DataArray(np.array([[[1, 2], [-7, 4], [5, 6]]]), dims=("observation", "year", "species"))
    encoding = {"x": {"_FillValue": -7, "dtype": "int32"}}
    x.to_dataset(name="x").to_netcdf(tmp_path / "d.nc", engine="h5netcdf", encoding=encoding)
    given = {"file": str(tmp_path / "d.nc"), "layout": "table", "source": ""}
    found = observations.read(given, Gaps(), "d")
    assert np.argwhere(np.isnan(found.x)).tolist() == [[0, 1, 0]]
    observations.save(tmp_path / "again.nc", found, Gaps())
    assert np.array_equal(observations.load(tmp_path / "again.nc").x, found.x, equal_nan=True)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.full((2, 3, 2), np.nan), "all numbers of observation 0 .* are missing"),
        (np.where(np.arange(2) > 0, np.inf, np.ones((2, 3, 2))), "6 values that are not finite"),
    ],
)
def test_what_is_no_observation_is_refused(x: np.ndarray, message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=x)
    with pytest.raises(DataError, match=message):
        observations.read({"file": str(tmp_path / "d.npz"), "layout": "table", "source": ""}, Gaps(), "d")

"""Real data: read from CSV, NPZ or netCDF, checked against the task, kept as netCDF."""

from __future__ import annotations

import csv
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from veridical import seals
from veridical.coordinates import LABELLED
from veridical.errors import DataError, require_shape, suggest
from veridical.files import reading, whole
from veridical.tasks.base import ClassTask

if TYPE_CHECKING:
    from veridical.saved.settings import ObservationSettings
    from veridical.tasks.base import Array, Task

KINDS = (*LABELLED, "observed")
FRACTION = "fraction"  # what is asked of a sample of events: the share of the first class


@dataclass(frozen=True)
class Observations:
    """Data sets of one kind.

    Attributes:
        x: The data, shape (N, *x_shape).
        truth: The parameters behind them, shape (N, D), or None where nobody knows.
        name: Name of the data set.
        kind: `simulated`, `real` (a surrogate of nature) or `observed`.
        source: Where the data come from.
    """

    x: Array
    truth: Array | None
    name: str
    kind: str
    source: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise DataError(
                f"data set {self.name}: kind must be one of {', '.join(KINDS)}, got {self.kind!r}."
            )
        if self.truth is not None:
            require_shape(f"data set {self.name}: truth", self.truth, len(self.x), None)


def read(settings: ObservationSettings | dict[str, Any], task: Task, name: str) -> Observations:
    """Returns the data set in a file, checked against the shape that the task's simulator gives.

    Raises:
        DataError: If the file is missing, has other columns or rows than the task needs, or holds
            anything but finite numbers.
    """
    given = settings if isinstance(settings, dict) else settings.model_dump()
    path = Path(given["file"])
    readers = {".csv": _read_csv, ".npz": _read_npz, ".nc": _read_netcdf}
    if not path.is_file():
        state = "is a folder, expected a file" if path.is_dir() else "does not exist"
        folder = path.parent.glob("*") if path.parent.is_dir() else ()
        near = [p.name for p in folder if p.suffix in readers]
        hint = f" {suggest(path.name, near)}" if near else ""
        raise DataError(f"data set {name}: file {path} {state}.{hint}")
    if path.suffix not in readers:
        raise DataError(f"data set {name}: expected a .csv, .npz or .nc file, got {path.name}.")
    x = readers[path.suffix](path, given, task, name)
    _require_finite(x, path, name)
    if isinstance(task, ClassTask):
        x = x[None]  # one sample of events
    return Observations(x, None, name, "observed", given["source"])


def save(path: str | Path, data: Observations, task: Task) -> None:
    """Writes a data set as netCDF, at once or not at all."""
    import xarray as xr

    of_events = ["event"] if data.x.ndim == len(task.dimensions) + 2 else []
    axes = ["observation", *of_events, *(d.name for d in task.dimensions)]
    arrays: dict[str, Any] = {"x": (axes, data.x, {"units": task.x_unit})}
    if data.truth is not None:
        arrays["truth"] = (["observation", "parameter"], data.truth)
    coordinates = {d.name: list(d.coordinates) for d in task.dimensions}
    coordinates["parameter"] = list(task.parameter_names) or [FRACTION]
    attributes = {"name": data.name, "kind": data.kind, "source": data.source, "task": task.name}
    content = xr.Dataset(arrays, coordinates, attributes).to_netcdf(engine="h5netcdf")
    with whole(path) as temporary:
        temporary.write_bytes(content)
        seals.append(temporary)


def load(path: str | Path) -> Observations:
    """Returns a data set that `save` wrote.

    Raises:
        ArtifactError: If the file is missing or damaged.
    """
    import h5netcdf  # xarray would cost each job that reads data a third of a second

    with reading(path, "a data set of the study"), h5netcdf.File(path, "r") as stored:
        arrays = {name: stored[name][...] for name in ("x", "truth") if name in stored.variables}
        attributes = {name: stored.attrs[name] for name in ("name", "kind", "source")}
        return Observations(arrays["x"], arrays.get("truth"), **attributes)


def csv_columns(path: str | Path, name: str) -> list[str]:
    """Returns the names of the columns of a CSV file."""
    return _csv_rows(Path(path), name)[0]


def _read_csv(path: Path, settings: dict[str, Any], task: Task, name: str) -> Array:
    header, body = _csv_rows(path, name)
    index = settings.get("index")
    columns = settings.get("columns") or [c for c in header if c != index]
    for column in [*columns, *([index] if index else [])]:
        if column not in header:
            raise DataError(f"data set {name}: {path} has no column {column!r}. {suggest(column, header)}")
    x = np.array([[_number(row[header.index(c)], path, c, i, name) for c in columns] for i, row in body])
    if index:
        _require_index([(i, row[header.index(index)]) for i, row in body], task, path, name)
    return (_series if settings["layout"] == "series" else _table)(x, columns, path, task, name)


def _csv_rows(path: Path, name: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Names of the columns, and the rows below with the numbers of their lines; comments (#) are left out."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            rows = [(reader.line_num, row) for row in reader if row and not row[0].lstrip().startswith("#")]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"data set {name}: {path} is not a CSV file in UTF-8: {error}.") from error
    if len(rows) < 2:
        raise DataError(f"data set {name}: {path} needs a line of column names and at least one row.")
    header, body = [cell.strip() for cell in rows[0][1]], rows[1:]
    if all(_is_number(cell) for cell in header):
        raise DataError(
            f"data set {name}: {path}, line {rows[0][0]}: expected names of columns, got the numbers "
            f"{', '.join(header)}. Put a line with a name for each column above them."
        )
    if double := next((cell for cell in header if header.count(cell) > 1), None):
        raise DataError(f"data set {name}: {path} has two columns {double!r}; give each a name of its own.")
    for number, row in body:
        if len(row) != len(header):
            raise DataError(
                f"data set {name}: {path}, line {number}: expected {len(header)} columns "
                f"({', '.join(header)}), got {len(row)}."
            )
    return header, body


def _series(x: Array, columns: list[str], path: Path, task: Task, name: str) -> Array:
    """One observation, a row per step."""
    if len(task.x_shape) > 2:
        raise DataError(
            f"data set {name}: {path}: an observation of task {task.name} has {len(task.x_shape)} axes "
            f"({_axes(task)}) and cannot be a series; use layout: table, or an NPZ or netCDF file."
        )
    shape = task.x_shape if len(task.x_shape) == 2 else (*task.x_shape, 1)
    if x.shape != shape:
        raise DataError(
            f"data set {name}: {path}: one observation of task {task.name} has {shape[0]} rows and "
            f"{shape[1]} columns ({_axes(task)}), got {x.shape[0]} rows and {x.shape[1]} columns "
            f"({', '.join(columns)}). Choose the columns with `columns:`; use `layout: table` if each row is "
            "an observation."
        )
    return x.reshape(1, *task.x_shape)


def _table(x: Array, columns: list[str], path: Path, task: Task, name: str) -> Array:
    """One observation per row."""
    size = int(np.prod(task.x_shape))
    if x.shape[1] != size:
        raise DataError(
            f"data set {name}: {path}: each row must hold the {size} numbers of one observation "
            f"({_axes(task)}), got {x.shape[1]} columns ({', '.join(columns)}). Choose them with `columns:`."
        )
    return x.reshape(-1, *task.x_shape)


def _read_npz(path: Path, settings: dict[str, Any], task: Task, name: str) -> Array:
    try:
        with zipfile.ZipFile(path) as archive:
            files = [member.removesuffix(".npy") for member in archive.namelist()]
        if "x" not in files:
            raise DataError(f"data set {name}: {path} has no array `x`. {suggest('x', files)}")
        with np.load(path, allow_pickle=False) as stored:
            x = np.asarray(stored["x"])
    except DataError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"data set {name}: {path} is not a readable NPZ file of numbers: {error}") from error
    return _as_rows(x, path, task, name)


def _read_netcdf(path: Path, settings: dict[str, Any], task: Task, name: str) -> Array:
    import xarray as xr

    try:
        with xr.open_dataset(path, engine="h5netcdf") as stored:
            if "x" not in stored:
                raise DataError(f"data set {name}: {path} has no variable `x`.")
            x = stored["x"].to_numpy()
    except DataError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"data set {name}: {path} is not a readable netCDF4 file: {error}") from error
    return _as_rows(x, path, task, name)


def _as_rows(x: Array, path: Path, task: Task, name: str) -> Array:
    if x.dtype.kind not in "fiu":
        raise DataError(f"data set {name}: {path}: x must hold numbers, got type {x.dtype}.")
    x = x[None] if x.shape == task.x_shape else x
    if x.shape[1:] != task.x_shape or not len(x):
        raise DataError(
            f"data set {name}: {path}: x must have shape (N, {', '.join(map(str, task.x_shape))}) "
            f"({_axes(task)}), got {x.shape}."
        )
    return x.astype(float)


def _number(cell: str, path: Path, column: str, line: int, name: str) -> float:
    try:
        return float(cell)
    except ValueError:
        raise DataError(
            f"data set {name}: {path}, line {line}, column {column!r}: expected a number, "
            f"got {cell.strip()!r}."
        ) from None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _require_finite(x: Array, path: Path, name: str) -> None:
    bad = np.argwhere(~np.isfinite(x))
    if len(bad):
        first = tuple(int(i) for i in bad[0])
        raise DataError(
            f"data set {name}: {path} holds {len(bad)} values that are not finite, the first at index "
            f"{first} (observation first). Every value must be a finite number: remove or impute them."
        )


def _require_index(cells: list[tuple[int, str]], task: Task, path: Path, name: str) -> None:
    expected = task.dimensions[0].coordinates
    for (line, cell), want in zip(cells, expected, strict=False):
        same = cell.strip() == str(want)
        if not same and isinstance(want, int | float):
            same = bool(np.isclose(_number(cell, path, task.dimensions[0].name, line, name), want))
        if not same:
            raise DataError(
                f"data set {name}: {path}, line {line}: {task.dimensions[0].name} must be {want}, "
                f"got {cell.strip()}: the task's rows are {expected[0]} .. {expected[-1]}."
            )


def _axes(task: Task) -> str:
    return " x ".join(f"{len(d.coordinates)} {d.name}" for d in task.dimensions)

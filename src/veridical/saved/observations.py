"""Real data: read from tables and arrays, matched to the task by their names, kept as netCDF."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from veridical.coordinates import LABELLED
from veridical.errors import DataError, require_shape, suggest
from veridical.files import whole
from veridical.tasks import arrays, matching, sentinels, tables
from veridical.tasks.base import ClassTask

if TYPE_CHECKING:
    from veridical.saved.settings import ObservationSettings
    from veridical.tasks.base import Array, Dimension, Task

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
        notes: What reading them left open, in sentences.
    """

    x: Array
    truth: Array | None
    name: str
    kind: str
    source: str = ""
    notes: tuple[str, ...] = ()

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
    ending, known = tables.kind(path), (*tables.ENDINGS, *arrays.ENDINGS)
    folder_fits = path.is_dir() and ending == ".zarr"
    if not path.is_file() and not folder_fits:
        state = "is a folder, expected a file" if path.is_dir() else "does not exist"
        folder = path.parent.glob("*") if path.parent.is_dir() else ()
        near = [p.name for p in folder if tables.kind(p) in known]
        hint = f" {suggest(path.name, near)}" if near else ""
        raise DataError(f"data set {name}: file {path} {state}.{hint}")
    if ending not in known:
        raise DataError(
            f"data set {name}: expected a file of type {', '.join(known)}, got {path.name}. Convert it with "
            "the "
            "program that reads it, to CSV or netCDF."
        )
    x, notes = (_read_table if ending in tables.ENDINGS else _read_arrays)(path, given, task, name)
    _require_finite(x, path, name)
    if isinstance(task, ClassTask):
        x = x[None]  # one sample of events
    return Observations(x, None, name, "observed", given["source"], tuple(notes))


def save(path: str | Path, data: Observations, task: Task) -> None:
    """Writes a data set as netCDF, at once or not at all."""
    import xarray as xr

    of_events = ["event"] if data.x.ndim == len(task.dimensions) + 2 else []
    axes = ["observation", *of_events, *(d.name for d in task.dimensions)]
    variables: dict[str, Any] = {"x": (axes, data.x, {"units": task.x_unit})}
    if data.truth is not None:
        variables["truth"] = (["observation", "parameter"], data.truth)
    coordinates = {d.name: list(d.coordinates) for d in task.dimensions}
    coordinates["parameter"] = list(task.parameter_names) or [FRACTION]
    attributes = {"name": data.name, "kind": data.kind, "source": data.source, "task": task.name}
    attributes["notes"] = "\n".join(data.notes)
    content = xr.Dataset(variables, coordinates, attributes).to_netcdf(engine="h5netcdf")
    with whole(path) as temporary:
        temporary.write_bytes(content)


def load(path: str | Path) -> Observations:
    """Returns a data set that `save` wrote."""
    import h5netcdf  # xarray would cost each job that reads data a third of a second

    with h5netcdf.File(path, "r") as stored:
        found = {name: stored[name][...] for name in ("x", "truth") if name in stored.variables}
        attributes = {name: stored.attrs[name] for name in ("name", "kind", "source")}
        notes = tuple(filter(None, str(stored.attrs.get("notes", "")).split("\n")))
        return Observations(found["x"], found.get("truth"), **attributes, notes=notes)


def csv_columns(path: str | Path, name: str) -> list[str]:
    """Returns the names of the columns of a table; none for a file of arrays, or one that is gone."""
    path = Path(path)
    is_table = tables.kind(path) in tables.ENDINGS and path.is_file()
    return tables.read(path, f"data set {name}: {path}").header if is_table else []


def for_new_data(settings: ObservationSettings, task: Task, data: str, name: str) -> ObservationSettings:
    """Returns how a file of new data is read: as the study's own file, by the names of its columns.

    Its index may begin elsewhere. No columns are named where one of the two files is no table, or where
    the new one's names are left to be matched to the task's.
    """
    header, there = csv_columns(settings.file, name), csv_columns(data, name)
    index = settings.index or _own_index(header, settings.columns, settings.layout, task)
    changes = {"file": data, "source": "", "shift": True, "index": index if index in there else None}
    own = settings.columns
    if own is None:
        own = [column for column in header if column != index]
        along = task.dimensions[settings.layout == "series" :]
        if own and len(own) == np.prod([len(d.coordinates) for d in along]):
            what = f"data set {name}: {settings.file}"
            own = [own[i] for i in matching.column_order(own, along, what, stated=False)[0]]
    named = {str(value) for d in task.dimensions[-1:] for value in d.coordinates}
    if not own or not there:
        columns = settings.columns
    elif {*own} <= {*there}:
        same = {*own} == {*there} - {index}
        columns = own if same or settings.columns is not None or index is not None else None
    else:
        columns = None if named <= {*there} else own
    return settings.model_copy(update={**changes, "columns": columns})


def _read_table(path: Path, settings: dict[str, Any], task: Task, name: str) -> tuple[Array, list[str]]:
    return _from_table(tables.read(path, f"data set {name}: {path}"), path, settings, task, name)


def _from_table(
    table: tables.Table, path: Path, settings: dict[str, Any], task: Task, name: str
) -> tuple[Array, list[str]]:
    """The numbers of x in a table, in the task's order by its names, and what there is to say of it."""
    header, body, what = table.header, table.body, f"data set {name}: {path}"
    series, stated = settings["layout"] == "series", settings.get("columns")
    _require_names(table, task, what)
    index = settings.get("index") or _own_index(header, stated, settings["layout"], task)
    columns = stated or [c for c in header if c != index]
    for column in [*columns, *([index] if index else [])]:
        if column not in header:
            raise DataError(
                f"{what} has no column {column!r}. {suggest(column, header)} It has "
                f"{matching.listed(header)}; "
                f"expected {matching.listed(columns)}."
            )
    if "" in columns:
        raise DataError(
            f"{what}: column {header.index('') + 1} has no name; name it, or choose others with `columns:`."
        )
    _require_units(table, columns, task, what)
    place = [header.index(c) for c in columns]
    x = np.array(
        [
            [
                tables.number(row[k], f"{what}, line {i}, column {c!r}")
                for k, c in zip(place, columns, strict=True)
            ]
            for i, row in body
        ]
    )
    notes = list(table.notes)
    if index:
        found = [(i, row[header.index(index)]) for i, row in body]
        shift = bool(settings.get("shift"))
        order, note = _index_order(found, task, what, index, series=series, shift=shift)
        x, notes = x[order], notes + note
    elif series and len(body) > 1:
        notes.append(
            matching.BY_POSITION.format(f"the file has no column for the rows' {task.dimensions[0].name}")
        )
    x, along = (_series if series else _table)(x, columns, path, task, name)
    order, said = matching.column_order(columns, along, what, stated=bool(stated))
    x = x.reshape(-1, len(columns))[:, order].reshape(-1, *task.x_shape)
    notes += [said] * bool(said)
    return x, notes + sentinels.asked(x, task.dimensions, [columns[i] for i in order])


def _own_index(header: list[str], stated: list[str] | None, layout: str, task: Task) -> str | None:
    """The column of a series that bears the name of its first dimension, where it is no part of x."""
    name = task.dimensions[0].name
    beside = len(header) > 1 and name not in (stated or ())
    of_x = len(task.dimensions) > 1 and name in task.dimensions[1].coordinates
    return name if layout == "series" and name in header and beside and not of_x else None


def _require_names(table: tables.Table, task: Task, what: str) -> None:
    """Stops on numbers in place of names, but for those that are the task's coordinates."""
    header = table.header
    if not all(tables.is_number(cell) for cell in header):
        return
    if any(matching.whole(matching.places(header, d.coordinates), len(header)) for d in task.dimensions):
        return
    along = task.dimensions[-1]
    raise DataError(
        f"{what}, line {table.line}: expected names of columns, got the numbers {matching.listed(header)}. "
        f"Put a line with a name for each column above them; if they are coordinates, those of {along.name} "
        "are "
        f"{matching.listed(along.coordinates)}."
    )


def _require_units(table: tables.Table, columns: list[str], task: Task, what: str) -> None:
    """Stops on a line of units that are not those of x."""
    if table.units is None:
        return
    line, cells = table.units
    units = [cells[table.header.index(c)].strip("()[] ") for c in columns if c in table.header]
    if not task.x_unit or {*units} != {task.x_unit}:
        raise DataError(
            f"{what}, line {line}: expected numbers, got a line of units ({matching.listed(cells)}); the "
            "unit of "
            f"x is {task.x_unit or 'not stated by the task'}. Put # before the line if they are right, "
            "otherwise convert the numbers."
        )


def _series(
    x: Array, columns: list[str], path: Path, task: Task, name: str
) -> tuple[Array, tuple[Dimension, ...]]:
    """One observation, a row per step, and the axis along which its columns run."""
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
    return x, task.dimensions[1:]


def _table(
    x: Array, columns: list[str], path: Path, task: Task, name: str
) -> tuple[Array, tuple[Dimension, ...]]:
    """One observation per row, and the axes along which its columns run."""
    size = int(np.prod(task.x_shape))
    if x.shape[1] != size:
        raise DataError(
            f"data set {name}: {path}: each row must hold the {size} numbers of one observation "
            f"({_axes(task)}), got {x.shape[1]} columns ({', '.join(columns)}). Choose them with `columns:`."
        )
    return x, task.dimensions


def _read_arrays(path: Path, settings: dict[str, Any], task: Task, name: str) -> tuple[Array, list[str]]:
    what = f"data set {name}: {path}"
    stored = arrays.read(path, ("x",), what)["x"]
    if stored.values.dtype.names:
        return _from_table(tables.of_fields(stored.values), path, settings, task, name)
    if stored.values.dtype.kind not in "fiu":
        raise DataError(f"{what}: x must hold numbers, got type {stored.values.dtype}.")
    x, notes = matching.aligned(stored, task.dimensions, what)
    return x.astype(float), notes + sentinels.asked(x, task.dimensions)


def _require_finite(x: Array, path: Path, name: str) -> None:
    bad = np.argwhere(~np.isfinite(x))
    if len(bad):
        first = tuple(int(i) for i in bad[0])
        raise DataError(
            f"data set {name}: {path} holds {len(bad)} values that are not finite, the first at index "
            f"{first} (observation first). Every value must be a finite number: remove or impute them."
        )


def _index_order(
    found: list[tuple[int, str]], task: Task, what: str, index: str, *, series: bool, shift: bool
) -> tuple[list[int], list[str]]:
    """The rows in the order of the first dimension's coordinates, and what there is to say of it."""
    rows, words = list(range(len(found))), [cell for _, cell in found]
    expected = task.dimensions[0].coordinates
    place = matching.places(words, expected)
    if series and len(found) == len(expected):
        if order := matching.whole(place, len(words)):
            return order, [] if order == rows else [f"rows were put in the task's order by {index}"]
        if shift and all(isinstance(c, int | float) for c in expected) and all(map(tables.is_number, words)):
            offset = min(map(float, words)) - min(float(c) for c in expected)
            moved = [float(word) - offset for word in words]
            if order := matching.whole(matching.places(moved, expected), len(words)):
                return order, [f"{index} begins {offset:g} later than the task's; its steps are the same"]
    for k, ((line, cell), want) in enumerate(zip(found, expected, strict=False)):
        if isinstance(want, int | float):
            tables.number(cell, f"{what}, line {line}, column {index!r}")
        if place[k] != k:
            raise DataError(
                f"{what}, line {line}: {task.dimensions[0].name} must be {want}, got {cell.strip()}: the "
                "task's "
                f"rows are {expected[0]} .. {expected[-1]}, those of the file {words[0]} .. {words[-1]}. "
                "If they only begin elsewhere, with the same steps, set `shift: true`."
            )
    return rows, []


def _axes(task: Task) -> str:
    return " x ".join(f"{len(d.coordinates)} {d.name}" for d in task.dimensions)

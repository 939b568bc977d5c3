"""The columns of a table as x: found by name, rows in the order of an index, checked against the task."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from veridical.errors import DataError, suggest
from veridical.tasks import cells, matching, sentinels, tables

if TYPE_CHECKING:
    from veridical.saved.settings import ObservationSettings
    from veridical.tasks.base import Array, Dimension, Task


def read(path: Path, settings: dict[str, Any], task: Task, name: str) -> tuple[Array, list[str]]:
    """Returns x (N, ...) of a table in a file, and notes, as `x_of` does."""
    return x_of(tables.read(path, f"data set {name}: {path}"), path, settings, task, name)


def x_of(
    table: tables.Table, path: Path, settings: dict[str, Any], task: Task, name: str
) -> tuple[Array, list[str]]:
    """The numbers of x in a table, in the task's order by its names, and what there is to say of it."""
    header, body, what = table.header, table.body, f"data set {name}: {path}"
    series, stated = settings["layout"] == "series", settings.get("columns")
    _require_names(table, task, what)
    index = settings.get("index") or _own_index(header, stated, settings["layout"], task)
    columns = stated or [c for c in header if c != index]
    _require_columns(header, columns, index, what)
    _require_units(table, columns, task, what)
    place = {c: header.index(c) for c in columns}
    where = {c: f"column {c!r}" for c in columns}
    number, along = partial(cells.number, missing=task.has_missing), task.dimensions[0]
    x = np.array(
        [[number(row[k], f"{what}, line {i}, {where[c]}") for c, k in place.items()] for i, row in body]
    )
    notes = list(table.notes)
    if series and along.missing and len(x) < len(along.coordinates):
        there = [row[header.index(index)] for _, row in body] if index else None
        x, note = matching.spread(x, there, along, what)
        notes.append(note)
    elif index:
        found = [(i, row[header.index(index)]) for i, row in body]
        shift = bool(settings.get("shift"))
        order, said = _index_order(found, task, what, index, series=series, shift=shift)
        x, notes = x[order], notes + said
    elif series and len(body) > 1:
        _require_no_other_order(table, columns, task, what)
        notes.append(
            matching.BY_POSITION.format(f"the file has no column for the rows' {task.dimensions[0].name}")
        )
    x, axes = (_series if series else _table)(x, columns, path, task, name)
    order, note = matching.column_order(columns, axes, what, stated=bool(stated))
    x = x.reshape(-1, len(columns))[:, order].reshape(-1, *task.x_shape)
    notes += [note] * bool(note)
    return x, notes + sentinels.asked(x, task.dimensions, [columns[i] for i in order])


def for_new_data(settings: ObservationSettings, task: Task, data: str, name: str) -> ObservationSettings:
    """Returns how a file of new data is read: as the study's own file, by the names of its columns.

    Its index may begin elsewhere. No columns are named where one of the two files is no table, or where
    the new one's names are left to be matched to the task's.
    """
    header, there = _header(settings.file, name), _header(data, name)
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


def _header(path: str | Path, name: str) -> list[str]:
    """Returns the names of the columns of a table; none for a file of arrays, or one that is gone."""
    path = Path(path)
    is_table = tables.kind(path) in tables.ENDINGS and path.is_file()
    return tables.read(path, f"data set {name}: {path}").header if is_table else []


def _own_index(header: list[str], stated: list[str] | None, layout: str, task: Task) -> str | None:
    """The column of a series that bears the name of its first dimension, where it is no part of x."""
    name = task.dimensions[0].name
    beside = len(header) > 1 and name not in (stated or ())
    of_x = len(task.dimensions) > 1 and name in task.dimensions[1].coordinates
    return name if layout == "series" and name in header and beside and not of_x else None


def _require_names(table: tables.Table, task: Task, what: str) -> None:
    """Stops on numbers in place of names, but for those that are the task's coordinates."""
    header = table.header
    if not all(cells.is_number(cell) for cell in header):
        return
    if any(matching.whole(matching.places(header, d.coordinates), len(header)) for d in task.dimensions):
        return
    along = task.dimensions[-1]
    raise DataError(
        f"{what}, line {table.line}: expected names of columns, got the numbers {matching.listed(header)}. "
        "Put a line with a name for each column above them, without #; if they are coordinates, those of "
        f"{along.name} are {matching.listed(along.coordinates)}."
    )


def _require_columns(header: list[str], columns: list[str], index: str | None, what: str) -> None:
    """Stops on columns that are not there, and on one without a name."""
    for column in [*columns, *([index] if index else [])]:
        if column not in header:
            raise DataError(
                f"{what} has no column {column!r}. {suggest(column, header)} It has "
                f"{matching.listed(header)}; expected {matching.listed(columns)}."
            )
    if "" in columns:
        raise DataError(
            f"{what}: column {header.index('') + 1} has no name; name it, or choose others with `columns:`."
        )


def _require_units(table: tables.Table, columns: list[str], task: Task, what: str) -> None:
    """Stops on a line of units that are not those of x."""
    if table.units is None:
        return
    line, row = table.units
    units = [row[table.header.index(c)].strip("()[] ") for c in columns if c in table.header]
    if not task.x_unit or {*units} != {task.x_unit}:
        raise DataError(
            f"{what}, line {line}: expected numbers, got a line of units ({matching.listed(row)}); that "
            f"of x is {task.x_unit or 'not stated by the task'}. Put # before the line if they are right, "
            "otherwise convert the numbers."
        )


def _require_no_other_order(table: tables.Table, columns: list[str], task: Task, what: str) -> None:
    """Stops where a column that nobody named holds the task's coordinates of the rows in another order."""
    expected = task.dimensions[0].coordinates
    for k, column in enumerate(table.header):
        order = matching.whole(matching.places([row[k] for _, row in table.body], expected), len(table.body))
        if column not in columns and order and order != sorted(order):
            raise DataError(
                f"{what}: column {column!r} holds the task's {task.dimensions[0].name} in another order. Set "
                f"`index: {column}`, so that the rows follow it."
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
        if shift and all(isinstance(c, int | float) for c in expected) and all(map(cells.is_number, words)):
            offset = min(map(float, words)) - min(float(c) for c in expected)
            moved = [float(word) - offset for word in words]
            if order := matching.whole(matching.places(moved, expected), len(words)):
                return order, [f"{index} begins {offset:g} later than the task's; its steps are the same"]
    for k, ((line, cell), want) in enumerate(zip(found, expected, strict=False)):
        if isinstance(want, int | float):
            cells.number(cell, f"{what}, line {line}, column {index!r}")
        if place[k] != k:
            raise DataError(
                f"{what}, line {line}: {task.dimensions[0].name} must be {want}, got {cell.strip()}: "
                f"the task's rows are {expected[0]} .. {expected[-1]}, those of the file {words[0]} .. "
                f"{words[-1]}. "
                "If they only begin elsewhere, with the same steps, set `shift: true`."
            )
    return rows, []


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


def _axes(task: Task) -> str:
    return " x ".join(f"{len(d.coordinates)} {d.name}" for d in task.dimensions)

"""Simulations made elsewhere: an npz, CSV or Zarr file of parameters and data in place of a simulator.

- npz, HDF5, netCDF and Zarr (a folder or a `.zarr.zip`) hold the arrays `theta` (N, D) and `x` (N, ...), by
  the names of their axes and coordinates, or in the order of the settings where they have none. netCDF may
  hold a variable for each parameter and for each column of x in their place.
- Tables hold a column for each parameter, named as in the settings; all others are x, or those in `columns`.

Rows are shuffled once (seeds stage `split`). The reserved splits come first and are disjoint; the rest is
`train`, and each replicate takes it in an order of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from veridical import seeds
from veridical.errors import DataError, TaskError, suggest
from veridical.tasks import arrays, matching, sentinels, tables
from veridical.tasks.base import Array, Dimension, FileTask
from veridical.tasks.description import dimensions_of, stored_parameters
from veridical.tasks.families import prior_of


class StoredPrior:
    """The parameters of a file, as a distribution that can be drawn from but has no density."""

    def __init__(self, theta: Array) -> None:
        self.theta = theta

    def sample(self, rng: np.random.Generator, n: int) -> Array:
        """Returns n parameters of the file, drawn with replacement, shape (n, D)."""
        return self.theta[rng.integers(len(self.theta), size=n)]

    def log_prob(self, theta: Array) -> Array:
        """Refuses: nothing says from which density the parameters came."""
        raise TaskError(
            "the prior of simulations made elsewhere is unknown; state it for each parameter "
            "(prior: uniform, lower: 0, upper: 1) where a density is needed."
        )


class ElsewhereTask(FileTask):
    """A task whose simulations lie in a file.

    Arguments:
        spec: `name`, `simulations` (the file), `parameters` ({name: lower, upper, unit, and optionally
            the prior}), `reserved` ({split: rows}), `fidelity`, and optionally `dimensions` or `x_shape`,
            `columns` (of x, for CSV) and `x_unit`.
    """

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.name = spec["name"]
        self.file = Path(spec["simulations"])
        self.fidelities = {spec["fidelity"]: 1.0}
        self.reserved = {split: int(rows) for split, rows in spec["reserved"].items()}
        self.x_unit = spec.get("x_unit", "")
        self._described = spec["parameters"]
        self.parameters, self.constraints = stored_parameters(self._described)
        self._columns = list(spec.get("columns") or [])
        self._axes = dimensions_of(spec.get("dimensions"), spec.get("x_shape"))
        if not self.file.exists():
            near = [
                path.name
                for path in self.file.parent.glob("*")
                if tables.kind(path) in (*tables.ENDINGS, *arrays.ENDINGS)
            ]
            raise TaskError(
                f"task {self.name!r}: simulations {self.file} are missing (from {Path.cwd()}). "
                f"{suggest(self.file.name, near)}"
            )
        if self._columns and tables.kind(self.file) not in tables.ENDINGS:
            raise TaskError(f"task {self.name!r}: `columns` are those of a CSV; {self.file} has none.")

    @cached_property
    def dimensions(self) -> tuple[Dimension, ...]:  # type: ignore[override]
        """The axes of x: those in the settings, otherwise numbered ones."""
        return self._axes or self._arrays.axes

    @cached_property
    def prior(self) -> Any:  # type: ignore[override]
        """The stated prior, or the file's own parameters where none is stated."""
        if all("prior" in settings for settings in self._described.values()):
            return prior_of(self._described)
        return StoredPrior(self._arrays.theta)

    def available(self, split: str) -> int:
        """Returns how many rows the file holds for `split` (of each replicate)."""
        if split != "train":
            return self.reserved.get(split, 0)
        return len(self._arrays.theta) - sum(self.reserved.values())

    def rows(self, split: str, replicate: int, first: int, last: int, *, root: int) -> dict[str, Array]:
        """Returns `theta` and `x` of the rows first..last (last included) of one split.

        Raises:
            TaskError: If the file holds fewer rows for this split.
        """
        if not 0 <= first <= last < self.available(split):
            raise TaskError(
                f"task {self.name!r}: {self.file} holds {self.available(split)} rows for split {split!r} "
                f"(reserved: {self.reserved}), got a call for {first} to {last}. Lower the budget."
            )
        theta, x = self._arrays.theta, self._arrays.x
        chosen = self._order(split, replicate, root)[first : last + 1]
        return {"theta": theta[chosen], "x": x[chosen]}

    def _order(self, split: str, replicate: int, root: int) -> Array:
        """Returns the rows of the file that make up a split, in order."""
        shuffled = seeds.generator(root, "split", self.name).permutation(len(self._arrays.theta))
        start = 0
        for name, size in self.reserved.items():
            if name == split:
                return shuffled[start : start + size]
            start += size
        rest = shuffled[start:]
        return seeds.generator(root, "split", self.name, split, replicate).permutation(rest)

    @property
    def notes(self) -> list[str]:
        """What reading the file left open, in sentences."""
        return self._arrays.notes + sentinels.asked(self._arrays.x, self.dimensions)

    @property
    def reordered(self) -> bool:
        """Whether the names in the file brought its columns, axes or coordinates into another order."""
        return self._arrays.reordered

    @cached_property
    def _arrays(self) -> _Rows:
        """All rows, with the axes that the file suggests, checked."""
        what = f"simulations {self.file}"
        try:
            if tables.kind(self.file) in tables.ENDINGS:
                rows = self._of_table(what)
            elif tables.kind(self.file) in arrays.ENDINGS:
                rows = self._of_arrays(what)
            else:
                raise TaskError(f"{what}: expected .npz, .csv, .zarr or .zarr.zip, .h5 or .nc.")
        except DataError as error:
            raise TaskError(str(error)) from error
        self._check(rows.theta, rows.x)
        return rows._replace(theta=rows.theta.astype(float))

    def _of_table(self, what: str) -> _Rows:
        """Parameters by the names of their columns; x by the names along the axes, where they have any."""
        names = list(self.parameter_names)
        may_miss = any(axis.missing for axis in self._axes or ())
        header, table, notes = tables.read_numbers(self.file, what, missing=may_miss)
        columns = self._columns or [name for name in header if name not in names]
        place = {name: header.index(_named(name, header, self.file)) for name in names + columns}
        axes, moved = self._axes or (), False
        shape = tuple(len(axis.coordinates) for axis in axes)
        if axes and len(columns) == np.prod(shape):
            order, note = matching.column_order(columns, axes, what, stated=bool(self._columns))
            moved, notes = order != sorted(order), notes + [note] * bool(note)
            columns = [columns[i] for i in order]
        theta, x = (table[:, [place[name] for name in wanted]] for wanted in (names, columns))
        x = x.reshape(-1, *shape) if axes and len(columns) == np.prod(shape) else x
        return _Rows(theta, x, (Dimension("feature", tuple(columns)),), notes, moved)

    def _of_arrays(self, what: str) -> _Rows:
        """Arrays whose columns and axes are put in the task's order where the file names them."""
        parts = {"theta": ("parameter", self.parameter_names), "x": arrays.columns_of_x(self._axes or ())}
        stored = arrays.read(self.file, ("theta", "x"), what, parts)
        theta, x, axes = stored["theta"].values, stored["x"].values, self._axes
        order = _parameter_order(stored["theta"], self.parameter_names, what)
        named = {*stored["x"].axes, *stored["x"].coordinates} - {""}
        aligned, notes = x, []
        if not named:
            notes = [matching.BY_POSITION.format("the file names no columns and no axes")]
        if axes and named and theta.ndim == 2:
            aligned, notes = arrays.aligned(stored["x"], axes, what)
        same = aligned.shape == x.shape and np.array_equal(aligned, x, equal_nan=x.dtype.kind == "f")
        moved = order != sorted(order) or not same
        return _Rows(theta[:, order] if order else theta, aligned, _suggested(stored["x"]), notes, moved)

    def _check(self, theta: Array, x: Array) -> None:
        wide = len(self.parameters)
        for name, array in (("theta", theta), ("x", x)):
            if array.dtype.kind not in "fiu":
                self._fail(f"{name} must hold numbers, got type {array.dtype}")
        if theta.ndim != 2 or theta.shape[1] != wide:
            self._fail(f"expected theta of shape (N, {wide}), got {theta.shape}")
        if x.ndim < 2 or len(x) != len(theta):
            self._fail(f"expected x of shape ({len(theta)}, ...), as many rows as theta, got {x.shape}")
        if self._axes and x.shape[1:] != tuple(len(axis.coordinates) for axis in self._axes):
            expected = tuple(len(axis.coordinates) for axis in self._axes)
            self._fail(f"expected rows of x of shape {expected} (dimensions), got {x.shape[1:]}")
        if sum(self.reserved.values()) >= len(theta):
            self._fail(f"of {len(theta)} rows {self.reserved} are reserved, so that none is left to train")
        lower, upper = self.bounds.T
        outside = (~((theta >= lower) & (theta <= upper))).sum(axis=0)
        for name, bad in zip(self.parameter_names, outside, strict=True):
            if bad:
                self._fail(f"parameter {name!r} is not a number or outside its bounds in {bad} rows")
        if np.isinf(theta).any():
            self._fail("theta holds infinite values")

    def _fail(self, message: str) -> None:
        raise TaskError(f"task {self.name!r}: {message}: {self.file}.")


class _Rows(NamedTuple):
    """Parameters (N, D), x (N, ...), the axes that the file suggests, notes, and whether names moved any."""

    theta: Array
    x: Array
    axes: tuple[Dimension, ...]
    notes: list[str]
    reordered: bool


def _suggested(stored: arrays.Stored) -> tuple[Dimension, ...]:
    """The axes as the file names them, where it gives coordinates too; numbered ones otherwise."""
    names = stored.axes[1:] or ("",) * (stored.values.ndim - 1)
    axes = []
    for i, (name, length) in enumerate(zip(names, stored.values.shape[1:], strict=True)):
        along = stored.coordinates.get(name)
        if along is None or not name.isidentifier():
            axes.append(Dimension(f"axis_{i}", tuple(range(length))))
        else:
            axes.append(Dimension(name, tuple(along.tolist())))
    return tuple(axes)


def _parameter_order(stored: arrays.Stored, names: tuple[str, ...], what: str) -> list[int]:
    """Which column of theta holds each parameter, by the names beside it; empty where it has none."""
    keys = [*stored.axes[1:], "parameter", "parameters", "parameter_names", "theta_names", "names"]
    beside = [stored.coordinates[key] for key in keys if key in stored.coordinates]
    found = next((words for words in beside if words.dtype.kind in "UOT"), None)
    if found is None:
        return []
    order = matching.whole(matching.places(found, names), len(found))
    if order is None:
        raise DataError(
            f"{what}: the parameters of theta are not the task's: expected {matching.listed(names)}, got "
            f"{matching.listed(found)}. Name the task's as the file does."
        )
    return order


def _named(name: str, found: list[str], file: Path) -> str:
    if name not in found:
        near = get_close_matches(name, found, n=1, cutoff=0.5)
        there = (
            f"Did you mean {near[0]!r}?"
            if near
            else f"It holds {', '.join(found[:5]) or 'nothing'}{', ...' if len(found) > 5 else ''}."
        )
        raise TaskError(f"simulations {file}: {name!r} is missing. {there}")
    return name

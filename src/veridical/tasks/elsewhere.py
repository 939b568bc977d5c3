"""Simulations made elsewhere: an npz, CSV or Zarr file of parameters and data in place of a simulator.

- npz and Zarr (a folder or a `.zarr.zip`) hold the arrays `theta` (N, D), its columns in the order of the
  settings, and `x` (N, ...).
- CSV holds a column for each parameter, named as in the settings; all others are x, or those in `columns`.

Rows are shuffled once (seeds stage `split`). The reserved splits come first and are disjoint; the rest is
`train`, and each replicate takes it in an order of its own.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from veridical import seeds
from veridical.errors import TaskError, suggest
from veridical.tasks.base import Array, Dimension, FileTask, Parameter
from veridical.tasks.description import dimensions_of, prior_of


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
        self.parameters = tuple(_parameter(name, settings) for name, settings in self._described.items())
        self._columns = list(spec.get("columns") or [])
        self._axes = dimensions_of(spec.get("dimensions"), spec.get("x_shape"))
        if not self.file.exists():
            near = [
                path.name
                for path in self.file.parent.glob("*")
                if {".npz", ".csv", ".zarr"} & {*path.suffixes}
            ]
            raise TaskError(
                f"task {self.name!r}: simulations {self.file} are missing (from {Path.cwd()}). "
                f"{suggest(self.file.name, near)}"
            )
        if self._columns and self.file.suffix != ".csv":
            raise TaskError(f"task {self.name!r}: `columns` are those of a CSV; {self.file} has none.")

    @cached_property
    def dimensions(self) -> tuple[Dimension, ...]:  # type: ignore[override]
        """The axes of x: those in the settings, otherwise numbered ones."""
        return self._axes or self._arrays[2]

    @cached_property
    def prior(self) -> Any:  # type: ignore[override]
        """The stated prior, or the file's own parameters where none is stated."""
        if all("prior" in settings for settings in self._described.values()):
            return prior_of(self._described)
        return StoredPrior(self._arrays[0])

    def available(self, split: str) -> int:
        """Returns how many rows the file holds for `split` (of each replicate)."""
        if split != "train":
            return self.reserved.get(split, 0)
        return len(self._arrays[0]) - sum(self.reserved.values())

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
        theta, x, _ = self._arrays
        chosen = self._order(split, replicate, root)[first : last + 1]
        return {"theta": theta[chosen], "x": x[chosen]}

    def _order(self, split: str, replicate: int, root: int) -> Array:
        """Returns the rows of the file that make up a split, in order."""
        shuffled = seeds.generator(root, "split", self.name).permutation(len(self._arrays[0]))
        start = 0
        for name, size in self.reserved.items():
            if name == split:
                return shuffled[start : start + size]
            start += size
        rest = shuffled[start:]
        return seeds.generator(root, "split", self.name, split, replicate).permutation(rest)

    @cached_property
    def _arrays(self) -> tuple[Array, Array, tuple[Dimension, ...]]:
        """Parameters (N, D), x (N, ...) and the axes that the file suggests, checked."""
        names = list(self.parameter_names)
        if self.file.suffix == ".csv":
            theta, x, axes = _read_csv(self.file, names, self._columns)
        elif self.file.suffix == ".npz":
            theta, x, axes = _read_npz(self.file)
        elif ".zarr" in self.file.suffixes:
            theta, x, axes = _read_zarr(self.file)
        else:
            raise TaskError(f"simulations {self.file}: expected .npz, .csv, .zarr or .zarr.zip.")
        self._check(theta, x)
        return theta.astype(float), x, axes

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


def _parameter(name: str, settings: Mapping[str, Any]) -> Parameter:
    unit = str(settings.get("unit", ""))
    if "prior" in settings:
        lower, upper = prior_of({name: settings}).bounds[0]
        return Parameter(name, float(lower), float(upper), unit)
    lower, upper = settings.get("lower", -np.inf), settings.get("upper", np.inf)
    return Parameter(name, float(lower), float(upper), unit)


def _numbered(x: Array) -> tuple[Dimension, ...]:
    return tuple(Dimension(f"axis_{i}", tuple(range(length))) for i, length in enumerate(x.shape[1:]))


def _read_npz(file: Path) -> tuple[Array, Array, tuple[Dimension, ...]]:
    try:
        if not zipfile.is_zipfile(file):
            raise TaskError(f"simulations {file}: cannot be read: not an NPZ file.")
        with np.load(file, allow_pickle=False) as arrays:
            theta, x = (arrays[_named(name, arrays.files, file)] for name in ("theta", "x"))
    except TaskError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise TaskError(f"simulations {file} cannot be read: {error}") from error
    return theta, x, _numbered(x)


def _read_zarr(file: Path) -> tuple[Array, Array, tuple[Dimension, ...]]:
    import zarr
    from zarr.storage import ZipStore

    if file.suffix == ".zip" and not zipfile.is_zipfile(file):
        raise TaskError(f"simulations {file}: cannot be read: not a zip file.")
    store = ZipStore(file, mode="r") if file.suffix == ".zip" else file
    try:
        group = zarr.open_group(store, mode="r")
        names = list(group.array_keys())
        theta, x = (_whole(group[_named(name, names, file)], file) for name in ("theta", "x"))
    except (TaskError, MemoryError):
        raise
    except Exception as error:  # of Zarr, its codecs, the zip
        raise TaskError(f"simulations {file} cannot be read: {type(error).__name__}: {error}") from error
    finally:
        if isinstance(store, ZipStore):
            store.close()
    return theta, x, _numbered(x)


def _whole(array: Any, file: Path) -> Array:
    """An array of a Zarr group, none of whose chunks may be missing: they would read as its fill value."""
    missing = array.nchunks - array.nchunks_initialized
    if missing and not np.isnan(array.fill_value):
        raise TaskError(
            f"simulations {file}: {missing} of {array.nchunks} chunks of {array.basename!r} are missing and "
            f"would read as {array.fill_value}. Copy the store again; if these rows are truly so, write it "
            "with Zarr's `array.write_empty_chunks`."
        )
    return np.asarray(array)


def _read_csv(file: Path, names: list[str], columns: list[str]) -> tuple[Array, Array, tuple[Dimension, ...]]:
    try:
        first, *lines = file.read_text(encoding="utf-8-sig").splitlines() or [""]
    except UnicodeDecodeError as error:
        raise TaskError(f"simulations {file}: not a CSV file in UTF-8: {error}.") from error
    header = [word.strip().strip('"') for word in first.split(",")]
    if double := next((name for name in header if header.count(name) > 1), None):
        raise TaskError(f"simulations {file}: two columns are named {double!r}; give each a name of its own.")
    try:
        table = np.loadtxt(lines, delimiter=",", ndmin=2) if lines else np.empty((0, len(header)))
    except ValueError as error:
        raise TaskError(f"simulations {file}: expected numbers below the header: {error}") from error
    columns = columns or [name for name in header if name not in names]
    place = {name: header.index(_named(name, header, file)) for name in names + columns}
    theta, x = (table[:, [place[name] for name in wanted]] for wanted in (names, columns))
    return theta, x, (Dimension("feature", tuple(columns)),)


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

"""Arrays in files (NumPy, netCDF, HDF5, Zarr), put in a task's order by the names of their axes."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import DataError, suggest
from veridical.files import require_own_content
from veridical.tasks import matching
from veridical.tasks.base import Array, Dimension
from veridical.tasks.cells import dates, is_number
from veridical.tasks.matching import BY_POSITION, listed, places, whole
from veridical.tasks.tables import kind

UNNAMED = re.compile(r"(phony_)?dim_\d+|axis_\d+|")  # as libraries call axes that nobody named
ENDINGS = (".npz", ".npy", ".nc", ".h5", ".hdf5", ".zarr", ".zarr.zip")


@dataclass(frozen=True)
class Stored:
    """An array of a file, with what the file calls its axes.

    Attributes:
        values: The array.
        axes: The name of each axis, empty where it has none.
        coordinates: Values along named axes, each of shape (length,).
    """

    values: Array
    axes: tuple[str, ...] = ()
    coordinates: Mapping[str, Array] = field(default_factory=dict)


Parts = Mapping[str, tuple[str, Sequence[Any]]]


def read(path: Path, names: tuple[str, ...], what: str, parts: Parts | None = None) -> dict[str, Stored]:
    """Returns the arrays of these names in a file.

    Arguments:
        path: The file.
        names: The arrays.
        what: What messages call the file.
        parts: For an array, how a netCDF file may have it in variables of their own: the axis along which
            they stand, and their names; none where they are all that belong to no other array.

    Raises:
        DataError: If the file cannot be read, or lacks one of them.
    """
    readers: dict[str, Callable[..., dict[str, Stored]]] = {".npz": _npz, ".npy": _npy}
    readers |= {".nc": partial(_netcdf, parts=parts or {}), ".zarr": _zarr, ".zarr.zip": _zarr}
    kinds = {".npz": "NPZ file of numbers", ".npy": "NPY file of numbers", ".nc": "netCDF4 file"}
    ending = kind(path)
    try:
        require_own_content(path, DataError)
        return readers.get(ending, _hdf5)(path, names, what)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # of Zarr, its codecs, the zip, HDF5
        about = kinds.get(ending, f"file of type {ending}")
        raise DataError(f"{what} is not a readable {about}: {error}") from error


def _chosen(names: tuple[str, ...], there: list[str], what: str, parts: Sequence[Any] = ()) -> None:
    for name in names:
        if name not in there:
            nor = f", nor one for each of {listed(parts)}" if len(parts) else ""
            raise DataError(f"{what} has no array `{name}`{nor}. {suggest(name, there)}")


def _npy(path: Path, names: tuple[str, ...], what: str) -> dict[str, Stored]:
    return {names[-1]: Stored(np.load(path, allow_pickle=False))}


def _npz(path: Path, names: tuple[str, ...], what: str) -> dict[str, Stored]:
    """Arrays of one dimension beside the others are taken for coordinates of the axis of their name."""
    with zipfile.ZipFile(path) as archive:
        there = [member.removesuffix(".npy") for member in archive.namelist()]
    _chosen(names, there, what)
    with np.load(path, allow_pickle=False) as stored:
        found = {name: np.asarray(stored[name]) for name in names}
        beside = {name: _plain(stored, name) for name in there if name not in names}
    along = {name: values for name, values in beside.items() if values is not None}
    return {name: Stored(values, (), along) for name, values in found.items()}


def _plain(stored: Mapping[str, Any], name: str) -> Array | None:
    """An array of one dimension; None for any other, and for objects."""
    try:
        values = np.asarray(stored[name])
    except ValueError:  # objects, which nobody asked for
        return None
    return values if values.ndim == 1 else None


def columns_of_x(axes: Sequence[Dimension]) -> tuple[str, Sequence[Any]]:
    """Returns the axis along which x may stand in variables of their own, and what they are called."""
    named = [d for d in axes if all(isinstance(value, str) for value in d.coordinates)]
    if named:
        return named[-1].name, named[-1].coordinates
    return (axes[0].name if axes else "feature"), ()


def _netcdf(path: Path, names: tuple[str, ...], what: str, parts: Parts) -> dict[str, Stored]:
    import xarray as xr

    with path.open("rb") as stream:
        engine: Any = "scipy" if stream.read(3) == b"CDF" else "h5netcdf"  # netCDF 3 or 4
    with xr.open_dataset(path, engine=engine, decode_timedelta=False) as stored:
        there = [str(name) for name in stored.variables]
        taken = {*names, *(str(part) for _, own in parts.values() for part in own)}
        free = [str(name) for name in stored.data_vars if name not in taken]
        found = {}
        for name in names:
            axis, own = parts.get(name, ("", ()))
            columns = [str(part) for part in own] or [c for c in free if stored[c].ndim == 1]
            if name in there or not columns or {*columns} - {*there}:
                _chosen((name,), there, what, own)
                found[name] = _of_xarray(stored[name])
            else:
                found[name] = _of_xarray(_gathered(stored, columns, axis, what))
        return found


def _gathered(stored: Any, columns: list[str], axis: str, what: str) -> Any:
    """Variables of the same axes as one, along an axis behind theirs."""
    axes = {c: stored[c].dims for c in columns}
    if len({frozenset(dims) for dims in axes.values()}) > 1:
        raise DataError(
            f"{what}: expected the same axes of the variables {listed(columns)}, got "
            f"{listed([' x '.join(map(str, dims)) or 'none' for dims in axes.values()])}."
        )
    return stored[columns].to_array(axis).transpose(..., axis)


def _of_xarray(variable: Any) -> Stored:
    along = {str(name): variable[name].to_numpy() for name in variable.dims if name in variable.coords}
    return Stored(
        variable.to_numpy(), tuple(str(d) for d in variable.dims), {k: _days(v) for k, v in along.items()}
    )


def _days(values: Array) -> Array:
    """Days as text, 2020-01-06, and all else as it is."""
    if values.dtype.kind != "M":
        return values
    days = values.astype("datetime64[D]")
    return (days if (days == values).all() else values).astype(str)


def _hdf5(path: Path, names: tuple[str, ...], what: str) -> dict[str, Stored]:
    import h5py

    with h5py.File(path, "r") as stored:
        _chosen(names, [name for name in stored if isinstance(stored[name], h5py.Dataset)], what)
        return {name: _of_hdf5(stored[name]) for name in names}


def _of_hdf5(dataset: Any) -> Stored:
    """Axes are called by their labels or by the scales attached to them, whose values are coordinates."""
    axes, along = [], {}
    for axis in dataset.dims:
        scale = axis[0] if len(axis) else None
        name = axis.label or (scale.name.rpartition("/")[2] if scale is not None else "")
        axes.append(name)
        if scale is not None and name:
            along[name] = scale.asstr()[...] if scale.dtype.kind in "OS" else scale[...]
    return Stored(dataset[...], tuple(axes), along)


def _zarr(path: Path, names: tuple[str, ...], what: str) -> dict[str, Stored]:
    """Axes are called as Zarr's dimensions (or xarray's attribute), arrays of such names hold coordinates."""
    import zarr
    from zarr.storage import ZipStore

    if path.suffix == ".zip" and not zipfile.is_zipfile(path):
        raise DataError(f"{what} is not a zip file.")
    store = ZipStore(path, mode="r") if path.suffix == ".zip" else path
    try:
        group = zarr.open_group(store, mode="r")
        there = list(group.array_keys())
        _chosen(names, there, what)
        found = {}
        for name in names:
            array: Any = group[name]
            axes = (
                getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS") or ()
            )
            along = {axis: np.asarray(group[axis]) for axis in axes if axis in there}
            found[name] = Stored(_complete(array, what), tuple(axis or "" for axis in axes), along)
        return found
    finally:
        if isinstance(store, ZipStore):
            store.close()


def _complete(array: Any, what: str) -> Array:
    """An array of a Zarr group, none of whose chunks may be missing: they would read as its fill value."""
    missing = array.nchunks - array.nchunks_initialized
    if missing and not np.isnan(array.fill_value):
        raise DataError(
            f"{what}: {missing} of {array.nchunks} chunks of {array.basename!r} are missing and would read "
            f"as {array.fill_value}. Copy the store again; if these rows are truly so, write it with Zarr's "
            "`array.write_empty_chunks`."
        )
    return np.asarray(array)


# ---- an array against a task --------------------------------------------------------------------------


def aligned(stored: Stored, dimensions: Sequence[Dimension], what: str) -> tuple[Array, list[str]]:
    """Returns an array with the task's axes behind one axis of rows, shape (N, ...), and notes.

    Axes are transposed by their names, and turned or sorted by their coordinates. Entries that may be missing
    and are not there are NaN.

    Raises:
        DataError: If the array has other axes, lengths or coordinates; both are named.
    """
    values, notes = _transposed(stored, dimensions, what)
    laid: set[str] = set()
    for axis, dimension in enumerate(dimensions, start=1):
        if dimension.missing and axis < values.ndim and values.shape[axis] < len(dimension.coordinates):
            found = stored.coordinates.get(dimension.name)
            values, note = matching.spread(values, found, dimension, what, axis)
            notes, laid = [*notes, note], {*laid, dimension.name}
    shape = tuple(len(d.coordinates) for d in dimensions)
    if values.shape[1:] != shape or not len(values):
        axes = " x ".join(f"{len(d.coordinates)} {d.name}" for d in dimensions)
        raise DataError(
            f"{what}: x must have shape (N, {', '.join(map(str, shape))}) ({axes}), got "
            f"{stored.values.shape}."
        )
    for axis, dimension in enumerate(dimensions, start=1):
        found = stored.coordinates.get(dimension.name)
        if found is None or dimension.name in laid:
            continue
        place = places(found, dimension.coordinates)
        order = whole(place, len(found))
        numbers = [isinstance(value, int | float) for value in dimension.coordinates]
        words = [str(value) for value in found]
        if order is None and all(numbers) and not any(is_number(w) or dates(w[:10]) for w in words):
            said = f"the file names its {dimension.name} {listed(found)}, the task numbers it "
            notes.append(BY_POSITION.format(said + listed(dimension.coordinates)))
            continue
        if order is None:
            raise DataError(
                f"{what}: other coordinates of {dimension.name} than the task's: expected "
                f"{listed(dimension.coordinates)}, got {listed(found)}. Bring the data to the "
                "task's coordinates (interpolate, choose), or give the task those of the data."
            )
        if order != list(range(len(order))):
            values = np.take(values, order, axis=axis)
            notes.append(f"{dimension.name} was put in the task's order by its coordinates")
    return values, notes


def _transposed(stored: Stored, dimensions: Sequence[Dimension], what: str) -> tuple[Array, list[str]]:
    """The array with rows first and then the task's axes, by the names of the file's axes."""
    values = stored.values
    shape = tuple(len(d.coordinates) for d in dimensions)
    named = [axis for axis in stored.axes if not UNNAMED.fullmatch(axis)]
    wanted = [d.name for d in dimensions]
    if not named or all(UNNAMED.fullmatch(name) for name in wanted):
        why = (
            "the file names no columns and no axes"
            if not named
            else f"the task names no axes, the file {listed(named)}"
        )
        return (values[None] if values.ndim == len(shape) else values), [BY_POSITION.format(why)]
    spare = [axis for axis in stored.axes if axis not in wanted]
    if (
        len({*stored.axes} & {*wanted}) < len(wanted)
        or len(spare) > 1
        or len(stored.axes) > len({*stored.axes})
    ):
        raise DataError(
            f"{what}: other axes than the task's: expected {listed(wanted)}, and one of observations where "
            f"there are several, got {listed(stored.axes)}. Rename the axes in the file."
        )
    order = [stored.axes.index(name) for name in [*spare, *wanted]]
    turned = np.transpose(values, order)
    notes = [] if order == sorted(order) else [f"axes {listed(stored.axes)} were put in the task's order"]
    return (turned if spare else turned[None]), notes

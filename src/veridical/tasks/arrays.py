"""Arrays in files with the names of their axes: NumPy, netCDF, HDF5, Zarr."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import DataError, suggest
from veridical.tasks.base import Array
from veridical.tasks.matching import Stored
from veridical.tasks.tables import kind

ENDINGS = (".npz", ".npy", ".nc", ".h5", ".hdf5", ".zarr", ".zarr.zip")


def read(path: Path, names: tuple[str, ...], what: str) -> dict[str, Stored]:
    """Returns the arrays of these names in a file.

    Raises:
        DataError: If the file cannot be read, or lacks one of them.
    """
    readers = {".npz": _npz, ".npy": _npy, ".nc": _netcdf, ".zarr": _zarr, ".zarr.zip": _zarr}
    kinds = {".npz": "NPZ file of numbers", ".npy": "NPY file of numbers", ".nc": "netCDF4 file"}
    ending = kind(path)
    try:
        return readers.get(ending, _hdf5)(path, names, what)
    except DataError:
        raise
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        about = kinds.get(ending, f"file of type {ending}")
        raise DataError(f"{what} is not a readable {about}: {error}") from error


def _chosen(names: tuple[str, ...], there: list[str], what: str, kind: str = "array") -> None:
    for name in names:
        if name not in there:
            raise DataError(f"{what} has no {kind} `{name}`. {suggest(name, there)}")


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


def _netcdf(path: Path, names: tuple[str, ...], what: str) -> dict[str, Stored]:
    import xarray as xr

    with path.open("rb") as stream:
        engine: Any = "scipy" if stream.read(3) == b"CDF" else "h5netcdf"  # netCDF 3 or 4
    with xr.open_dataset(path, engine=engine, decode_timedelta=False) as stored:
        _chosen(names, [str(name) for name in stored.variables], what, "variable")
        return {name: _of_xarray(stored[name]) for name in names}


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
            found[name] = Stored(np.asarray(array), tuple(axis or "" for axis in axes), along)
        return found
    finally:
        if isinstance(store, ZipStore):
            store.close()

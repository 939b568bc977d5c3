"""Reads shards as one set of arrays: the first rows of a bank."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from veridical.bank.shards import SUFFIX, Array, PathLike, manifest, opened, spans
from veridical.bank.validity import HOLE
from veridical.errors import BankError, if_bad

if TYPE_CHECKING:
    import zarr


_SAME_BANK = ("task", "key", "fidelity", "split", "replicate")


def contiguous(paths: Iterable[PathLike], rows: int | None = None) -> list[tuple[PathLike, dict[str, Any]]]:
    """Returns shards with what their manifests say of rows, sorted, that hold the rows 0.. of one bank.

    Of each manifest only `first`, `last`, `chunk_rows` and the name of the bank are kept, so that a bank of
    many shards needs little memory.

    Arguments:
        paths: Shards of one (task, fidelity, split), in any order.
        rows: How many rows are wanted; all where None. Shards behind them are left out.

    Raises:
        BankError: If rows are missing or held twice, or the shards are not of one bank.
    """
    kept = ("first", "last", "chunk_rows", *_SAME_BANK)
    found_of = ((path, manifest(path)) for path in paths)
    shards: list[tuple[PathLike, dict[str, Any]]] = [
        (path, {name: found[name] for name in kept if name in found}) for path, found in found_of
    ]
    shards.sort(key=lambda shard: shard[1]["first"])
    if not shards:
        raise BankError("a bank needs at least one shard, got none.")
    expected = 0
    for path, found in shards:
        for field in _SAME_BANK:
            if found.get(field) != shards[0][1].get(field):
                raise BankError(
                    f"{path}: {field} is {found.get(field)!r}, but {shards[0][1].get(field)!r} in "
                    f"{shards[0][0]}. Shards of different banks cannot be read as one."
                )
        if found["first"] != expected:
            fault = (
                f"{expected} is missing" if found["first"] > expected else f"{found['first']} is held twice"
            )
            raise BankError(f"{path}: begins at row {found['first']}: row {fault} in the bank.")
        expected = found["last"] + 1
    if rows is not None and not 0 < rows <= expected:
        raise BankError(f"{shards[-1][0]}: expected {rows} rows, the bank holds {expected}; simulate more.")
    return [shard for shard in shards if rows is None or shard[1]["first"] < rows]


def load(
    paths: Iterable[PathLike], rows: int | None = None, names: Sequence[str] | None = None
) -> dict[str, Array]:
    """Returns the first rows of a bank, failed ones included (see `valid`).

    Arguments:
        paths: Its shards, in any order.
        rows: How many rows, from row 0; all where None.
        names: The arrays to read; all where None.

    >>> from veridical import bank
    >>> x, status = np.array([1.0, 2.0, np.nan, 4.0]), np.array([0, 0, bank.STATUS["non_finite"], 0])
    >>> arrays = {"theta": np.zeros((4, 1)), "x": x, "status": status}
    >>> dims = {"theta": ("row", "parameter"), "x": ("row",), "status": ("row",)}
    >>> bank.write(bank.shard_name(0, 3), arrays, {"first": 0, "last": 3}, dims)
    >>> again = bank.load(["rows-000000000-000000003.zarr.zip"], rows=3)
    >>> again["x"], bank.valid(again)
    (array([ 1.,  2., nan]), array([ True,  True, False]))

    Raises:
        BankError: If a shard is missing, damaged or of another schema, or rows have gaps; names the file.
    """
    shards = contiguous(paths, rows)
    total = shards[-1][1]["last"] + 1 if rows is None else rows
    arrays: dict[str, Array] = {}
    for path, found in shards:
        with opened(path) as stored:
            wanted = _wanted(path, stored, names or list(arrays) or list(stored))
            for name, array in wanted.items():
                if name not in arrays:
                    arrays[name] = np.empty((total, *array.shape[1:]), array.dtype)
                target = arrays[name][found["first"] :]
                _require_alike(path, name, array, target)
                for span in spans(array, min(array.shape[0], len(target))):
                    target[span] = array[span]
        if names is None and set(stored) != set(arrays):
            raise BankError(f"{path}: holds {sorted(stored)}, but other shards of the bank {sorted(arrays)}.")
    _require_no_holes(shards, arrays)
    return arrays


def _wanted(
    path: PathLike, stored: Mapping[str, zarr.Array[Any]], names: Iterable[str]
) -> dict[str, zarr.Array[Any]]:
    missing = sorted(set(names) - set(stored))
    if missing:
        raise BankError(f"{path}: has no array {missing}; it holds {sorted(stored)}.")
    return {name: stored[name] for name in names}


def _require_alike(path: PathLike, name: str, array: zarr.Array[Any], target: Array) -> None:
    row_shape = tuple(array.shape)[1:]
    if row_shape != target.shape[1:] or array.dtype != target.dtype:
        raise BankError(
            f"{path}: array {name!r} has rows of shape {row_shape} and {array.dtype}, but {target.shape[1:]} "
            f"and {target.dtype} in other shards of the bank."
        )


def _require_no_holes(shards: Sequence[tuple[PathLike, dict[str, Any]]], arrays: Mapping[str, Array]) -> None:
    holes = np.flatnonzero(arrays.get("status", np.empty(0)) == HOLE)
    if len(holes):
        path = next(path for path, found in shards if found["last"] >= holes[0])
        raise BankError(f"{path}: row {holes[0]} was never written. {if_bad(path)}.")


def find(path: Path) -> list[Path]:
    """Returns a shard, or all shards below a folder.

    Raises:
        BankError: If there are none, or a file is not named as a shard.
    """
    if not path.is_dir() and path.name.endswith(SUFFIX):
        return [path]
    if path.is_file():
        raise BankError(
            f"{path}: expected a shard (*{SUFFIX}) or a folder of shards, got another file. Name a shard."
        )
    if found := sorted(path.rglob(f"*{SUFFIX}")):
        return found
    raise BankError(f"{path}: expected a folder of shards (*{SUFFIX}), but there are none below it.")

"""The bank: the simulations of one (task, fidelity, split), in shards, read as one set of arrays.

`write`, `manifest` and `verify` handle one shard (see `veridical.shards`); `load` reads the first rows of a
bank into memory, `veridical.streaming` what does not fit. A failed simulation is data: it stays in its row,
with NaN for `x` and the kind of failure in `status`.

    python -m veridical.bank list PATH...      what is there
    python -m veridical.bank verify PATH...    compares all digests; exit code 1 if a shard is damaged
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from veridical.errors import BankError, SimulationError, if_bad
from veridical.shards import (
    SCHEMA_VERSION,
    SUFFIX,
    Array,
    PathLike,
    digest,
    manifest,
    opened,
    shard_name,
    spans,
    verify,
    write,
)

if TYPE_CHECKING:
    import xarray
    import zarr

__all__ = [
    "SCHEMA_VERSION",
    "STATUS",
    "contiguous",
    "digest",
    "find",
    "load",
    "manifest",
    "open",
    "opened",
    "require_plausible",
    "require_valid",
    "shard_name",
    "status_counts",
    "valid",
    "validation_mask",
    "verify",
    "write",
]

OK, NON_FINITE, RAISED, TIMED_OUT, HOLE = 0, 1, 2, 3, 255
STATUS = {"ok": OK, "non_finite": NON_FINITE, "raised": RAISED, "timed_out": TIMED_OUT}
VALIDATION_EVERY = 10
CLEAR_SDS = 5.0

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

    >>> x, status = np.array([1.0, 2.0, np.nan, 4.0]), np.array([0, 0, STATUS["non_finite"], 0])
    >>> arrays = {"theta": np.zeros((4, 1)), "x": x, "status": status}
    >>> dims = {"theta": ("row", "parameter"), "x": ("row",), "status": ("row",)}
    >>> write(shard_name(0, 3), arrays, {"first": 0, "last": 3}, dims)
    >>> again = load(["rows-000000000-000000003.zarr.zip"], rows=3)
    >>> again["x"], valid(again)
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


def open(paths: Iterable[PathLike]) -> xarray.Dataset:
    """Returns the bank as a lazy xarray dataset on dask; each piece opens its shard and closes it."""
    from veridical.streaming import lazy

    return lazy(paths)


# ---- which rows count --------------------------------------------------------------------------------


def valid(arrays: Mapping[str, Array]) -> Array:
    """Returns which rows of a loaded bank are valid simulations, boolean (N,)."""
    return np.asarray(arrays["status"] == OK)


def validation_mask(n: int) -> Array:
    """Returns which of the rows 0..n-1 are for validation: every tenth, boolean (n,)."""
    return np.arange(n) % VALIDATION_EVERY == VALIDATION_EVERY - 1


def status_counts(status: Array) -> dict[str, int]:
    """Returns how many rows have each status, by its name."""
    return {name: int(np.count_nonzero(status == code)) for name, code in STATUS.items()}


def require_valid(paths: Iterable[PathLike], max_invalid: float) -> dict[str, Any]:
    """Returns `rows`, `n_invalid` and `invalid_share` of a bank's shards, from their manifests.

    Raises:
        SimulationError: If more than the share `max_invalid` of all rows failed.
    """
    counts, where, text = dict.fromkeys(STATUS, 0), "", ""
    for path in paths:
        found = manifest(path)
        counts = {name: n + found["counts"][name] for name, n in counts.items()}
        where = where or f"{found['task']}, fidelity {found['fidelity']}, split {found['split']}"
        text = text or found["first_traceback"]
    rows = sum(counts.values())
    invalid = rows - counts["ok"]
    if invalid > max_invalid * rows:
        raise SimulationError(_too_many_failed(where, counts, max_invalid, text))
    return {"rows": rows, "n_invalid": invalid, "invalid_share": invalid / rows}


def require_plausible(where: str, counts: Mapping[str, int], max_invalid: float, traceback: str) -> None:
    """Raises SimulationError if these rows clearly come from a simulator that fails too often.

    Clearly: their number of failures is beyond the share `max_invalid` by five binomial standard deviations
    (p = 3e-7), so that a part of a bank does not stop a run that the whole would not.
    """
    rows = sum(counts.values())
    margin = CLEAR_SDS * sqrt(rows * max_invalid * (1 - max_invalid))
    if rows - counts["ok"] > rows * max_invalid + margin:
        raise SimulationError(_too_many_failed(where, counts, max_invalid, traceback))


def _too_many_failed(where: str, counts: Mapping[str, int], max_invalid: float, traceback: str) -> str:
    """Says which share of the simulations failed, how, and what to do."""
    rows = sum(counts.values())
    kinds = ", ".join(f"{n} {name}" for name, n in counts.items() if n and name != "ok")
    first = f" The first traceback:\n{traceback}" if traceback else ""
    return (
        f"{where}: {1 - counts['ok'] / rows:.1%} of {rows} simulations failed ({kinds}), expected at most "
        f"{max_invalid:.1%} (max_invalid). Mend the simulator, narrow the prior, or raise "
        f"simulation.max_invalid.{first}"
    )


# ---- command line ------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Lists or verifies shards; returns the exit code: 0 all well, 1 a shard is damaged or none is there."""
    parser = argparse.ArgumentParser(prog="python -m veridical.bank", description="Looks after the bank.")
    parser.add_argument("action", choices=["list", "verify"])
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a shard, or a folder to search")
    chosen = parser.parse_args(argv)
    files: list[Path] = []
    damaged = refused = 0
    for path in chosen.paths:
        try:
            files += find(path)
        except BankError as error:
            refused += 1
            print(error, file=sys.stderr)
    for path in files:
        try:
            print(_line(path, verify(path) if chosen.action == "verify" else manifest(path)))
        except BankError as error:
            damaged += 1
            print(f"DAMAGED {error}", file=sys.stderr)
    print(f"{len(files)} shards, {damaged} damaged")
    return 1 if damaged or refused else 0


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


def _line(path: Path, found: Mapping[str, Any]) -> str:
    rows = found["last"] - found["first"] + 1
    return f"{path}  {rows} rows  {found.get('n_invalid', 0)} invalid  {path.stat().st_size / 1e6:.1f} MB"


if __name__ == "__main__":
    sys.exit(main())

"""Shards: the files of the bank, each written once, whole or not at all.

A shard `rows-{first}-{last}.zarr.zip` is a Zarr v3 group in an uncompressed zip: arrays `theta`
(row, parameter), `x` (row, ...), `status` (row) and what else the task returned. Chunks hold whole rows,
the same rows in every array. The root attributes are the manifest: row range, failures, seed keys, digests.

A shard is written to a temporary name, fsynced, renamed. Its bytes depend on its content only: fixed dates,
fixed order, the manifest last. The zip's CRC guards every read of a member, the seal in its comment the
directory; `verify` also compares the SHA-256 of the decoded arrays. In a folder of the bank, a shard has to
be of the part that the folder is named after. This module needs zarr and numpy only, and imports zarr where
a shard is opened, so that neither a simulation nor a fork waits for it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from veridical import seals
from veridical.errors import BankError, if_bad
from veridical.files import Migrations, migrated

if TYPE_CHECKING:
    import zarr

Array = NDArray[Any]
PathLike = str | Path

SCHEMA_VERSION = 1
MIGRATIONS: Migrations = {}
SUFFIX = ".zarr.zip"
CHUNK_BYTES = 2 << 20
MOST_ROWS = 10**9  # of one bank: names of shards have nine digits

_BANK = re.compile(r".+-[0-9a-f]{12}")
_NAME = re.compile(r"rows-(\d{9})-(\d{9})\.zarr\.zip")


def shard_name(first: int, last: int) -> str:
    """Returns the file name of the shard that holds the rows first..last, last included."""
    return f"rows-{first:09d}-{last:09d}{SUFFIX}"


def _damaged(path: PathLike, fault: str) -> BankError:
    remedy = f"{if_bad(path)}; its simulations come back bit by bit."
    return BankError(f"{path}: {fault}. The file is damaged. {remedy}")


# ---- writing -----------------------------------------------------------------------------------------


def write(
    path: PathLike,
    arrays: Mapping[str, Array],
    attributes: Mapping[str, Any],
    dims: Mapping[str, Sequence[str]],
) -> None:
    """Writes one shard, whole or not at all.

    Arguments:
        path: The final name of the file.
        arrays: Arrays with the same number of rows: floats (filled with NaN) or integers.
        attributes: The manifest; must name the rows `first` and `last`. The schema version, the rows per
            chunk and the digests are added here.
        dims: Names of the dimensions per array, `row` first.

    Raises:
        BankError: If the arrays do not fit the manifest, or the file cannot be written (a full disk);
            nothing stays behind then.
    """
    path = Path(path)
    plain = {name: _plain(path, name, array) for name, array in arrays.items()}
    rows = int(attributes["last"]) - int(attributes["first"]) + 1
    for name, array in plain.items():
        if len(array) != rows or len(dims[name]) != array.ndim:
            raise BankError(
                f"{path}: array {name!r} of shape {array.shape}, dimensions {tuple(dims[name])}, does "
                f"not fit a shard of {rows} rows."
            )
    part = temporary(path, "part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("xb") as stream:
            with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
                _write_members(archive, plain, attributes, dims, partial(_sync, stream))
                archive.comment = seals.EMPTY.encode()
            stream.flush()
            seals.fill(part, archive.start_dir)
            _sync(stream)
        os.replace(part, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise BankError(
            f"{path}: cannot be written ({error.strerror or error}); nothing was left behind. Make room or "
            "mend the file system, then run again."
        ) from error
    finally:
        part.unlink(missing_ok=True)


def temporary(path: Path, kind: str) -> Path:
    """Returns the name beside `path` to work under; removes what dead processes left under theirs."""
    begin, end = f".{path.name}.{socket.gethostname()}-", f".{kind}"
    for old in path.parent.glob(f".{path.name}.*{end}"):
        pid = old.name.removeprefix(begin).removesuffix(end)
        if pid.isdigit() and not _alive(int(pid)):
            shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
    return path.parent / f"{begin}{os.getpid()}{end}"


def _alive(pid: int) -> bool:
    """Whether another process of this number runs; what this process left behind earlier may go too."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid != os.getpid()


def _plain(path: Path, name: str, array: Array) -> Array:
    """Returns the array as it will lie in the file: little-endian, rows in one piece."""
    array = np.asarray(array)
    if array.dtype.kind not in "fiu" or array.ndim == 0 or array.size == 0:
        raise BankError(
            f"{path}: array {name!r} must hold floats or integers and at least one row, got {array.dtype} of "
            f"shape {array.shape}."
        )
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))


def _fill(dtype: np.dtype[Any]) -> Any:
    return np.nan if dtype.kind == "f" else int(np.iinfo(dtype).max)


def _write_members(
    archive: zipfile.ZipFile,
    arrays: Mapping[str, Array],
    attributes: Mapping[str, Any],
    dims: Mapping[str, Sequence[str]],
    sync: Callable[[], None],
) -> None:
    """Writes chunks and, once they are on the disk, metadata; hashes in a second thread meanwhile."""
    rows = len(next(iter(arrays.values())))
    row_bytes = max(array.nbytes // rows for array in arrays.values())
    chunk_rows = min(rows, max(1, CHUNK_BYTES // row_bytes))
    with ThreadPoolExecutor(1) as pool:
        hashing = {name: pool.submit(digest, [array]) for name, array in arrays.items()}
        for index in range(-(-rows // chunk_rows)):
            for name, array in arrays.items():
                key = f"{name}/c/{index}" + "/0" * (array.ndim - 1)
                archive.writestr(zipfile.ZipInfo(key), _chunk(array, index, chunk_rows))
        sync()
        digests = {name: future.result() for name, future in hashing.items()}
    manifest = {**attributes, "schema": SCHEMA_VERSION, "chunk_rows": chunk_rows, "digests": digests}
    metadata = _metadata(arrays, manifest, dims, chunk_rows)
    for key in sorted(metadata, key=lambda key: (-key.count("/"), key)):
        archive.writestr(zipfile.ZipInfo(key), metadata[key])


def _chunk(array: Array, index: int, chunk_rows: int) -> memoryview:
    """Returns the bytes of one chunk, without a copy where it is whole.

    An uncompressed chunk is its values in C order, little-endian (Zarr v3, codec `bytes`); the last one is
    filled up to the size of the others.
    """
    chunk = array[index * chunk_rows : (index + 1) * chunk_rows]
    if len(chunk) < chunk_rows:
        filled = np.full((chunk_rows, *array.shape[1:]), _fill(array.dtype), array.dtype)
        filled[: len(chunk)] = chunk
        chunk = filled
    return chunk.data.cast("B")


def _metadata(
    arrays: Mapping[str, Array],
    manifest: Mapping[str, Any],
    dims: Mapping[str, Sequence[str]],
    chunk_rows: int,
) -> dict[str, bytes]:
    """Returns the metadata documents that zarr writes for these arrays, by key."""
    import zarr

    store: dict[str, Any] = {}
    group = zarr.create_group(zarr.storage.MemoryStore(store), attributes=dict(manifest), zarr_format=3)
    for name, array in arrays.items():
        group.create_array(
            name,
            shape=array.shape,
            dtype=array.dtype,
            chunks=(chunk_rows, *array.shape[1:]),
            compressors=None,
            filters=None,
            fill_value=_fill(array.dtype),
            dimension_names=tuple(dims[name]),
        )
    return {key: buffer.to_bytes() for key, buffer in store.items()}


def _sync(stream: IO[bytes]) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# ---- reading -----------------------------------------------------------------------------------------


@contextmanager
def _naming(path: PathLike) -> Iterator[None]:
    """Re-raises whatever goes wrong while reading as a BankError that names the file."""
    try:
        yield
    except (BankError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise BankError(f"{path}: no such shard; run the simulate stage for these rows.") from error
    except OSError as error:
        raise BankError(f"{path}: cannot be read ({error}); look at its permissions and its disk.") from error
    except Exception as error:
        raise _damaged(path, f"cannot be decoded ({type(error).__name__}: {error})") from error


def manifest(path: PathLike) -> dict[str, Any]:
    """Returns the manifest of a shard.

    Raises:
        BankError: If the file is missing, damaged, of another schema, or named after other rows.
    """
    with _naming(path), zipfile.ZipFile(path) as archive:
        seals.require(path, archive.start_dir, error=BankError)
        stored = json.loads(archive.read("zarr.json"))["attributes"]
    attributes = migrated(stored, path, SCHEMA_VERSION, MIGRATIONS, key="schema", error=BankError)
    named = _NAME.fullmatch(Path(path).name)
    if named and (int(named[1]), int(named[2])) != (attributes["first"], attributes["last"]):
        raise BankError(
            f"{path}: holds the rows {attributes['first']}..{attributes['last']}, not those in its name. "
            "Give the file its own name back."
        )
    _require_place(Path(path), attributes)
    return attributes


def _require_place(path: Path, attributes: Mapping[str, Any]) -> None:
    """Raises unless a shard below `{task}-{key}/{fidelity}/{split}/` is a part of that very bank."""
    place = Path(os.path.abspath(path)).parts[-4:-1]
    if "key" not in attributes or not _BANK.fullmatch(place[0]):
        return
    split = place[-1]
    of_split = attributes["split"] + (f"-r{attributes['replicate']}" if "-r" in split else "")
    found = (f"{attributes['task']}-{attributes['key']}", attributes["fidelity"], of_split)
    if found != place:
        raise BankError(
            f"{path}: expected simulations of {'/'.join(place)}, got those of {'/'.join(found)}: it lies in "
            f"another's place. Move it back. {if_bad(path)}."
        )


@contextmanager
def opened(path: PathLike) -> Iterator[dict[str, zarr.Array[Any]]]:
    """Opens the arrays of one shard for reading and closes them; errors name the file."""
    import zarr

    with _naming(path):
        store = zarr.storage.ZipStore(path, mode="r")
        try:
            group: Any = zarr.open_group(store, mode="r")
            arrays = {name: group[name] for name in group.attrs["digests"]}
            _require_members(path, arrays)
            yield arrays
        finally:
            store.close()


def _require_members(path: PathLike, arrays: Mapping[str, zarr.Array[Any]]) -> None:
    """Raises unless every chunk is there: zarr would read a missing one as NaN without a word.

    In a sealed shard, what stands before each member has to agree with the directory as well.
    """
    with Path(path).open("rb") as stream, zipfile.ZipFile(stream) as archive:
        found = set(archive.namelist())
        if seals.require(path, archive.start_dir, error=BankError):
            for member in archive.infolist():
                plain = zipfile.ZipInfo(member.filename)
                plain.CRC, plain.file_size, plain.compress_size = member.CRC, *[member.file_size] * 2
                header = plain.FileHeader()
                stream.seek(member.header_offset)
                if stream.read(len(header)) != header:
                    raise _damaged(path, f"the head of {member.filename} has changed")
    for name, array in arrays.items():
        for index in range(-(-array.shape[0] // array.chunks[0])):
            key = f"{name}/c/{index}" + "/0" * (array.ndim - 1)
            if key not in found:
                raise _damaged(path, f"chunk {key} is missing")


def spans(array: zarr.Array[Any], stop: int | None = None, chunks: int = 16) -> Iterator[slice]:
    """Yields slices of whole chunks that cover the first `stop` rows, so that reading needs little memory."""
    rows = array.shape[0] if stop is None else stop
    step = array.chunks[0] * chunks
    for first in range(0, rows, step):
        yield slice(first, min(first + step, rows))


# ---- integrity ---------------------------------------------------------------------------------------


def digest(pieces: Iterable[Array]) -> str:
    """Returns the SHA-256 of an array's values in C order, little-endian, given in pieces along its rows."""
    sha = hashlib.sha256()
    for piece in pieces:
        sha.update(np.ascontiguousarray(piece, dtype=piece.dtype.newbyteorder("<")).data)
    return sha.hexdigest()


def verify(path: PathLike) -> dict[str, Any]:
    """Compares the digests of all arrays of a shard with its manifest, and returns the manifest.

    Raises:
        BankError: If anything differs; names the file and the array.
    """
    found = manifest(path)
    rows = found["last"] - found["first"] + 1
    with opened(path) as arrays:
        for name, array in arrays.items():
            if array.shape[0] != rows:
                raise _damaged(path, f"array {name!r} has {array.shape[0]} rows, its manifest {rows}")
            if digest(np.asarray(array[span]) for span in spans(array)) != found["digests"][name]:
                raise _damaged(path, f"array {name!r} has not the digest in its manifest")
    return found

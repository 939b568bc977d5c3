"""Files that appear under their name whole or not at all and are read whole or not at all.

What is written here is sealed (see `seals`); what goes wrong while a file is read names it and the remedy.
"""

from __future__ import annotations

import io
import json
import os
import socket
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from veridical import seals
from veridical.errors import ArtifactError, VeridicalError, if_bad, if_gone
from veridical.version import VERSION

Migrations = Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]


def migrated(
    record: Any,
    path: str | Path,
    version: int,
    steps: Migrations,
    *,
    key: str = "format",
    error: type[VeridicalError] = ArtifactError,
) -> dict[str, Any]:
    """Returns what a file says about itself as a file of today's version would, one version at a time.

    Arguments:
        record: What the file says.
        path: The file.
        version: Today's version.
        steps: For each older version what turns its record into one of the next version.
        key: Where a record states its version.
        error: Raised where that cannot be done.

    Raises:
        VeridicalError: If the version is newer than today's, or none that any revision wrote.
    """
    stored = record.get(key) if isinstance(record, dict) else None
    if type(stored) is int and stored > version:
        raise error(
            f"{path}: expected {key} {version}, got {stored}, which a later veridical than {VERSION} "
            "wrote. Update veridical."
        )
    while stored != version:
        if type(stored) is not int or stored not in steps:
            raise error(f"{path}: expected {key} {version}, got {stored!r}. Delete it and make it again.")
        record, stored = {**steps[stored](record), key: stored + 1}, stored + 1
    return record


def benchmark_records(path: str | Path) -> list[dict[str, Any]]:
    """Returns the records of one of Snakemake's benchmark files in JSON lines.

    Raises:
        ArtifactError: If the file is missing or holds something else, or nothing.
    """
    with reading(path, "a benchmark of a job"):
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines if line.strip()]
        if not records or not all(isinstance(record, dict) and "s" in record for record in records):
            raise ValueError("no record of seconds")
        return records


@contextmanager
def reading(path: str | Path, what: str, error: type[VeridicalError] = ArtifactError) -> Iterator[None]:
    """Compares a file with its seal, and lets whatever goes wrong while it is read name it and the remedy.

    Arguments:
        path: The file.
        what: What it should be, in words.
        error: What is raised.

    Raises:
        VeridicalError: If the file is missing, damaged or cannot be read.
    """
    try:
        seals.require(path, error=error)
        yield
    except MemoryError:
        raise
    except FileNotFoundError:
        raise error(f"{path} is missing; expected {what}. {if_gone(path)}.") from None
    except PermissionError as fault:
        raise error(f"{path}: cannot be read ({fault.strerror}). Mend its permissions.") from fault
    except Exception as fault:
        if isinstance(fault, VeridicalError) and str(path) in str(fault):
            raise
        told = f"{type(fault).__name__}: {fault}"
        raise error(f"{path}: expected {what}, got a damaged file ({told}). {if_bad(path)}.") from fault


def read_json(
    path: str | Path, what: str, *, hook: Callable[[dict[str, Any]], Any] | None = None
) -> dict[str, Any]:
    """Returns the record in a JSON file without its seal.

    Arguments:
        path: The file.
        what: What it should be, in words.
        hook: Turns each object into what it stands for.

    Raises:
        ArtifactError: If the file is missing, damaged or holds no record.
    """
    with reading(path, what):
        record = json.loads(Path(path).read_text(encoding="utf-8"), object_hook=hook)
        if not isinstance(record, dict):
            raise ValueError("no JSON object")
        record.pop("seal", None)
        return record


def write_json(path: str | Path, record: Mapping[str, Any], **layout: Any) -> None:
    """Writes a record as sealed JSON, whole or not at all; NaN is refused unless `layout` allows it."""
    text = json.dumps({**record, "seal": seals.EMPTY}, **{"allow_nan": False, **layout})
    write_text(path, seals.filled(text + "\n"))


def read_npz(path: str | Path, what: str) -> dict[str, Any]:
    """Returns the arrays of an NPZ file.

    Raises:
        ArtifactError: If the file is missing or damaged.
    """
    with reading(path, what), Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def write_npz(path: str | Path, arrays: Mapping[str, Any], compressed: bool = False) -> None:
    """Writes arrays as a sealed NPZ file, whole or not at all."""
    with whole(path) as temporary:
        with temporary.open("wb") as stream:
            (np.savez_compressed if compressed else np.savez)(stream, **arrays)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.comment = seals.EMPTY.encode()
        seals.fill(temporary)


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """Yields a temporary name beside `path`; what was written there gets its own name at the end.

    Nothing is left behind on any error.

    Raises:
        ArtifactError: If the file cannot be written, as on a full disk.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise ArtifactError(
            f"{path}: cannot be written ({error}); nothing was left behind. Make room or mend the file "
            "system, then run again."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_hdf5(path: str | Path) -> Iterator[io.FileIO]:
    """Yields a stream to which the HDF5 library may write a file that appears whole or not at all.

    HDF5 crashes the process if writing fails, even after the error was caught. The stream keeps the
    error, and it is raised here once the library has closed its file. The file is sealed then.
    """
    with whole(path) as temporary:
        with _Patient(temporary, "w+b") as stream:
            yield stream
            if stream.error is not None:
                raise stream.error
        seals.append(temporary)


class _Patient(io.FileIO):
    """A file that keeps its first error of writing and goes on as if there were none."""

    error: OSError | None = None

    def write(self, content: Any, /) -> int:
        rest = memoryview(content).cast("B")
        size = len(rest)
        try:
            while len(rest):
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.error = self.error or error
        return size

    def truncate(self, size: int | None = None, /) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0


def require_own_content(path: str | Path, error: type[VeridicalError]) -> None:
    """Raises unless all that an HDF5 file (netCDF) gives to its reader lies in the file itself.

    Such files can name other files, from which a reader then takes data: links, external storage, virtual
    datasets. A file from elsewhere could so bring in whatever its reader may read.
    """
    import h5py

    def elsewhere(name: str, link: object) -> str | None:
        found = file.get(name) if isinstance(link, h5py.HardLink) else None
        if isinstance(found, h5py.Dataset):
            return name if found.external or found.is_virtual else None
        return name if isinstance(link, h5py.ExternalLink) else None

    if not h5py.is_hdf5(path):
        return
    with h5py.File(path, "r") as file:
        name = file.visititems_links(elsewhere)
    if name is not None:
        raise error(
            f"{path}: {name!r} takes its data from another file, expected all data in the file itself. "
            "Copy them into it, as `h5repack` does."
        )


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")

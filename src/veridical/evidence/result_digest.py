"""All that a study computed, as named arrays, and one digest of it.

The record of provenance says what belongs to a study: its weights and draws, and how many rows it used of
which part of the bank. The digest depends on neither the shards that a bank is cut into, nor paths, dates,
attributes or files that an earlier run left: two runs have made the same results just when their digests
agree.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from veridical import bank
from veridical.bank.shards import spans
from veridical.errors import ArtifactError, BankError, if_bad, if_gone
from veridical.evidence import metrics, provenance
from veridical.evidence.metrics import TIME_METRICS, _text_row, read

SHARED = "bank"  # the folder of banks, below that of results
PIECE_NUMBERS = 1 << 18
Stream = tuple[str, Any, tuple[int, ...], Iterable[np.ndarray]]


def result_lines(arrays: Iterable[Stream], table: str | Path) -> list[str]:
    """Returns one line for each array of a study's results and one for its table.

    Each array enters as name, dtype, shape and SHA-256 of its bytes (little-endian, in C order); the table
    without its time rows.

    Arguments:
        arrays: Name, dtype, shape and pieces along the first axis of every array of the banks, the weights
            and the draws. Pieces may come lazily and be of any length.
        table: The study's `metrics.csv`.
    """
    lines = []
    for name, dtype, shape, pieces in arrays:
        dtype = np.dtype(dtype).newbyteorder("<")
        content = hashlib.sha256()
        for piece in pieces:
            content.update(np.ascontiguousarray(piece, dtype=dtype).tobytes())
        lines.append(f"{name} {dtype.str} {tuple(shape)} {content.hexdigest()}")
    kept = [_text_row(cells) for cells in read(table) if cells["metric"] not in TIME_METRICS]
    return [*sorted(lines), f"metrics.csv {hashlib.sha256(''.join(kept).encode()).hexdigest()}"]


def digest_of(lines: Iterable[str]) -> str:
    """Returns the SHA-256 of lines: of those of `result_lines`, the result digest of a study."""
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


class Part(NamedTuple):
    """What a study used of one part of its bank: the first `rows` rows that lie in `shards`."""

    shards: list[Path]
    rows: int


def digest(study: str | Path) -> str:
    """Returns the result digest of a finished study, given its folder of results; errors as in `listing`."""
    return digest_of(listing(study))


def listing(study: str | Path) -> list[str]:
    """Returns the lines that the digest is taken over, one for each array and one for the metrics.

    Raises:
        ArtifactError: If the folder does not hold a finished study, or files of it are gone or damaged.
        BankError: If shards that it used are gone or damaged.
    """
    study = Path(study)
    if study.name in ("", ".."):  # the bank lies beside the folder that is meant
        study = Path(os.path.abspath(study))
    if not (study / "provenance.json").is_file():
        raise ArtifactError(f"{study}: expected the folder of a finished study; it has no provenance.json.")
    record = provenance.load(study / "provenance.json")
    names = [thing["@id"] for thing in record["@graph"] if thing["@type"] == "File"]
    if not any(name.endswith(".safetensors") for name in names):
        raise ArtifactError(
            f"{study}: its provenance.json names no weights of its own; expected the folder of a study, such "
            "as results/lynx_hare, not that of a report on new data."
        )
    table = study / "metrics.csv"
    with _reading(table):  # before all else, which may take long
        metrics.read(table)
    provenance.require_described(record, study)
    with _reading(study / "provenance.json"):
        used = {name: _part(_bank_of(study), name, given) for name, given in _banks(record).items()}
    parts = {name.partition("/")[2]: part for name, part in used.items()}
    return result_lines(arrays(study, names, parts), table)


def _bank_of(study: Path) -> Path:
    """The folder of banks beside a study, or beside the collection that it is part of."""
    beside, above = (folder / SHARED for folder in (study.parent, study.parent.parent))
    return above if above.is_dir() and not beside.is_dir() else beside


def arrays(study: str | Path, names: Iterable[str], parts: Mapping[str, Part]) -> Iterator[Stream]:
    """Yields the arrays of the banks, of the weights and of the draws of a study, a piece at a time.

    Arguments:
        study: Its folder of results.
        names: Names of its files below that folder.
        parts: What it used of its bank, by `{fidelity}/{split}`.
    """
    study = Path(study)
    for name, part in sorted(parts.items()):
        yield from _bank_arrays(f"bank/{name}", part)
    for name in sorted(names):
        if name.endswith(".safetensors"):
            yield from _weights(name, study / name)
        elif name.endswith(".nc"):
            yield from _draws(name, study / name)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Re-raises whatever goes wrong while a file of the study is read as an ArtifactError that names it."""
    try:
        yield
    except (MemoryError, ArtifactError, BankError):
        raise
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing; it belongs to a finished study. {if_gone(path)}.") from None
    except Exception as error:
        told = f"{path}: expected a file of a finished study, got what cannot be read"
        raise ArtifactError(f"{told} ({type(error).__name__}: {error}). {if_bad(path)}.") from error


def _banks(record: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What the record says of each part of the bank, by `{task}-{key}/{fidelity}/{split}`."""
    found = [thing["@id"] for thing in record["@graph"] if thing["@id"].startswith("#bank-")]
    owned = [name for name in found if provenance.entity(record, name)["@type"] == "CreativeWork"]
    return {name.removeprefix("#bank-"): provenance.properties(record, name) for name in owned}


def _part(banks: Path, name: str, given: Mapping[str, Any]) -> Part:
    """The shards of the study's own size; others of the same bank may lie beside them."""
    folder, rows, size = banks / name, given["used"], given["shard_rows"]
    shards = []
    for first in range(0, rows, size):
        longest = bank.shard_name(first, first + size - 1)
        fitting = [path for path in sorted(folder.glob(f"rows-{first:09d}-*")) if path.name <= longest]
        if not fitting:
            raise BankError(
                f"{folder}: the study used rows {first}..{min(first + size, rows) - 1}, but no shard of up "
                f"to {size} rows begins there; to make it again, end the study's snakemake command with "
                f"`-- {folder / longest}`."
            )
        shards.append(fitting[-1])
    return Part(shards, rows)


def _bank_arrays(name: str, part: Part) -> Iterator[Stream]:
    shards = [path for path, _ in bank.contiguous(part.shards, part.rows)]
    with bank.opened(shards[0]) as first:
        kinds = {key: (array.dtype, array.shape[1:]) for key, array in first.items()}
    for key, (dtype, shape) in sorted(kinds.items()):
        yield f"{name}/{key}", dtype, (part.rows, *shape), _bank_pieces(shards, key, part.rows)


def _bank_pieces(paths: Iterable[str | Path], key: str, rows: int) -> Iterator[np.ndarray]:
    for path in paths:
        with bank.opened(path) as stored:
            for span in spans(stored[key]):
                piece = np.asarray(stored[key][span])[:rows]
                rows -= len(piece)
                yield piece


def _weights(name: str, path: Path) -> Iterator[Stream]:
    from safetensors.numpy import load_file

    with _reading(path):
        weights = load_file(path)
    for key, array in sorted(weights.items()):
        yield f"{name}/{key}", array.dtype, array.shape, [array]


def _draws(name: str, path: Path) -> Iterator[Stream]:
    import h5netcdf

    with _reading(path), h5netcdf.File(path, "r") as file:
        for group in sorted(file.groups):
            for key, variable in sorted(file[group].variables.items()):
                if variable.dtype.kind in "fiu":
                    yield f"{name}/{group}/{key}", variable.dtype, variable.shape, _pieces(variable, path)


def _pieces(variable: Any, path: Path) -> Iterator[np.ndarray]:
    """A variable of a file in C order, at most PIECE_NUMBERS numbers at a time."""
    shape = variable.shape
    with _reading(path):
        if math.prod(shape) <= PIECE_NUMBERS:
            yield np.asarray(variable[...])
            return
        axis = next(i for i, n in enumerate(shape) if math.prod(shape[i + 1 :]) <= PIECE_NUMBERS)
        step = max(1, PIECE_NUMBERS // math.prod(shape[axis + 1 :]))
        for outer in np.ndindex(shape[:axis]):
            for first in range(0, shape[axis], step):
                yield np.asarray(variable[(*outer, slice(first, first + step))])

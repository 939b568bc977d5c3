"""Reading a bank that does not fit into memory: shuffled batches for training, a lazy dataset for a look.

Shuffling is by pieces and within a buffer: the pieces (whole chunks) of all shards come in random order,
fill a buffer of fixed size, and leave it in random order as batches. Every row comes exactly once per pass.
A shard is opened for the pieces that one filling takes from it and closed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from veridical.bank.reading import contiguous, load
from veridical.bank.shards import Array, PathLike, manifest, opened
from veridical.bank.validity import for_validation, valid
from veridical.errors import BankError

if TYPE_CHECKING:
    import xarray

Keep = Callable[[dict[str, Array]], Array]

_LABELLED = ("theta", "x", "status")
_LAZY_BYTES = 8 << 20  # of the largest array in a piece of a lazy bank


@dataclass(frozen=True)
class Piece:
    """Rows start..stop (stop excluded) of one shard; `first` is the row of the bank that `start` is."""

    path: PathLike
    start: int
    stop: int
    first: int


def pieces(paths: Iterable[PathLike], rows: int | None = None, chunks: int = 1) -> list[Piece]:
    """Returns the first `rows` rows of a bank cut into pieces of `chunks` whole chunks, in order."""
    found = []
    for path, shard in contiguous(paths, rows):
        first, size = shard["first"], shard["last"] - shard["first"] + 1
        held = size if rows is None else min(size, rows - first)
        step = shard["chunk_rows"] * chunks
        found += [Piece(path, a, min(a + step, held), first + a) for a in range(0, held, step)]
    return found


def batches(
    paths: Iterable[PathLike],
    rows: int | None,
    batch_size: int,
    rng: np.random.Generator,
    buffer_rows: int,
    *,
    names: Sequence[str] | None = None,
    keep: Keep | None = None,
) -> Iterator[dict[str, Array]]:
    """Yields the first `rows` rows of a bank in random order, each exactly once.

    Memory: `buffer_rows` rows, one piece and one batch, however large the bank is. The order is random
    across the bank in units of a chunk (2 MB) and uniform within a buffer; two passes with generators in
    different states differ.

    Arguments:
        paths: The shards of the bank.
        rows: How many rows, from row 0; all where None.
        batch_size: Rows per batch; the last batch holds what is left.
        rng: Decides the order.
        buffer_rows: Rows that are held and shuffled together.
        names: The arrays to read; all where None.
        keep: Gets the arrays of a piece and returns which of its rows to use, boolean, such as `bank.valid`.

    Yields:
        The arrays of a batch by name, and `row`, the rows of the bank.

    Raises:
        BankError: As `bank.load`, or if the buffer cannot hold a batch and a piece.
    """
    waiting = pieces(paths, rows)
    largest = max(piece.stop - piece.start for piece in waiting)
    if buffer_rows < batch_size + largest:
        raise BankError(
            f"buffer_rows is {buffer_rows}, expected at least {batch_size + largest}: a batch and a chunk."
        )
    waiting = [waiting[i] for i in rng.permutation(len(waiting))]
    buffer: dict[str, Array] = {}
    held = 0
    while waiting:
        taken = _how_many(waiting, buffer_rows - held)
        for piece in _read(waiting[:taken], names, keep):
            held = _append(buffer, held, piece, buffer_rows)
        del waiting[:taken]
        order = rng.permutation(held)
        emitted = held if not waiting else held - held % batch_size
        for first in range(0, emitted, batch_size):
            chosen = order[first : min(first + batch_size, emitted)]
            yield {name: array[chosen] for name, array in buffer.items()}
        for array in buffer.values():
            array[: held - emitted] = array[order[emitted:]]
        held -= emitted


@dataclass(frozen=True)
class Streamed:
    """Labelled rows of a bank, of which only some lie in memory at any time.

    Attributes:
        paths: Its shards.
        rows: How many rows, failures and those for validation included.
        megabytes: Of the rows that are held at once.
    """

    paths: Sequence[PathLike]
    rows: int
    megabytes: int

    @cached_property
    def held(self) -> int:
        """How many rows are held at once."""
        with opened(self.paths[0]) as stored:
            arrays = [stored[name] for name in _LABELLED]
            size = sum(array.dtype.itemsize * int(np.prod(array.shape[1:])) for array in arrays)
        return max(1, int(self.megabytes * 1e6) // size)

    @cached_property
    def counts(self) -> tuple[int, int]:
        """How many valid rows are for training, and for validation."""
        learned = held_back = 0
        for arrays in _read(pieces(self.paths, self.rows), ["status"], valid):
            apart = int(for_validation(arrays["row"]).sum())
            learned, held_back = learned + len(arrays["row"]) - apart, held_back + apart
        return learned, held_back

    def __len__(self) -> int:
        """Number of valid rows."""
        return sum(self.counts)

    def head(self) -> dict[str, Array]:
        """Returns the valid ones of the first rows, as many as are held at once, in order."""
        arrays = load(self.paths, min(self.rows, self.held), _LABELLED)
        arrays["row"], good = np.arange(len(arrays["status"])), valid(arrays)
        return {name: array[good] for name, array in arrays.items()}

    def training_batches(
        self, batch_size: int, rng: np.random.Generator, readers: int = 1, turn: int = 0
    ) -> Iterator[dict[str, Array]]:
        """Yields the valid rows for training once, as `batches` does; memory is shared by so many readers.

        Every pass has the same rows, whichever `turn` it is.
        """
        parts = pieces(self.paths, self.rows)
        least = batch_size + max(piece.stop - piece.start for piece in parts)
        buffer = min(max(self.held // readers, least), self.rows + least)
        return batches(self.paths, self.rows, batch_size, rng, buffer, names=_LABELLED, keep=_for_training)


def _for_training(arrays: dict[str, Array]) -> Array:
    return valid(arrays) & ~for_validation(arrays["row"])


def _how_many(waiting: Sequence[Piece], room: int) -> int:
    """How many of the next pieces fit into the room that is left."""
    sizes = np.cumsum([piece.stop - piece.start for piece in waiting])
    return int(np.searchsorted(sizes, room, side="right"))


def _read(
    taken: Sequence[Piece], names: Sequence[str] | None, keep: Keep | None
) -> Iterator[dict[str, Array]]:
    """Yields the kept rows of pieces, shard by shard."""
    by_path = sorted(taken, key=lambda piece: (str(piece.path), piece.start))
    for path, group in groupby(by_path, key=lambda piece: piece.path):
        with opened(path) as stored:
            for piece in group:
                span = slice(piece.start, piece.stop)
                arrays = {name: np.asarray(stored[name][span]) for name in names or stored}
                arrays["row"] = np.arange(piece.first, piece.first + piece.stop - piece.start)
                if keep is not None:
                    kept = keep(arrays)
                    arrays = {name: array[kept] for name, array in arrays.items()}
                yield arrays


def _append(buffer: dict[str, Array], held: int, piece: dict[str, Array], buffer_rows: int) -> int:
    """Copies a piece behind the `held` rows of the buffer and returns how many it holds then."""
    after = held + len(piece["row"])
    for name, array in piece.items():
        if name not in buffer:
            buffer[name] = np.empty((buffer_rows, *array.shape[1:]), array.dtype)
        buffer[name][held:after] = array
    return after


def open(paths: Iterable[PathLike]) -> xarray.Dataset:
    """Returns a bank as an xarray dataset on dask; each piece opens its shard, reads and closes it.

    Position i along `row` is row i of the bank; there is no index, which would take 16 bytes a row. Use
    dask's scheduler `threads`.
    """
    import xarray

    paths = list(paths)
    first = contiguous(paths)[0][0]
    about = manifest(first)
    with opened(first) as stored:
        likes = {
            n: (a.dtype, a.shape[1:], a.metadata.to_dict()["dimension_names"]) for n, a in stored.items()
        }
    row_bytes = max(dtype.itemsize * int(np.prod(shape)) for dtype, shape, _ in likes.values())
    rows = max(1, _LAZY_BYTES // row_bytes)
    parts = list(_grouped(pieces(paths, chunks=max(1, rows // about["chunk_rows"])), rows))
    variables = {n: (d, _delayed(parts, n, dtype, shape)) for n, (dtype, shape, d) in likes.items()}
    coords: dict[str, Any] = {"parameter": [p["name"] for p in about["parameters"]]}
    coords |= {d["name"]: (d["name"], d["coordinates"], {"unit": d["unit"]}) for d in about["dimensions"]}
    attributes = {k: about[k] for k in ("task", "key", "fidelity", "split", "replicate", "schema")}
    return xarray.Dataset(variables, coords=coords, attrs=attributes)


def _grouped(waiting: Iterable[Piece], rows: int) -> Iterator[list[Piece]]:
    """Yields neighbours together, up to so many rows, so that small shards do not make a long task graph."""
    group: list[Piece] = []
    for piece in waiting:
        if group and piece.stop - piece.start + _rows_of(group) > rows:
            yield group
            group = []
        group.append(piece)
    yield group


def _rows_of(group: Iterable[Piece]) -> int:
    return sum(piece.stop - piece.start for piece in group)


def _delayed(parts: Sequence[list[Piece]], name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
    import dask
    import dask.array

    read = dask.delayed(_read_group, pure=True)
    arrays = [dask.array.from_delayed(read(group, name), (_rows_of(group), *shape), dtype) for group in parts]
    return dask.array.concatenate(arrays)


def _read_group(group: Sequence[Piece], name: str) -> Array:
    """One array of neighbouring pieces, each read from its shard."""
    arrays = []
    for piece in group:
        with opened(piece.path) as stored:
            arrays.append(np.asarray(stored[name][piece.start : piece.stop]))
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)

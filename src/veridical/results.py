"""All that a study computed, as named arrays, and one digest of it.

The digest does not depend on how the bank is cut into shards, nor on paths outside the study, dates or
attributes: two runs have made the same results just when their digests agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from veridical import bank, metrics
from veridical.metrics import Stream

PIECE_ROWS = 65_536


def digest(study: str | Path, paths: Iterable[str | Path]) -> str:
    """Returns the result digest of a finished study.

    Arguments:
        study: Its folder of results.
        paths: The shards that it used.
    """
    study = Path(study)
    return metrics.result_digest(arrays(study, paths), study / "metrics.csv")


def arrays(study: str | Path, paths: Iterable[str | Path]) -> Iterator[Stream]:
    """Yields the arrays of the banks, of the weights and of the draws of a study, a piece at a time."""
    study = Path(study)
    parts: dict[str, list[Path]] = {}
    for path in sorted(map(Path, paths)):
        parts.setdefault("/".join(path.parts[-3:-1]), []).append(path)  # fidelity/split
    for name, members in sorted(parts.items()):
        yield from _bank_arrays(f"bank/{name}", members)
    for path in sorted(study.glob("train/**/*.safetensors")):
        yield from _weights(path.relative_to(study).as_posix(), path)
    for path in sorted(study.glob("infer/**/*.nc")):
        yield from _draws(path.relative_to(study).as_posix(), path)


def _bank_arrays(name: str, paths: Sequence[Path]) -> Iterator[Stream]:
    found = bank.contiguous(paths)
    rows = found[-1][1]["last"] + 1
    with bank.opened(found[0][0]) as first:
        kinds = {key: (array.dtype, array.shape[1:]) for key, array in first.items()}
    for key, (dtype, shape) in sorted(kinds.items()):
        yield f"{name}/{key}", dtype, (rows, *shape), _bank_pieces([path for path, _ in found], key)


def _bank_pieces(paths: Sequence[str | Path], key: str) -> Iterator[np.ndarray]:
    for path in paths:
        with bank.opened(path) as stored:
            for span in bank.spans(stored[key]):
                yield np.asarray(stored[key][span])


def _weights(name: str, path: Path) -> Iterator[Stream]:
    from safetensors.numpy import load_file

    for key, array in sorted(load_file(path).items()):
        yield f"{name}/{key}", array.dtype, array.shape, [array]


def _draws(name: str, path: Path) -> Iterator[Stream]:
    import h5netcdf

    with h5netcdf.File(path, "r") as file:
        for group in sorted(file.groups):
            for key, variable in sorted(file[group].variables.items()):
                if variable.dtype.kind in "fiu":
                    yield f"{name}/{group}/{key}", variable.dtype, variable.shape, _pieces(variable)


def _pieces(variable: Any) -> Iterator[np.ndarray]:
    """Slices along the first axis; a variable without axes, or whose first one is short, comes whole."""
    if not variable.shape or variable.shape[0] <= PIECE_ROWS:
        yield np.asarray(variable[...])
        return
    for first in range(0, variable.shape[0], PIECE_ROWS):
        yield np.asarray(variable[first : first + PIECE_ROWS])

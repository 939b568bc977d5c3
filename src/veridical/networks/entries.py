"""Entries along one axis of x, by number, name, pattern or range, and blocks of x made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import groupby
from math import prod
from typing import Any, Self

import numpy as np

from veridical.errors import ShapeError, UnknownName, suggest
from veridical.tasks.base import Array


def numbered(entry: int | str, length: int, names: Sequence[str] = ()) -> list[int]:
    """Returns the numbers of entries, from 0, that one number, name, pattern or range `first:end` means.

    >>> numbered("flux*", 4, ("mass", "flux0", "flux1", "age")), numbered("1:3", 4), numbered(2, 4)
    ([1, 2], [1, 2], [2])

    Raises:
        UnknownName: If there is no such entry among `length`, whose names may not be known.
    """
    if isinstance(entry, str) and entry in names:
        return [names.index(entry)]
    if isinstance(entry, int):
        found = [entry] if 0 <= entry < length else []
    else:
        first, colon, end = entry.partition(":")
        if colon and all(not part or part.isdecimal() for part in (first, end)):
            found = [*range(int(first or 0), int(end or length))]
            found = found if found and found[-1] < length else []
        else:
            found = [i for i, name in enumerate(names) if fnmatchcase(name, entry)]
    if not found:
        known = suggest(str(entry), names) if names else "They have numbers for names."
        raise UnknownName(f"{entry!r} is none of the {length} entries of x along its axis. {known}")
    return found


def ranges(numbers: Iterable[int]) -> list[int | str]:
    """Returns numbers with those that follow each other as ranges `first:end`.

    >>> ranges([0, 1, 2, 7, 5, 6])
    ['0:3', 7, '5:7']
    """
    runs = [[n for _, n in run] for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])]
    return [run[0] if len(run) == 1 else f"{run[0]}:{run[-1] + 1}" for run in runs]


@dataclass(frozen=True)
class Block:
    """Some entries along one axis of x, which are x of a network of their own.

    Attributes:
        entries: Their numbers.
        axis: The axis.
        shape: Shape of one row of the block.
    """

    entries: list[int]
    axis: int
    shape: tuple[int, ...]

    @classmethod
    def of(
        cls,
        part: Mapping[str, Any],
        x_shape: tuple[int, ...],
        axis: int,
        names: Sequence[str] = (),
    ) -> Self:
        """Returns the block that the `entries` and the `shape` of a part describe.

        Raises:
            UnknownName: If there is no such entry.
            ShapeError: If the entries do not fill the shape.
        """
        entries = [n for entry in part["entries"] for n in numbered(entry, x_shape[axis], names)]
        there = (*x_shape[:axis], len(entries), *x_shape[axis + 1 :])
        shape = tuple(part.get("shape") or there)
        if prod(shape) != prod(there):
            raise ShapeError(
                f"expected {prod(there)} numbers in a block of {len(entries)} entries, got shape {shape}."
            )
        return cls(entries, axis, shape)

    def taken(self, x: Array) -> Array:
        """Returns the block (N, *shape) of x (N, *x_shape)."""
        return np.take(x, self.entries, self.axis + 1).reshape(len(x), *self.shape)

    def put(self, into: Array, block: Array) -> None:
        """Writes a block (*shape) into its place in one row of x (*x_shape)."""
        place = np.moveaxis(into, self.axis, 0)  # a view
        there = (*into.shape[: self.axis], len(self.entries), *into.shape[self.axis + 1 :])
        place[self.entries] = np.moveaxis(block.reshape(there), self.axis, 0)

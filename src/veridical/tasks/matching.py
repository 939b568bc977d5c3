"""Names in a file against those of a task: matched, turned round, or refused with both lists.

Where a file names its columns, axes or coordinates, names decide and positions do not. Positions count only
where one side has no names to go by, which is said in a note.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from veridical.errors import DataError
from veridical.tasks.base import Array, Dimension
from veridical.tasks.cells import dates, is_number

BY_POSITION = "read by position: {}"
_NUMBERED = re.compile(r"(.*?)([-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)")
_LISTED = 8  # names in a message


def listed(names: Sequence[Any] | Array) -> str:
    """Returns names in a row, shortened where they are many."""
    words = [str(name) for name in names]
    shown = words if len(words) <= _LISTED else [*words[: _LISTED - 2], "...", words[-1]]
    return ", ".join(shown)


# ---- coordinates -------------------------------------------------------------------------------------


def places(found: Sequence[Any] | Array, expected: Sequence[Any]) -> list[int | None]:
    """Returns for each expected coordinate where it stands in a file, None where it does not.

    Numbers are equal within a thousandth of the distance to the next coordinate (and the rounding of float32,
    where the file has that type), days are equal however they are written, words are equal letter by letter.
    """
    words = [str(value).strip() for value in found]
    if not all(isinstance(value, int | float) for value in expected):
        at = {word: i for i, word in reversed(list(enumerate(words)))}
        place = [at.get(str(want).strip()) for want in expected]
        return place if any(p is not None for p in place) else _same_days(words, expected)
    if not all(is_number(word) for word in words) or not words:
        return [None] * len(expected)
    numbers, want = np.array([float(word) for word in words]), np.array(expected, float)
    slack = 1e-3 * _gaps(want)
    if getattr(found, "dtype", None) == np.float32:
        numbers = np.asarray(found, float)
        slack = slack + np.spacing(np.abs(want).astype(np.float32))
    order = np.argsort(numbers, kind="stable")
    after = np.clip(np.searchsorted(numbers, want, sorter=order), 1, max(1, len(numbers) - 1))
    near = np.stack([order[after - 1], order[np.minimum(after, len(numbers) - 1)]])
    nearest = np.where(np.abs(numbers[near[0]] - want) <= np.abs(numbers[near[1]] - want), near[0], near[1])
    same = np.abs(numbers[nearest] - want) <= slack
    return [int(i) if ok else None for i, ok in zip(nearest, same, strict=True)]


def _gaps(values: Array) -> Array:
    """The distance of each value to its nearest neighbour; its own size where there is none."""
    if len(values) < 2:
        return np.maximum(np.abs(values), 1e-9)
    order = np.argsort(values)
    steps = np.diff(values[order])
    gaps = np.empty(len(values))
    gaps[order] = np.minimum(np.append(steps, np.inf), np.append(np.inf, steps))
    return gaps


def _same_days(words: Sequence[str], expected: Sequence[Any]) -> list[int | None]:
    """Places of days that are written otherwise; of 1 June and 6 January for 01/06 the one that fits."""
    want = [dates(str(value)) for value in expected]
    found = [dates(word) for word in words]
    if not all(len(day) == 1 for day in want) or not all(found):
        return [None] * len(expected)
    readings: list[list[int | None]] = []
    for pick in (0, -1):
        at = {days[pick]: i for i, days in enumerate(found) if days[pick]}
        readings.append([at.get(day) for (day,) in want])
    readings.sort(key=lambda place: place.count(None))
    twice = None not in readings[1] and readings[0] != readings[1]
    return [None] * len(expected) if twice else readings[0]


def whole(place: Sequence[int | None], found: int) -> list[int] | None:
    """Returns the places where each of `found` coordinates of a file is met exactly once, otherwise None."""
    met = [p for p in place if p is not None]
    return met if len(met) == len(place) == found and len({*met}) == found else None


def spread(
    values: Array, found: Sequence[Any] | Array | None, dimension: Dimension, what: str, axis: int = 0
) -> tuple[Array, str]:
    """Returns values (..., n, ...) of too few entries for a dimension, with NaN for the others, and a note.

    Arguments:
        values: What the file holds.
        found: Its coordinates along the axis; None where it has none, which makes them the first ones.
        dimension: The task's axis, along which entries may be missing.
        what: What messages call the file.
        axis: The axis of the values.

    Raises:
        DataError: If a coordinate is none of the task's, or stands twice.
    """
    n, expected = values.shape[axis], dimension.coordinates
    place = [*range(n), *[None] * (len(expected) - n)] if found is None else places(found, expected)
    if len({*place} - {None}) < n:
        raise DataError(
            f"{what}: other coordinates of {dimension.name} than the task's: expected some of "
            f"{listed(expected)}, each once, got {listed(found if found is not None else [])}."
        )
    gap = np.full_like(np.take(values, [0], axis=axis), np.nan, dtype=float)
    laid = np.take(
        np.concatenate([values, gap], axis=axis), [n if p is None else p for p in place], axis=axis
    )
    how = ", read as the first ones" if found is None else ""
    return laid, f"{n} of {len(expected)} {dimension.name} are there{how}; the others are missing"


# ---- columns -----------------------------------------------------------------------------------------


def cells(dimensions: Sequence[Dimension]) -> list[list[Any]]:
    """Returns how entries of x may be called, in C order: by a coordinate, or several with a mark between."""
    if len(dimensions) == 1:
        return [list(dimensions[0].coordinates)]
    shape = [len(d.coordinates) for d in dimensions]
    spots = list(np.ndindex(*shape))
    ways = []
    for short in (False, True):  # 1900.0 or 1900
        axes = [
            [f"{c:g}" if short and isinstance(c, float) else f"{c}" for c in d.coordinates]
            for d in dimensions
        ]
        parts = [[words[i] for words, i in zip(axes, spot, strict=True)] for spot in spots]
        ways += [[mark.join(words[::turn]) for words in parts] for turn in (1, -1) for mark in "_-:. /"]
    return ways


def column_order(
    names: Sequence[str], dimensions: Sequence[Dimension], what: str, *, stated: bool
) -> tuple[list[int], str]:
    """Returns which column holds each entry of x, and a note where positions had to decide.

    Arguments:
        names: The columns that make up x, as many as x has entries.
        dimensions: The task's axes that they run along; none where there is one column.
        what: What messages call the file.
        stated: Whether the user has stated these columns in the order of the task's.

    Raises:
        DataError: If the names are others than the task's, or only some of them are the same.
    """
    by_position = list(range(len(names)))
    if not dimensions:
        return by_position, ""
    found = [(expected, places(names, expected)) for expected in cells(dimensions)]
    for _, place in found:
        if order := whole(place, len(names)):
            return order, ""
    for expected, place in found:
        contradicts = any(p not in (None, i) for i, p in enumerate(place))
        partly = any(p is not None for p in place) or _alike(names, expected)
        if contradicts if stated else partly:
            _refuse(names, expected, what, stated)
    expected = found[0][0]
    if stated:
        counted = [repr(value) for value in expected] == [
            str(i) for i in range(len(expected))
        ]  # no coordinates
        tries = [] if counted or len(dimensions) > 1 else _numbers(names)
        orders = [whole(places(numbers, expected), len(names)) for numbers in tries]
        return next((order for order in orders if order), by_position), ""
    if len(dimensions) == 1 and all(isinstance(value, int | float) for value in expected):
        order = _by_numbers(names, expected, what)
        if order:
            return order, ""
    elif len(dimensions) == 1:
        _refuse(names, expected, what, stated)
    axes = " and ".join(d.name for d in dimensions)
    return by_position, BY_POSITION.format(
        f"the file names its columns {listed(names)}, the task numbers its {axes} {listed(expected)}"
    )


def _alike(names: Sequence[str], expected: Sequence[Any]) -> bool:
    """Whether some names differ from the expected ones in case, spaces and underscores alone."""

    def plain(name: Any) -> str:
        return re.sub(r"[\s_-]+", "", str(name)).casefold()

    words = {plain(value) for value in expected if not isinstance(value, int | float)}
    return any(plain(name) in words for name in names)


def _by_numbers(names: Sequence[str], expected: Sequence[Any], what: str) -> list[int] | None:
    """The order of columns called m0, m3, ... by their numbers; None where these say nothing.

    Raises:
        DataError: If the numbers are others than the coordinates, or say another order.
    """
    if all(is_number(name) for name in names):
        _refuse(names, expected, what, False)
    readings = _numbers(names)
    for numbers in readings:
        if order := whole(places(numbers, expected), len(names)):
            return order
    if not readings:
        return None
    values = [float(number) for number in readings[-1]]
    counted = sorted(values) == [min(values) + i for i in range(len(values))]
    partly = any(p is not None for p in places(readings[0], expected))
    rising = all(a < b for a, b in pairwise(values))
    if (counted and not rising) or (partly and not counted):
        _refuse(names, expected, what, False)
    return None


def _numbers(names: Sequence[str]) -> list[list[str]]:
    """The numbers behind the one word that all names begin with; twice where a dash may be a sign."""
    readings = []
    for written in (names, [re.sub(r"[-+]", "\0", name) for name in names]):  # m-1 is m and -1, or m- and 1
        matches = [match for name in written if (match := _NUMBERED.fullmatch(name.strip()))]
        if len(matches) == len(names) and len({match[1] for match in matches}) == 1:
            readings.append([match[2] for match in matches])
    return readings


def _refuse(names: Sequence[str], expected: Sequence[Any], what: str, stated: bool) -> None:
    remedy = "Call them by the task's names, or say with `columns:`, in the task's order, which they are"
    if stated:
        remedy = "State them in the task's order, or call them by the task's names"
    elif near := _nearest(names, expected):
        remedy += f"; perhaps columns: [{', '.join(near)}]"
    raise DataError(
        f"{what}: the names of the columns are not the task's: expected {listed(expected)}, got "
        f"{listed(names)}. {remedy}."
    )


def _nearest(names: Sequence[str], expected: Sequence[Any]) -> list[str]:
    """The one name for each expected word that holds it, whatever the case; none where that is not clear."""
    if len(names) > _LISTED or any(isinstance(value, int | float) for value in expected):
        return []
    held = [[name for name in names if str(want).casefold() in name.casefold()] for want in expected]
    clear = all(len(found) == 1 for found in held) and len({name for (name, *_) in held}) == len(held)
    return [found[0] for found in held] if clear else []

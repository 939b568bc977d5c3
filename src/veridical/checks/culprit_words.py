"""What explains a misfit in words, with the names and coordinates of the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from veridical.checks.battery import SERIES, STATISTICS, correlations, standardised
from veridical.checks.culprit import Explained, Group, Repair, mean_over
from veridical.checks.inputs import Array

SHOWN = 8  # coordinates that are listed
TELLING = 1.96  # standardised mean of a phase from which a period is said to show in it


@dataclass(frozen=True)
class Arrangement:
    """How x is laid out as a series of n coordinates in C channels.

    The series runs along the first axis with numbers for coordinates, at least `battery.SERIES` of them.
    Where there is none all values are one channel without order.

    Attributes:
        shape: Shape of one x.
        axes: Name and coordinates of each dimension; none where they are not known.
    """

    shape: tuple[int, ...]
    axes: Sequence[Mapping[str, Any]] = ()

    @cached_property
    def series(self) -> int | None:
        """The axis along which values have an order."""
        for i, axis in enumerate(self.axes):
            if len(axis["coordinates"]) >= SERIES and not any(
                isinstance(c, str) for c in axis["coordinates"]
            ):
                return i
        return None

    def laid_out(self, x: Array) -> Array:
        """Returns data (N, *x_shape) as (N, n, C)."""
        if self.series is None:
            return x.reshape(len(x), -1, 1)
        return np.moveaxis(x, 1 + self.series, 1).reshape(len(x), self.shape[self.series], -1)

    def put_back(self, values: Array) -> Array:
        """Returns values (N, n, C) in the shape of the data (N, *x_shape)."""
        if self.series is None:
            return values.reshape(-1, *self.shape)
        others = [size for i, size in enumerate(self.shape) if i != self.series]
        return np.moveaxis(values.reshape(len(values), self.shape[self.series], *others), 1, 1 + self.series)

    @property
    def along(self) -> str:
        """The name of the axis of the series."""
        return "the data" if self.series is None else str(self.axes[self.series]["name"])

    def coordinate(self, i: int) -> str:
        """Returns the i-th coordinate along the series, or its number."""
        return str(i) if self.series is None else _short(self.axes[self.series]["coordinates"][i])

    def place(self, i: int, channel: int) -> str:
        """Returns the name of a value: `day 17`, `year 1905, species hare`."""
        flat = self.laid_out(np.arange(int(np.prod(self.shape))).reshape(1, *self.shape))[0, i, channel]
        return self.value(int(flat))

    def value(self, flat: int) -> str:
        """Returns the name of a value by its place in x, row by row."""
        index = np.unravel_index(flat, self.shape)
        if not self.axes or not self.shape:
            return f"value {flat}"
        pairs = zip(self.axes, index, strict=True)
        return ", ".join(f"{axis['name']} {_short(axis['coordinates'][j])}" for axis, j in pairs)

    def channel(self, c: int) -> str:
        """Returns words for a channel; none where there is only one, or for the average over all."""
        if self.series is None or c < 0 or len(self.shape) == 1:
            return ""
        others = [axis for i, axis in enumerate(self.axes) if i != self.series]
        index = np.unravel_index(c, [len(axis["coordinates"]) for axis in others])
        return " of " + ", ".join(_short(a["coordinates"][j]) for a, j in zip(others, index, strict=True))


def in_words(found: Explained, group: Group, x: Array, layout: Arrangement) -> tuple[str, Array]:
    """Returns what explains a misfit in words, and which values it names.

    Arguments:
        found: What explains it.
        group: Scores by draw and member.
        x: The data of the members, shape (M, n, C).
        layout: Names the values.

    Returns:
        The text, and a mask of shape (n, C).
    """
    named, parts = np.zeros(x.shape[1:], dtype=bool), []
    for repair in found.repairs:
        text, where = _WORDS[repair.kind](repair, group, x, layout)
        parts.append(text + (", which the answer took for noise" if repair.absorbed else ""))
        named |= where
    if found.left:
        rest = ", ".join(dict.fromkeys(STATISTICS[name] + layout.channel(c) for name, c in found.left))
        parts.append("more remains" if parts else rest)
    return "; ".join(parts), named


def _value(repair: Repair, group: Group, x: Array, layout: Arrangement) -> tuple[str, Array]:
    named, (i, c) = np.zeros(x.shape[1:], dtype=bool), repair.at
    z = mean_over(group, lambda scores: scores)[i, c]
    named[i, c] = True
    far = f"{abs(z):.1f} predictive standard deviations too {_side(z)}"
    return f"{layout.place(i, c)} lies {far}", named


def _trend(repair: Repair, group: Group, x: Array, layout: Arrangement) -> tuple[str, Array]:
    at = np.arange(x.shape[1]) - (x.shape[1] - 1) / 2
    slopes = mean_over(group, lambda z: standardised(np.einsum("pnc,n->pc", z, at)))
    c = int(np.argmax(np.abs(slopes)))
    way = "rise" if slopes[c] > 0 else "fall"
    text = f"a trend that the simulations lack: the values{layout.channel(c)} {way} along {layout.along}"
    return text, np.zeros(x.shape[1:], dtype=bool)


def _period(repair: Repair, group: Group, x: Array, layout: Arrangement) -> tuple[str, Array]:
    m, (n, channels) = repair.at, x.shape[1:]
    named = np.zeros((n, channels), dtype=bool)
    phases = mean_over(group, lambda z: standardised(_phases(z, m)))
    c = int(np.argmax(np.abs(phases).max(axis=0)))
    telling = np.abs(phases) > TELLING
    text = f"a pattern that repeats every {m} values of {layout.along}{layout.channel(c)}"
    for sign in (-1, 1):
        at = np.flatnonzero((telling & (sign * phases > 0))[np.arange(n) % m, c])
        if len(at):
            values = np.unique(x[:, at, c])
            same = f" (all of them {values[0]:g})" if len(values) == 1 and len(at) > 1 else ""
            text += f", too {_side(sign)} at {layout.along} {_listed(at, layout)}{same}"
    named[telling[np.arange(n) % m]] = True
    return text, named


def _all(repair: Repair, group: Group, x: Array, layout: Arrangement) -> tuple[str, Array]:
    nothing = np.zeros(x.shape[1:], dtype=bool)
    if repair.kind == "level":
        level = float(mean_over(group, lambda z: standardised(z.mean(axis=1))).mean())
        return f"all values together lie too {_side(level)}", nothing
    size = float(mean_over(group, lambda z: standardised(np.log((z**2).mean(axis=1)))).mean())
    return f"the values scatter too {'much' if size > 0 else 'little'} about what is expected", nothing


def _drift(repair: Repair, group: Group, x: Array, layout: Arrangement) -> tuple[str, Array]:
    r = mean_over(group, lambda z: correlations(z)[:, 0])
    c = int(np.argmax(np.abs(r)))
    how = "deviate alike, as if something drifted slowly" if r[c] > 0 else "deviate to opposite sides"
    return f"neighbouring values{layout.channel(c)} {how}", np.zeros(x.shape[1:], dtype=bool)


_WORDS = {"value": _value, "trend": _trend, "drift": _drift, "period": _period, "level": _all, "scale": _all}


def _phases(z: Array, m: int) -> Array:
    """Means of each phase minus the mean of all, shape (P, m, C)."""
    return np.stack([z[:, phase::m].mean(axis=1) for phase in range(m)], axis=1) - z.mean(axis=1)[:, None]


def _listed(at: Array, layout: Arrangement) -> str:
    shown = ", ".join(layout.coordinate(int(i)) for i in at[:SHOWN])
    return shown + (f" and {len(at) - SHOWN} more" if len(at) > SHOWN else "")


def _side(z: float) -> str:
    return "high" if z > 0 else "low"


def _short(coordinate: Any) -> str:
    return coordinate if isinstance(coordinate, str) else f"{coordinate:.7g}"

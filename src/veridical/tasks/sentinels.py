"""Numbers that usually stand for a missing one, such as -999, where they lie far from all others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from veridical.tasks.base import Array, Dimension

QUESTION = "stand for a missing value?"
SENTINELS = (-99, -999, -999.25, -9999, -99999, 9999, 99999, 999999, 1e20, 1e30, 9.969209968386869e36, -32768)


def asked(x: Array, dimensions: Sequence[Dimension], columns: Sequence[str] = ()) -> list[str]:
    """Returns a question for each entry of the rows x (N, ...) that holds such a value.

    It counts where it lies farther from all others of its entry (of x, where that has no others) than they
    lie from each other.

    Arguments:
        x: The rows.
        dimensions: The task's axes behind them.
        columns: What the file calls the last entries, which come again and again in C order.
    """
    wide = x.reshape(len(x), -1)
    suspect = np.zeros(wide.shape, bool)
    for sentinel in np.array(SENTINELS):
        suspect |= np.abs(wide - sentinel) <= 1e-6 * abs(sentinel)
    shape = [len(d.coordinates) for d in dimensions]
    said = []
    for column in np.flatnonzero(suspect.any(axis=0)):
        values, marked = wide[:, column], suspect[:, column]
        others = values[~marked] if not marked.all() else wide[~suspect]
        others = others[np.isfinite(others)]
        lower, upper = (others.min(), others.max()) if len(others) else (0.0, 0.0)
        spot = np.unravel_index(column, shape)
        where = ", ".join(f"{d.name} {d.coordinates[i]}" for d, i in zip(dimensions, spot, strict=True))
        where += f" (column {columns[int(column) % len(columns)]!r})" if columns else ""
        for value in np.unique(values[marked]):
            if not lower - (upper - lower) <= value <= upper + (upper - lower):
                rows = f"{int((values == value).sum())} of {len(x)} rows"
                said.append(
                    f"{where}: does {value:.10g}, in {rows}, {QUESTION} It is taken as a number; if it is "
                    "none, leave the cell empty or write NaN, see docs/missing.md"
                )
    return said

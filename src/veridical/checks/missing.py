"""Statistics over rows of the numbers that are there, and whether data lack others than simulations do.

Missing numbers are NaN. Where none is missing, all is as numpy has it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from veridical.checks.inputs import Array

_TIMES = 8  # rows beyond all simulations, in units of how many exchangeable ones would be
_SDS = 4.0


def quantiles(rows: Array, levels: Sequence[float] | Array) -> Array:
    """Returns quantiles (Q, ...) over rows (R, ...) of the numbers that are there; NaN where none is."""
    if not np.isnan(rows).any():
        return np.asarray(np.quantile(rows, levels, axis=0))
    ordered = np.sort(rows, axis=0)  # NaN comes last
    last = np.maximum((~np.isnan(rows)).sum(axis=0) - 1, 0)
    place = np.multiply.outer(np.asarray(levels, float), last)
    below = np.floor(place).astype(int)
    low, high = (np.take_along_axis(ordered, k, axis=0) for k in (below, np.minimum(below + 1, last)))
    return np.asarray(low + (place - below) * (high - low))


def deviation(rows: Array) -> Array:
    """Returns standard deviations over rows (R, ...) of the numbers that are there; 0 where none is."""
    there = ~np.isnan(rows)
    if there.all():
        return np.asarray(rows.std(axis=0))
    n = np.maximum(there.sum(axis=0), 1)
    centred = np.where(there, rows - np.nansum(rows, axis=0) / n, 0)
    return np.asarray(np.sqrt((centred**2).sum(axis=0) / n))


def mean(values: Array) -> Array:
    """Returns the mean along the last axis of the numbers that are there; NaN where none is."""
    there = ~np.isnan(values)
    n = there.sum(axis=-1)
    return np.where(n > 0, np.where(there, values, 0).sum(axis=-1) / np.maximum(n, 1), np.nan)


def total(values: Array) -> Array:
    """Returns sums along the last axis, a missing number being the mean of the others; NaN where none is."""
    there = ~np.isnan(values)
    n = there.sum(axis=-1)
    sums = np.where(there, values, 0).sum(axis=-1) * (values.shape[-1] / np.maximum(n, 1))
    return np.where(n > 0, sums, np.nan)


def unlike(x: Array, simulated: Array) -> str:
    """Says how missing numbers of data x (N, ...) differ from those of simulations (M, ...), if they do.

    An observation is beyond the simulations if it lacks more or fewer numbers than any of them, or if more
    places in it are missing (or there) that are so in no simulation than any of those has beside the others.
    """
    gone, usual = (np.isnan(rows).reshape(len(rows), -1) for rows in (x, simulated))
    if not gone.any() and not usual.any():
        return ""
    n, m, said = len(gone), len(usual), []
    counts, known, often = gone.sum(axis=1), usual.sum(axis=1), usual.sum(axis=0)
    most = _TIMES * n / (m + 1)
    beyond = (counts < known.min()) | (counts > known.max())
    if beyond.sum() > most:
        said.append(
            f"{beyond.sum()} of {n} observations lack {_span(counts[beyond])} of {gone.shape[1]} numbers, "
            f"simulations {_span(known)}"
        )
    elif abs(counts.mean() - known.mean()) > _SDS * known.std() * np.sqrt(1 / n + 1 / m):
        said.append(
            f"{gone.mean():.0%} of the numbers of the data are missing, {usual.mean():.0%} in simulations"
        )
    new = np.where(gone, often == 0, often == m)
    own = np.where(usual, often == 1, often == m - 1).sum(axis=1)
    if (new.sum(axis=1) > own.max()).sum() > most:
        said.append(
            f"{new.any(axis=0).sum()} of {gone.shape[1]} numbers are missing, or there, in the data and in "
            "no simulation"
        )
    if not said:
        return ""
    return f"Missing values: {', and '.join(said)}; let the simulator leave out what the data lack."


def _span(counts: Array) -> str:
    low, high = counts.min(), counts.max()
    return f"{low}" if low == high else f"{low} to {high}"

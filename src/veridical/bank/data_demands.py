r"""What training and checks demand of simulated data, applied to a few rows in float64.

Rounding with a step :math:`h` adds the variance :math:`h^2 / 12`. Where the noise of a number has the
standard deviation :math:`s`, a posterior that rests on it gets wider by :math:`\sqrt{1 + h^2 / 12 s^2}`, at
most 1 % for :math:`h \le 0.49 s`. Where the noise is not known or there is none, the step is held against a
hundredth of the spread of all simulations.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from veridical.errors import TaskError
from veridical.tasks.base import Array, FileTask, Task

_OF_NOISE = 0.49
_OF_SPREAD = 0.01
_DECADES = 1e3  # ratio of the 95 % to the 5 % quantile of |x|
_RARE = 0.01
_GROUPS = 3  # of copies, which saturation at either end does not make
_SHOWN = 3
_ENOUGH = 100  # numbers that tell a 5 % quantile
_LEAST = 20  # rows that say something of a distribution


def of_data(task: Task, theta: Array, x: Array, noise: Array | None = None) -> list[str]:
    """Returns what users should know of valid simulations.

    Arguments:
        task: The task.
        theta: Parameters, shape (N, D).
        x: Their simulations before they are rounded to the task's type, float64, shape (N, *x_shape).
        noise: Standard deviation of x at fixed parameters, shape (L,), 0 where there is none; an upper
            bound for it is taken from these rows where None.

    Raises:
        TaskError: If rounding to the task's type would spoil the posterior, or rows hold the
            results of others.
    """
    if len(x) < 2:
        return []
    rows = x.reshape(len(x), -1)
    gone: Array = np.isnan(rows)
    bare = np.where(gone, 0, rows) if gone.any() else rows
    if (bare == bare[0]).all():
        return ["x is the same in all rows: it depends on neither the parameters nor the noise."]
    findings = _missing(task, gone) if task.has_missing else []
    rows = _filled(rows, gone) if gone.any() else rows
    findings += _rounding(task, rows, noise if noise is not None else _residual(theta, rows))
    if len(rows) >= _LEAST:
        findings += _distributions(task, rows, np.logical_or.reduce(~gone))
    return findings + _copies(task, theta, bare)


def _missing(task: Task, gone: Array) -> list[str]:
    """Missing numbers that were declared and never seen, and numbers that are always missing."""
    if not gone.any():
        return [
            f"no number of x is missing in any of {len(gone)} rows, though `missing: true` is declared: "
            "networks learn nothing of missing ones. Let the simulator leave out what may be missing."
        ]
    never: Array = np.logical_and.reduce(gone)
    text = f"{names(task, never)}: missing in all {len(gone)} rows, so that nothing is learned from it."
    return [text] if never.any() else []


def _filled(rows: Array, gone: Array) -> Array:
    """Rows (N, L) with another row's number of the same column in place of a missing one; 0 where all are."""
    out = rows.copy()
    for j in np.flatnonzero(gone.any(axis=0)):
        there = rows[~gone[:, j], j]
        out[gone[:, j], j] = np.resize(there, int(gone[:, j].sum())) if len(there) else 0.0
    return out


def beyond_type(task: Task, x: Array, dtype: str) -> str:
    """Says which finite numbers of x (N, *x_shape) are infinite or 0 in the type; empty where none."""
    rows = np.asarray(x, float).reshape(len(x), int(np.prod(task.x_shape)))
    with np.errstate(all="ignore"):
        narrow = rows.astype(dtype)
    for bad, how in (
        (np.isfinite(rows) & ~np.isfinite(narrow), f"beyond the largest {dtype} ({np.finfo(dtype).max:.2g})"),
        (
            (rows != 0) & (narrow == 0),
            f"below the smallest {dtype} ({np.finfo(dtype).tiny:.2g}) and becomes 0",
        ),
    ):
        if bad.any():
            row, column = np.argwhere(bad)[0]
            where, number = names(task, bad.any(axis=0)), int(bad.any(axis=1).sum())
            return (
                f"{where}: {rows[row, column]:.3g} is {how}, in {number} of {len(rows)} rows; "
                f"{_remedy(dtype)}return x in another unit, or its logarithm."
            )
    return ""


def names(task: Task, which: Array) -> str:
    """Names the numbers of a row of x that a mask (L,) chooses by their coordinates, three at most."""
    chosen = np.flatnonzero(which)
    shown = []
    for place in chosen[:_SHOWN]:
        index = np.unravel_index(place, task.x_shape)
        places = [(d.name, d.coordinates[i]) for d, i in zip(task.dimensions, index, strict=True)]
        plain = len(places) == 1 and isinstance(places[0][1], str)
        shown.append(str(places[0][1]) if plain else " ".join(f"{axis}={where}" for axis, where in places))
    more = f" and {len(chosen) - _SHOWN} more" if len(chosen) > _SHOWN else ""
    return f"column{'s' if len(chosen) > 1 else ''} {', '.join(shown)}{more}"


def _remedy(dtype: str) -> str:
    return "" if dtype == "float64" else "state x_dtype: float64 with the task, or "


# ---- rounding --------------------------------------------------------------------------------------


def _rounding(task: Task, rows: Array, noise: Array) -> list[str]:
    """Holds the step of the task's type against noise and spread of each number."""
    spread = np.where(np.ptp(rows, axis=0) > 0, rows.std(axis=0), 0.0)  # one number varies by rounding
    exact = 1e4 * np.finfo(float).eps * np.abs(rows).max(axis=0)  # below it is no noise but arithmetic
    noisy = noise > exact
    limit = np.where(noisy, _OF_NOISE * noise, _OF_SPREAD * spread)
    step, changed = _steps(rows, "float32")
    coarse = ~changed & (spread > 0) & (step > limit)
    findings = []
    if coarse.any():
        findings.append(
            f"{names(task, coarse)}: already rounded to single precision, with "
            f"{_steps_of(rows, step, spread, coarse)}; compute and store x in float64, and state "
            "x_dtype: float64."
        )
    if np.dtype(task.x_dtype).itemsize >= rows.dtype.itemsize:
        return findings
    step, changed = _steps(rows, task.x_dtype)
    bad = changed & (spread > 0) & (step > limit)
    if bad.any():
        j = int(np.argmax(bad))
        where = _steps_of(rows, step, spread, bad) + (f" (its noise by {noise[j]:.2g})" if noisy[j] else "")
        raise TaskError(
            f"task {task.name}: {names(task, bad)}: {task.x_dtype} has {where}; rounding would make the "
            "posterior wider. State x_dtype: float64 with the task (in the study's `task:` section, or as an "
            "attribute of its class), or subtract a constant in the simulator and from the data."
        )
    return findings + _rounded_differences(task, rows, step, changed, exact)


def _steps(rows: Array, dtype: str) -> tuple[Array, Array]:
    """The spacing of a type at each number of rows (N, L), and whether rounding changes any; (L,) each."""
    with np.errstate(all="ignore"):
        narrow = rows.astype(dtype)
        step = np.median(np.spacing(np.abs(narrow)), axis=0).astype(float)
    return step, (narrow != rows).any(axis=0)


def _steps_of(rows: Array, step: Array, spread: Array, which: Array) -> str:
    """Steps and spread of the first number of those."""
    j = int(np.argmax(which))
    return f"steps of {step[j]:.2g} near {np.median(rows[:, j]):.10g}, where x varies by {spread[j]:.3g}"


def _rounded_differences(task: Task, rows: Array, step: Array, changed: Array, exact: Array) -> list[str]:
    """Neighbours that move together can tell more by their difference than each by itself."""
    if rows.shape[1] < 2:
        return []
    apart = np.diff(rows, axis=1).std(axis=0)
    close = changed[1:] & changed[:-1] & (apart > exact[1:]) & (step[1:] > _OF_SPREAD * apart)
    if not close.any():
        return []
    j = int(np.argmax(close))
    return [
        f"{names(task, np.append(close, False))}: its difference from the next varies by {apart[j]:.2g} "
        f"only, and {task.x_dtype} has steps of {step[j]:.2g} there; where this matters, state x_dtype: "
        "float64 with the task."
    ]


def _residual(theta: Array, rows: Array) -> Array:
    """What a quadratic function of the parameters leaves of x: an upper bound for its noise."""
    n, d = theta.shape
    scale = np.where(theta.std(axis=0) > 0, theta.std(axis=0), 1.0)
    z = (theta - theta.mean(axis=0)) / scale
    first, second = np.triu_indices(d)
    parts = [np.ones((n, 1)), z, z[:, first] * z[:, second]]
    while sum(part.shape[1] for part in parts) > n // 2:
        parts.pop()
    if not parts:
        return rows.std(axis=0)
    features = np.column_stack(parts)
    centred = rows - rows.mean(axis=0)
    left = centred - features @ np.linalg.lstsq(features, centred, rcond=None)[0]
    return np.asarray(np.sqrt((left**2).sum(axis=0) / (n - features.shape[1])))


# ---- distributions ---------------------------------------------------------------------------------


def _distributions(task: Task, rows: Array, there: Array) -> list[str]:
    """Numbers that never vary, hardly ever vary, or span decades, of those that are `there` (L,)."""
    n = len(rows)
    differs = (rows != np.sort(rows, axis=0)[n // 2]).sum(axis=0)
    constant, rare = there & (differs == 0), (differs > 0) & (differs < _RARE * n)
    found: list[tuple[Array, Callable[[str], str]]] = [
        (
            constant,
            lambda which: (
                f"{which}: the same in all {n} rows, so that nothing is learned from it, and an observation "
                "with another value there is unlike all simulations; leave it out."
            ),
        ),
        (
            rare,
            lambda which: (
                f"{which}: another value than usual in less than {_RARE:.0%} of {n} rows, so that a few "
                "rows decide its scale; merge rare numbers, or leave them out."
            ),
        ),
        (
            _spans_decades(rows),
            lambda which: (
                f"{which}: spans over three decades (5 % to 95 % of |x|), of which a network sees the "
                "largest alone unless they are compressed; leave `inputs.transform` of each estimator at "
                "`auto` (or set `log`), or return logarithms."
            ),
        ),
    ]
    return [say(names(task, which)) for which, say in found if which.any()]


def _spans_decades(rows: Array) -> Array:
    """Whether the nonzero numbers of each column span decades, shape (L,)."""
    size = np.sort(np.where(rows == 0, np.nan, np.abs(rows)), axis=0)  # NaN comes last
    count = np.isfinite(size).sum(axis=0)
    low, high = (
        np.take_along_axis(size, np.maximum(0, (share * count).astype(int) - (share > 0.5))[None], axis=0)[0]
        for share in (0.05, 0.95)
    )
    return np.asarray((count >= _ENOUGH) & (high > _DECADES * low))


# ---- copies ----------------------------------------------------------------------------------------


def _copies(task: Task, theta: Array, rows: Array) -> list[str]:
    """Rows that equal each other although their parameters differ.

    Counts and rounded or saturated data repeat themselves by nature; numbers with all their digits do not.
    """
    _, first, back, counts = np.unique(
        rows, axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    back = back.reshape(-1)
    copied = [g for g in np.flatnonzero(counts > 1) if (theta[back == g] != theta[first[g]]).any()]
    if not theta.shape[1] or not copied:
        return []
    number = int(sum(counts[g] - 1 for g in copied))
    values = rows[first[copied]]
    digits = _has_all_digits(values).any(axis=1)
    twins = np.flatnonzero(back == copied[0])[:2].tolist()
    text = (
        f"{number} of {len(rows)} rows of x are exact copies of others (such as rows {twins[0]} and "
        f"{twins[1]}), although their parameters differ"
    )
    if digits.sum() >= _GROUPS and any(_is_continuous(column, len(first)) for column in rows.T):
        cause = (
            "see how the file was made"
            if isinstance(task, FileTask)
            else "the simulator hands out results of other rows: a cached or shared file, a generator seeded "
            "anew, or parameters that are ignored"
        )
        raise TaskError(f"task {task.name}: {text}; {cause}.")
    return (
        [f"{text}: x is saturated or coarse there, or the simulator ignores its parameters."]
        if digits.any()
        else []
    )


def _is_continuous(column: Array, groups: int) -> bool:
    """Whether a column tells the distinct rows apart by numbers that lie on no grid.

    Of m random numbers over a range the two closest are about range / m^2 apart; on a grid, range / m.
    """
    distinct = np.unique(column)
    m = len(distinct)
    if m <= _LEAST or m < 0.9 * groups:
        return False
    return bool(np.diff(distinct).min() * m**2 <= _LEAST * np.ptp(distinct))


def _has_all_digits(values: Array) -> Array:
    """Whether numbers have more than six significant digits."""
    size = np.where(values == 0, 1.0, np.abs(values))
    scaled = values / 10 ** (np.floor(np.log10(size)) - 5)
    return np.asarray(np.abs(scaled - np.round(scaled)) > 1e-6)

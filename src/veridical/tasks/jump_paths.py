r"""Exact paths of Markov jump processes on the whole numbers, many at a time, with all randomness given.

Each kind k of events, which changes the state i by :math:`v_k` at the rate :math:`a_k(i)`, happens when its
internal time

.. math:: T_k(t) = \int_0^t a_k(i(s)) \, ds

passes the next point of a Poisson process of unit rate: Kurtz's random time change, by which paths at
different parameters share their numbers. For :math:`N_k` events of kind k, :math:`N_k - T_k` is a martingale.
Where a parameter is the logarithm of a factor of the rate of one kind, it is the score of the path.

References:
    | A modified next reaction method for simulating chemical systems with time dependent propensities and
    | delays (Anderson, 2007) https://arxiv.org/abs/0708.0370
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from veridical.tasks.base import Array


def jump_paths(
    rates: Callable[[Array, Array], Array], changes: Array, start: int, waits: list[Array], times: Array
) -> tuple[Array, Array]:
    """Returns the states at some times, and what each kind of events has had beyond its internal time.

    Arguments:
        rates: From states (A,) and the numbers of their rows (A,) to the rates of all kinds (K, A).
        changes: What an event of each kind adds to the state, whole numbers (K,).
        start: The state of all rows at time zero.
        waits: For each kind exponential numbers of mean one, its waiting times, (N, W_k).
        times: When the state is looked at, ascending, (T,).

    Returns:
        States (N, T), and numbers of events less internal times up to the last time, (N, K); both are NaN in
        rows that need more waiting times than they are given.
    """
    n, kinds = len(waits[0]), len(waits)
    looks = np.broadcast_to(times, (n, len(times)))  # events too, at the rate one, that change nothing
    points = np.hstack([*(np.cumsum(part, axis=1) for part in waits), looks])
    lengths = np.array([*(part.shape[1] for part in waits), len(times)])
    starts, steps = np.cumsum(lengths) - lengths, np.append(changes, 0)
    path, beyond = np.full((n, len(times)), np.nan), np.full((n, kinds), np.nan)
    rows, state = np.arange(n), np.full(n, start)
    clock, events = np.zeros((kinds + 1, n)), np.zeros((kinds + 1, n), dtype=int)
    due = points[:, starts].T.copy()
    while rows.size:
        speed = np.vstack([rates(state, rows), np.ones(rows.size)])
        with np.errstate(divide="ignore", invalid="ignore"):
            wait = np.where(speed > 0, (due - clock) / speed, np.inf)
        at = wait.argmin(axis=0), np.arange(rows.size)
        clock += speed * wait[at]
        clock[at] = due[at]
        looking = at[0] == kinds
        path[rows[looking], events[kinds, looking]] = state[looking]
        state += steps[at[0]]
        events[at] += 1
        spent = events[at] == lengths[at[0]]
        due[at] = points[rows, starts[at[0]] + np.minimum(events[at], lengths[at[0]] - 1)]
        if spent.any():
            ended = spent & looking
            beyond[rows[ended]] = (events - clock)[:kinds, ended].T
            rows, state = rows[~spent], state[~spent]
            clock, events, due = clock[:, ~spent], events[:, ~spent], due[:, ~spent]
    path[np.isnan(beyond).any(axis=1)] = np.nan
    return path, beyond

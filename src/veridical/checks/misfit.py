"""The test of observations against their replicates: p-values, what would have been seen, and the culprit.

Shapes: N observations, K draws of the answer, R replicates at each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from veridical.checks.battery import (
    Battery,
    average,
    battery,
    combined,
    scores,
    share_beyond,
    stepped_down,
    without,
)
from veridical.checks.culprit import explain
from veridical.checks.culprit_words import Arrangement, in_words
from veridical.checks.inputs import Array
from veridical.saved.predictions import Predictions

POWER_90 = 1.2816  # normal quantile of the probability at which a misfit counts as detectable
REMAINDER = 1 / 3  # of the level, at which what a repair leaves counts as explained
TOLD = 3  # wild observations whose culprits are told


class Misfit(NamedTuple):
    """What the test of N observations found.

    Attributes:
        p: The p-value of all of it.
        set_p: That of the averages over observations; of the observation where there is only one.
        member_p: Family-wise p-values of the observations, shape (N,).
        replicates: Replicates behind them.
        maximum: The largest standardised statistic of the data at each draw, shape (K,).
        detectable: Shifts, in predictive standard deviations, that are found with probability 0.9 in one
            observation, and if all share them.
        culprit: What explains the data, in words; empty where nothing is to be explained.
        named: Which values it names, shape (N, *x_shape).
    """

    p: float
    set_p: float
    member_p: Array
    replicates: int
    maximum: Array
    detectable: tuple[float, float]
    culprit: str
    named: Array


def test(x: Array, valid: Array, found: Predictions, alpha: float) -> Misfit:
    """Compares observations with replicates at each draw of the answer.

    Arguments:
        x: The observations, shape (N, *x_shape); values that are not finite are left out.
        valid: Which replicates succeeded, shape (K, R, N).
        found: The replicates.
        alpha: The level at which a culprit is sought.
    """
    pools = _Pools(x, valid, found)
    n, draws = len(x), len(found.replicates)
    level = alpha if n == 1 else alpha / 2
    set_p, member_p, maxima, found_at = np.empty(draws), np.empty((draws, n)), np.empty(draws), []
    for k in range(draws):
        each = [pools.battery(k, i) for i in range(n)]
        own = np.stack([one.maximum for one in each], axis=1)
        of_set = average(each).maximum if n > 1 else own[:, 0]
        set_p[k] = share_beyond(of_set)
        member_p[k] = stepped_down(own) if n > 1 else set_p[k]
        maxima[k] = max(own[0].max(), of_set[0])
        limits = np.quantile(own.max(axis=1), 1 - level), np.quantile(of_set, 1 - level)
        found_at.append([limits[0] + POWER_90, (limits[1] + POWER_90) / np.sqrt(n)])
    of_set_p, of_members = float(combined(set_p)), np.asarray(combined(member_p))
    p = of_set_p if n == 1 else min(1.0, 2 * min(of_set_p, float(of_members.min())))
    groups = [list(range(n))] if of_set_p <= level else []
    if n > 1:
        groups += [[i] for i in np.argsort(of_members, kind="stable")[:TOLD] if of_members[i] <= level]
    texts, named = [], np.zeros(x.shape, dtype=bool)
    for members in groups:
        text, where = pools.explained(members, level)
        who = "" if n == 1 else "all observations: " if len(members) > 1 else f"observation {members[0]}: "
        texts.append(who + text)
        named[members] |= where
    one, shared = np.mean(found_at, axis=0)
    return Misfit(
        p, of_set_p, of_members, pools.rows - 1, maxima, (float(one), float(shared)), "; ".join(texts), named
    )


class _Pools:
    """Pools of an observation and its replicates, laid out as series."""

    def __init__(self, x: Array, valid: Array, found: Predictions) -> None:
        self.x, self.valid, self.found = x, valid, found
        self.layout = Arrangement(x.shape[1:], found.axes)
        self.ordered = self.layout.series is not None
        self.rows = 1 + int(valid.sum(axis=1).min())

    def scores(self, k: int, i: int) -> Array:
        """Scores of an observation and its replicates, shape (P, n, C); 0 where a value is missing."""
        replicates = self.found.replicates[k, self.valid[k, :, i], i][: self.rows - 1]
        observed = self.x[i].astype(replicates.dtype)[None]
        there = np.isfinite(observed)
        pool = np.where(there, np.concatenate([observed, replicates]), 0.0)
        return scores(self.layout.laid_out(pool))

    def named(self, k: int, i: int) -> dict[str, Array]:
        """The task's own statistics of the same rows, shape (P,) each."""
        kept = np.concatenate([[0], 1 + np.flatnonzero(self.valid[k, :, i])])[: self.rows]
        return {name: values[k, kept, i] for name, values in self.found.statistics.items()}

    def battery(self, k: int, i: int) -> Battery:
        return battery(self.scores(k, i), ordered=self.ordered, named=self.named(k, i))

    def explained(self, members: list[int], level: float) -> tuple[str, Array]:
        """Returns what explains some observations, in words, and which values (*x_shape) it names."""
        draws = range(len(self.found.replicates))
        own = self._own_statistic(members, level)
        if own:
            return f"the task's own statistic {own}", np.zeros(self.x.shape[1:], dtype=bool)
        group = [[self.scores(k, i) for i in members] for k in draws]
        told = explain(group, level * REMAINDER, ordered=self.ordered)
        text, named = in_words(told, group, self.layout.laid_out(self.x[members]), self.layout)
        return text, self.layout.put_back(named[None])[0]

    def _own_statistic(self, members: list[int], level: float) -> str:
        """The task's own statistic without which nothing would be to explain; empty if there is none."""
        if not self.found.statistics:
            return ""
        at_draws = []
        for k in range(len(self.found.replicates)):
            each = [self.battery(k, i) for i in members]
            at_draws.append(average(each) if len(each) > 1 else each[0])
        names = tuple(self.found.statistics)
        others = np.array([share_beyond(without(one, names).maximum) for one in at_draws])
        if combined(others) <= level:
            return ""
        size: Mapping[str, float] = {name: sum(one.of(name) for one in at_draws) for name in names}
        return max(size, key=size.__getitem__)

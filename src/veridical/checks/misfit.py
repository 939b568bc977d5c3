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
            observation, and if all share them; each with its standard error.
        culprit: What explains the data, in words; empty where nothing is to be explained.
        named: Which values it names, shape (N, *x_shape).
    """

    p: float
    set_p: float
    member_p: Array
    replicates: int
    maximum: Array
    detectable: tuple[tuple[float, float], tuple[float, float]]
    culprit: str
    named: Array


def compare(x: Array, valid: Array, found: Predictions, alpha: float) -> Misfit:
    """Compares observations with replicates at each draw of the answer.

    Arguments:
        x: The observations, shape (N, *x_shape); NaN where a value is missing.
        valid: Which replicates succeeded, shape (K, R, N).
        found: The replicates.
        alpha: The level at which a culprit is sought.
    """
    pools, n = _Pools(x, valid, found), len(x)
    level = alpha if n == 1 else alpha / 2
    at_draws = [[pools.battery(k, i) for i in range(n)] for k in range(len(found.replicates))]
    own = [np.stack([one.maximum for one in each], axis=1) for each in at_draws]
    of_set = [_of_set(each).maximum for each in at_draws]
    set_p = float(combined(np.array([share_beyond(m) for m in of_set])))
    member_p = np.asarray(combined(np.array([stepped_down(m) for m in own]))) if n > 1 else np.array([set_p])
    wild = [int(i) for i in np.flatnonzero(member_p <= level)] if n > 1 else []
    groups = [[i] for i in sorted(wild, key=lambda i: member_p[i])[:TOLD]]
    rest = [i for i in range(n) if i not in wild]
    if rest and set_p <= level and _set_p(at_draws, rest) <= level:
        groups.append(rest)
    told = [(members, *pools.explained(members, level)) for members in groups]
    named = np.zeros(x.shape, dtype=bool)
    for members, _, where in told:
        named[members] |= where
    return Misfit(
        p=set_p if n == 1 else min(1.0, 2 * min(set_p, float(member_p.min()))),
        set_p=set_p,
        member_p=member_p,
        replicates=pools.rows - 1,
        maximum=np.array([max(o[0].max(), s[0]) for o, s in zip(own, of_set, strict=True)]),
        detectable=(_seen([o.max(axis=1) for o in own], level), _seen(of_set, level, n)),
        culprit="; ".join(_whose(members, n) + text for members, text, _ in told),
        named=named,
    )


def _seen(maxima: list[Array], level: float, share: int = 1) -> tuple[float, float]:
    """What is found at a level with probability 0.9, by the maxima (P,) at each draw; with its error."""
    error = np.sqrt(level * (1 - level) / len(maxima[0]))
    low, at, high = np.mean(
        [np.quantile(m, np.clip(1 - level + error * np.array([-1, 0, 1]), 0, 1)) for m in maxima], axis=0
    )
    scale = np.sqrt(share)
    return float((at + POWER_90) / scale), float((high - low) / 2 / scale / np.sqrt(len(maxima)))


def _of_set(each: list[Battery]) -> Battery:
    return average(each) if len(each) > 1 else each[0]


def _set_p(at_draws: list[list[Battery]], members: list[int]) -> float:
    """The p-value of the average over some of the observations."""
    of_set = [_of_set([each[i] for i in members]).maximum for each in at_draws]
    return float(combined(np.array([share_beyond(m) for m in of_set])))


def _whose(members: list[int], n: int) -> str:
    if n == 1:
        return ""
    if len(members) == 1:
        return f"observation {members[0]}: "
    return "all observations: " if len(members) == n else "all other observations: "


class _Pools:
    """Pools of an observation and its replicates, laid out as series."""

    def __init__(self, x: Array, valid: Array, found: Predictions) -> None:
        self.x, self.valid, self.found = x, valid, found
        self.layout = Arrangement(x.shape[1:], found.axes)
        self.ordered = self.layout.series is not None
        self.rows = 1 + int(valid.sum(axis=1).min())

    def scores(self, k: int, i: int) -> Array:
        """Scores of an observation and its replicates, shape (P, n, C); 0 where a value is missing.

        A value that the observation lacks and no replicate does is left out of them all.
        """
        replicates = self.found.replicates[k, self.valid[k, :, i], i][: self.rows - 1]
        observed = self.x[i].astype(replicates.dtype)[None]
        left_out = np.isnan(observed) & ~np.isnan(replicates).any(axis=0)
        pool = np.where(left_out, 0.0, np.concatenate([observed, replicates]))
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
            at_draws.append(_of_set([self.battery(k, i) for i in members]))
        names = tuple(self.found.statistics)
        others = np.array([share_beyond(without(one, names).maximum) for one in at_draws])
        if combined(others) <= level:
            return ""
        size: Mapping[str, float] = {name: sum(one.of(name) for one in at_draws) for name in names}
        return max(size, key=size.__getitem__)

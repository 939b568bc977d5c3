"""What of the data a simulator does not make, named by repairing one thing at a time.

The statistic that stands out most is often not the one that a fault is about: empty weekends raise the share
of values outside the band more than the correlation at lag seven. So a repair is applied to the observation
and, alike, to all replicates, and the statistics are computed again. The repair that leaves nothing to be
explained names the fault. If none does, the one that explains most is kept and another sought, up to three
times. Where none is found the largest statistics are named.

Repairs, in this order of preference: one value set to its expectation; a line subtracted; what a neighbour
foretells subtracted; the means of the phases of a period subtracted; only where none of these suffices the
level, or the scale, of all values; then one of the former with the scale, for an answer with a free noise
makes room in it for the fault.

Shapes as in `battery`: P rows, n coordinates, C channels; a group is what is explained together, one member
or a set of M, at each of K draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from veridical.checks.battery import (
    Battery,
    average,
    battery,
    combined,
    correlations,
    share_beyond,
    without,
)
from veridical.checks.inputs import Array

GATE, PERIOD_GATE = 1.645, 1.3  # of their own statistic, for a value or a line, and for a period
PENALTY = (
    0.1  # of a period, for each of its phases: 7 is preferred to 14; 1 of a drift, which imitates others
)
GAIN = 0.5  # in M, without which a repair that does not suffice is not kept
STEPS, PERIODS = 3, 12

Group = Sequence[Sequence[Array]]  # scores (P, n, C), by draw and member


@dataclass(frozen=True)
class Repair:
    """Something that is taken out of scores.

    Attributes:
        kind: `value`, `trend`, `drift`, `period`, `level` or `scale`.
        apply: Takes it out of scores (P, n, C).
        fixes: The statistics that say nothing any more.
        at: The coordinate and channel of a value; the number of phases of a period.
        absorbed: Whether the scale goes with it: a noise that the answer made larger to make room for this.
    """

    kind: str
    apply: Callable[[Array], Array]
    fixes: tuple[str, ...] = ()
    at: Any = None
    absorbed: bool = False

    @property
    def penalty(self) -> float:
        """What M counts more."""
        return PENALTY * self.at if self.kind == "period" else float(self.kind == "drift")


@dataclass
class Explained:
    """What was found.

    Attributes:
        repairs: What explains the data, the most telling first.
        p: The p-value that is left.
        left: Names and channels of the largest statistics that are left, where that is not enough.
    """

    repairs: list[Repair] = field(default_factory=list)
    p: float = 0.0
    left: tuple[tuple[str, int], ...] = ()


def explain(group: Group, alpha: float, *, ordered: bool) -> Explained:
    """Returns the repairs that make a group's data like their replicates.

    Arguments:
        group: Scores by draw and member.
        alpha: What counts as unlike.
        ordered: Whether the coordinates have an order.
    """
    found = Explained()
    state = _Judged(group, ordered, ())

    def judged(repairs: Iterable[Repair], state: _Judged) -> list[tuple[Repair, _Judged]]:
        return [(repair, state.without(repair)) for repair in repairs]

    while len(found.repairs) < STEPS:
        tried = judged(_local(state), state)
        best = _best(tried, alpha) or _best(judged(_global(state), state), alpha)
        if best is None:
            absorbed = judged((_absorbed(repair) for repair, _ in tried), state)
            worth = [pair for pair in tried + absorbed if _penalised(pair) < state.maximum - GAIN]
            best = _best(absorbed, alpha) or min(worth, key=_penalised, default=None)
        if best is None:
            break
        repair, state = best
        found.repairs.append(repair)
        if state.p > alpha:
            found.p = state.p
            return found
    found.p, found.left = state.p, state.largest(3)
    return found


def mean_over(group: Group, function: Callable[[Array], Array]) -> Array:
    """Returns the mean over draws and members of what a function of scores gives for their first row."""
    return np.mean([function(z)[0] for members in group for z in members], axis=0)


class _Judged:
    """A group with its statistics at each draw."""

    def __init__(self, group: Group, ordered: bool, fixed: tuple[str, ...]) -> None:
        self.group, self.ordered, self.fixed = group, ordered, fixed
        made = [[battery(z, ordered=ordered) for z in members] for members in group]
        of_set = [average(one) if len(one) > 1 else one[0] for one in made]
        self.batteries: list[Battery] = [without(one, fixed) for one in of_set]
        maxima = [one.maximum for one in self.batteries]
        self.maximum = float(np.mean([m[0] for m in maxima]))
        self.p = float(combined(np.array([share_beyond(m) for m in maxima])))

    def without(self, repair: Repair) -> _Judged:
        """Returns the group after a repair."""
        group = [[repair.apply(z) for z in members] for members in self.group]
        return _Judged(group, self.ordered, self.fixed + repair.fixes)

    def of(self, name: str) -> float:
        """The mean over draws of a statistic."""
        return float(np.mean([one.of(name) for one in self.batteries]))

    def largest(self, count: int) -> tuple[tuple[str, int], ...]:
        t = np.mean([one.t[0] for one in self.batteries], axis=0)
        return tuple(self.batteries[0].names[j] for j in np.argsort(-t, kind="stable")[:count])


def _best(tried: list[tuple[Repair, _Judged]], alpha: float) -> tuple[Repair, _Judged] | None:
    """The repair that leaves least of those that suffice; of a period rather the shortest that divides it."""
    enough = [pair for pair in tried if pair[1].p > alpha]
    best = min(enough, key=_penalised, default=None)
    if best is None or best[0].kind != "period":
        return best
    whole = [pair for pair in enough if pair[0].kind == "period" and best[0].at % pair[0].at == 0]
    return min(whole, key=lambda pair: pair[0].at)


def _penalised(pair: tuple[Repair, _Judged]) -> float:
    return pair[1].maximum + pair[0].penalty


# ---- repairs -------------------------------------------------------------------------------------


def _local(state: _Judged) -> Iterator[Repair]:
    """Repairs of a part of the data, where their own statistic points to them."""
    if state.of("largest") > GATE:
        size = np.abs(mean_over(state.group, lambda z: z))
        place = np.unravel_index(int(np.argmax(size)), size.shape)
        yield Repair("value", lambda z: _with_zero(z, place), at=tuple(map(int, place)))
    if not state.ordered:
        return
    if state.of("trend") > GATE:
        yield Repair("trend", _without_line, ("trend",))
    if state.of("lag 1") > GATE:
        yield Repair("drift", _innovations, ("lag 1",))
    if state.of("lags") > 0:
        telling = mean_over(state.group, correlations).max(axis=1)
        for lag in np.argsort(-telling, kind="stable")[:PERIODS]:
            if lag > 0 and telling[lag] > PERIOD_GATE:
                yield _period(int(lag) + 1)


def _period(m: int) -> Repair:
    return Repair("period", lambda z: _without_phases(z, m), ("level",), at=m)


def _global(state: _Judged) -> Iterator[Repair]:
    """Repairs of all values together."""
    if state.group[0][0].shape[1] > 2:
        yield Repair("level", lambda z: z - z.mean(axis=1, keepdims=True), ("level",))
        yield Repair("scale", _scaled, ("sum", "variance"))


def _absorbed(repair: Repair) -> Repair:
    """The same with the scale of what it leaves."""
    fixes = (*repair.fixes, "sum", "variance")
    return replace(repair, apply=lambda z: _scaled(repair.apply(z)), fixes=fixes, absorbed=True)


def _with_zero(z: Array, place: tuple[Any, ...]) -> Array:
    z = z.copy()
    z[:, *place] = 0.0
    return z


def _without_line(z: Array) -> Array:
    at = np.arange(z.shape[1]) - (z.shape[1] - 1) / 2
    slope = np.einsum("pnc,n->pc", z, at) / (at @ at)
    return z - slope[:, None, :] * at[:, None]


def _innovations(z: Array) -> Array:
    """What of each score its neighbour before does not foretell, by a linear rule of the row's own."""
    squares = np.maximum((z[:, :-1] ** 2).sum(axis=1), 1e-12)
    r = np.clip((z[:, 1:] * z[:, :-1]).sum(axis=1) / squares, -0.95, 0.95)[:, None]
    return np.concatenate([z[:, :1], (z[:, 1:] - r * z[:, :-1]) / np.sqrt(1 - r**2)], axis=1)


def _without_phases(z: Array, m: int) -> Array:
    z, n = z.copy(), z.shape[1]
    for phase in range(m):
        z[:, phase::m] -= z[:, phase::m].mean(axis=1, keepdims=True)
    return z * np.sqrt(n / (n - m))


def _scaled(z: Array) -> Array:
    return z / np.maximum(np.sqrt((z**2).mean(axis=1, keepdims=True)), 1e-12)

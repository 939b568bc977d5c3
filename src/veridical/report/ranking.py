r"""Ranks of methods over tasks, with what repeating the study would change of them.

Within a task, methods that may see as many labelled pairs are ranked by their loss (1 is best, ties share the
mean of their ranks); a method's rank is the mean over tasks. Its uncertainty is that of a bootstrap in which

- replicates are drawn with replacement, the same ones for all methods of a task, for they share simulations,
  pairs and test rows;
- each number of a replicate moves by a normal error of the size of its own standard error over test rows,
  independently for each method: rows are shared, so that differences vary less than this says.

Tasks stay as they are: the ranks are of these tasks, not of tasks at large.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from veridical import seeds

if TYPE_CHECKING:
    from veridical.report.places import Number, Place
    from veridical.tasks.base import Array

REPEATS = 500
INTERVAL = (0.05, 0.95)


@dataclass(frozen=True)
class Rank:
    """The mean rank of a method over tasks.

    Attributes:
        mean: By the numbers as they are.
        low, high: 5 % and 95 % quantiles of the bootstrap.
        of: How many methods were ranked.
        tasks: On how many tasks.
    """

    mean: float
    low: float
    high: float
    of: int
    tasks: int


def ranks(
    loss: Callable[[float], float], found: Mapping[Place, Number]
) -> dict[tuple[str, int | None, int | None], Rank]:
    """Returns the mean ranks of methods at one severity by (method, its pairs, pairs of its rivals).

    A method without labelled pairs is ranked among those of every number of pairs. Tasks on which a method
    has no number are left out of its mean.
    """
    given = sorted({place.pairs for place in found if place.pairs is not None})
    sizes: list[int | None] = [*given] or [None]
    result: dict[tuple[str, int | None, int | None], Rank] = {}
    for size in sizes:
        rivals = [place for place in found if place.pairs in (None, size)]
        lines = list(dict.fromkeys(place.variant for place in rivals))
        tasks = list(dict.fromkeys(place.task for place in rivals))
        plain, repeated = [], []
        for i, task in enumerate(tasks):
            own = {place.variant: found[place] for place in rivals if place.task == task}
            plain.append(_ranked([[loss(own[line].value)] if line in own else None for line in lines], 1)[0])
            rng = seeds.generator(0, "check", "leaderboard", i, size or 0)
            repeated.append(_ranked(_resampled(loss, own, lines, rng), REPEATS))
        with np.errstate(all="ignore"):
            means = np.nanmean(np.array(plain), axis=0)
            spread = np.nanquantile(np.nanmean(np.array(repeated), axis=0), INTERVAL, axis=0)
        counts = np.isfinite(np.array(plain)).sum(axis=0)
        for k, line in enumerate(lines):
            result[(*line, size)] = Rank(
                float(means[k]), float(spread[0, k]), float(spread[1, k]), len(lines), int(counts[k])
            )
    return result


def _resampled(
    loss: Callable[[float], float],
    own: Mapping[tuple[str, int | None], Number],
    lines: list[tuple[str, int | None]],
    rng: np.random.Generator,
) -> list[list[float] | None]:
    """Losses of each method in each repeat; None for a method without a number."""
    seeds_ = sorted(set.intersection(*(set(number.replicates) for number in own.values())))
    chosen = rng.integers(len(seeds_), size=(REPEATS, len(seeds_))) if seeds_ else None
    found: list[list[float] | None] = []
    for line in lines:
        if line not in own:
            found.append(None)
            continue
        if chosen is None:  # no replicate in common: only the error of the mean is known
            values = np.full((REPEATS, 1), own[line].value)
            errors = np.full((REPEATS, 1), own[line].stderr or 0.0)
        else:
            each = np.array([own[line].replicates[seed] for seed in seeds_], dtype=float)
            values, errors = each[chosen, 0], each[chosen, 1]
        # the same rows serve all replicates: one error a repeat
        moved = values.mean(axis=1) + rng.standard_normal(REPEATS) * np.nan_to_num(errors).mean(axis=1)
        found.append([loss(value) for value in moved.tolist()])
    return found


def _ranked(losses: list[list[float] | None], repeats: int) -> Array:
    """Ranks of the methods in each repeat, shape (repeats, methods); NaN of a method without a number."""
    from scipy.stats import rankdata

    present = [k for k, one in enumerate(losses) if one is not None]
    ranked = np.full((repeats, len(losses)), np.nan)
    ranked[:, present] = rankdata(np.array([losses[k] for k in present]).T, axis=1)
    return ranked

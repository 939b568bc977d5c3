"""Pseudo-experiments for w_i f_i ensembles: does the stated error cover the truth as often as it says?

The ensemble stays as it is. Each experiment draws events of both classes anew, fits the weights to them, and
for each true fraction draws a sample of unlabelled events and estimates the fraction in it. Random numbers
depend on the experiment alone and not on the method, so that methods are compared on the same events.

Where events are slow to make, or functions slow to evaluate, both is done once for a pool of each class, from
which experiments draw with replacement. What a finite pool lacks of its class is then the same in all of
them: a ratio that is off by that much for the class is not for the pool.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from veridical.errors import DataError
from veridical.estimators.classes import Functions, Generators, true_fractions
from veridical.inference import fractions
from veridical.inference.ratio_weights import Events, RatioFit
from veridical.remedies.wifi import FunctionTable, fixed_weights, needs_events, weigh
from veridical.remedies.wifi_settings import WifiSettings
from veridical.tasks.base import Array, ClassTask

FOUND = ("value", "statistical", "ratio", "bias", "z_lr")  # at each true fraction
AT_ONCE = 10_000  # events of a pool that are made at once


def experiments(
    wifi: WifiSettings,
    ratios: Functions,
    task: ClassTask,
    generators: Generators,
    settings: Mapping[str, Any],
) -> dict[str, Array]:
    """Returns what E pseudo-experiments found at V true fractions; NaN where a likelihood has no maximum.

    `truth` (V,): true fractions. `value`, `statistical`, `ratio`, `bias` (E, V): estimates, their errors from
    the number of events and from the density ratio, their second-order bias. `z_lr` (E, V): signed root of
    the likelihood ratio at the truth. `pull` (E,): error of log r at one random event, in standard errors;
    NaN where no error is stated, or the task knows no exact ratio.

    Arguments:
        wifi: Settings of the remedy.
        ratios: The ensemble.
        task: Draws the events.
        generators: Gives the generator of a piece of the batch: called with ("fit", e), ("point", e) and
            ("data", e, v) for experiment e and number v of the true fraction, ("pool", c) for class c.
        settings: `rows` (E, the number of experiments), `true_values` (fractions of the first class, in
            [0, 1]), `events` (unlabelled), `fit_rows` (events of each class that weights are fitted to);
            `pool` (events of each class made once, from which all are drawn), or None.

    Raises:
        DataError: If a true fraction is not in [0, 1].
        TrainingError: If the weights of an experiment cannot be fitted.
    """
    truth, n = true_fractions(settings), settings["rows"]
    source = Pool(ratios, task, generators, settings["pool"]) if settings.get("pool") else Fresh(ratios, task)
    found, pulls = np.empty((5, n, len(truth))), np.empty(n)
    for e in range(n):
        ratio = _weights(wifi, source, generators("fit", e), settings["fit_rows"])
        pulls[e] = _pull(ratio, ratios, task, generators("point", e))
        for v, kappa in enumerate(truth):
            events = source.mixture(settings["events"], kappa, generators("data", e, v))
            found[:, e, v] = _answer(wifi, events, ratio, kappa)
    return {"truth": truth, **dict(zip(FOUND, found, strict=True)), "pull": pulls}


class Fresh:
    """Functions at events that are made anew each time."""

    def __init__(self, ratios: Functions, task: ClassTask) -> None:
        self.table, self.task, self.size = FunctionTable(ratios), task, ratios.size

    def classes(self, n: int, rng: np.random.Generator) -> tuple[Events, Events]:
        """Returns the functions at n events of either class."""
        first, second = (self.table.events(self.task.draw(n, rng, cls)) for cls in self.task.classes)
        return first, second

    def mixture(self, n: int, fraction: float, rng: np.random.Generator) -> Events:
        """Returns the functions at n unlabelled events, each of the first class with this probability."""
        return self.table.events(self.task.mixture(n, fraction, rng))


class Pool:
    """Functions at events that are made once, and drawn with replacement."""

    def __init__(self, ratios: Functions, task: ClassTask, generators: Generators, events: int) -> None:
        self.size, self.functions = ratios.size, []
        for c, cls in enumerate(task.classes):
            rng, sizes = generators("pool", c), [AT_ONCE] * (events // AT_ONCE) + [events % AT_ONCE]
            parts = [ratios.functions(task.draw(n, rng, cls)) for n in sizes if n]
            self.functions.append(np.concatenate(parts))

    def classes(self, n: int, rng: np.random.Generator) -> tuple[Events, Events]:
        """Returns the functions at n events of either class."""
        first, second = (Events.of(self._drawn(pool, n, rng)) for pool in self.functions)
        return first, second

    def mixture(self, n: int, fraction: float, rng: np.random.Generator) -> Events:
        """Returns the functions at n unlabelled events, each of the first class with this probability."""
        first = int(rng.binomial(n, fraction))
        sizes = (first, n - first)
        parts = [self._drawn(pool, k, rng) for pool, k in zip(self.functions, sizes, strict=True)]
        return Events.of(np.concatenate(parts))

    def _drawn(self, pool: Array, n: int, rng: np.random.Generator) -> Array:
        return pool[rng.integers(len(pool), size=n)]


def _answer(
    settings: WifiSettings, events: Events, ratio: RatioFit, truth: float
) -> tuple[float, float, float, float, float]:
    """What was found (`FOUND`) in one sample; NaN where the likelihood has no maximum."""
    try:
        fraction = fractions.estimate(events, ratio)
    except DataError:
        return (np.nan,) * 5
    shift = fraction.bias if settings.bias_correction else 0.0
    z = float(fraction.z(truth + shift))
    return fraction.value - shift, fraction.statistical, fraction.ratio, fraction.bias, z


def _weights(settings: WifiSettings, source: Fresh | Pool, rng: np.random.Generator, events: int) -> RatioFit:
    """Weights fitted to fresh events, where they are fitted at all."""
    if not needs_events(settings):
        return fixed_weights(settings, source.size)
    return weigh(settings, *source.classes(events, rng))


def _pull(ratio: RatioFit, ratios: Functions, task: ClassTask, rng: np.random.Generator) -> float:
    """The error of log r at one event of either class, in standard errors; NaN where none is known."""
    if not task.has_log_ratio:
        return float("nan")
    x = task.mixture(1, 0.5, rng)
    value, stderr = ratio.log_ratio(ratios.functions(x))
    if not stderr[0] > 0:
        return float("nan")
    return float((value - task.log_ratio(x))[0] / stderr[0])

"""Pseudo-experiments for w_i f_i ensembles: does the stated error cover the truth as often as it says?

The ensemble stays as it is. Each experiment draws events of both classes anew, fits the weights to them, and
for each true fraction draws a sample of unlabelled events and estimates the fraction in it. Random numbers
depend on the experiment alone and not on the method, so that methods are compared on the same events.

With a pool, events are drawn from what was made once (see `veridical.estimators.pools`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from veridical.errors import DataError
from veridical.estimators.classes import Functions, Generators, true_fractions
from veridical.estimators.pools import pooled
from veridical.inference import fractions
from veridical.inference.ratio_weights import Events, RatioFit
from veridical.remedies.wifi_settings import WifiSettings
from veridical.remedies.wifi_weights import FunctionTable, fixed_weights, needs_events, weigh
from veridical.tasks.base import Array, ClassTask

FOUND = ("value", "statistical", "ratio", "bias", "z_lr")  # at each true fraction


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
    source, functions = task, ratios
    if settings.get("pool"):
        source, functions = pooled(task, ratios, generators, settings["pool"])
    table = FunctionTable(functions)
    found, pulls = np.empty((5, n, len(truth))), np.empty(n)
    for e in range(n):
        ratio = _weights(wifi, table, source, generators("fit", e), settings["fit_rows"])
        pulls[e] = _pull(ratio, ratios, task, generators("point", e))
        for v, kappa in enumerate(truth):
            x = source.mixture(settings["events"], kappa, generators("data", e, v))
            found[:, e, v] = _answer(wifi, table.events(x), ratio, kappa)
    return {"truth": truth, **dict(zip(FOUND, found, strict=True)), "pull": pulls}


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


def _weights(
    settings: WifiSettings, table: FunctionTable, task: ClassTask, rng: np.random.Generator, events: int
) -> RatioFit:
    """Weights fitted to fresh events, where they are fitted at all."""
    if not needs_events(settings):
        return fixed_weights(settings, table.ratios.size)
    numerator, denominator = (table.events(task.draw(events, rng, cls)) for cls in task.classes)
    return weigh(settings, numerator, denominator)


def _pull(ratio: RatioFit, ratios: Functions, task: ClassTask, rng: np.random.Generator) -> float:
    """The error of log r at one event of either class, in standard errors; NaN where none is known."""
    if not task.has_log_ratio:
        return float("nan")
    x = task.mixture(1, 0.5, rng)
    value, stderr = ratio.log_ratio(ratios.functions(x))
    if not stderr[0] > 0:
        return float("nan")
    return float((value - task.log_ratio(x))[0] / stderr[0])

"""Pseudo-experiments for template-adapted mixtures: does the stated error cover the truth?

The ensemble stays as it is. Each experiment draws events of all templates anew, so that weights, pool,
reference and penalty sample are its own, and for each true fraction a sample of nature's unlabelled events.
Random numbers depend on the experiment alone and not on the method, so that methods are compared on the same
events. With a pool, events of templates are drawn from what was made once (see `veridical.estimators.pools`);
where they lie is not kept then, and fits are looked at in bins of their own log ratio. Nature's are made anew
all the same: no fit takes up what a pool of them lacks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from typing import Any, Protocol

import numpy as np

from veridical.errors import DataError
from veridical.estimators.base import Material, TaskInfo
from veridical.estimators.classes import Generators, TemplateFunctions, true_fractions
from veridical.estimators.pools import pooled
from veridical.inference import adapted_alarm
from veridical.inference.adapted_alarm import BinnedFit
from veridical.inference.adapted_fits import AdaptedFit, Profile
from veridical.tasks.base import Array, ClassTask
from veridical.training.session import Session

FOUND = ("value", "statistical", "ratio", "z_lr", "alarm")  # at each true fraction


class Adapting(Protocol):
    """What pseudo-experiments ask of the remedy."""

    settings: Any
    task: TaskInfo
    parent: TemplateFunctions

    def fit(self, settings: Any, task: TaskInfo, material: Material, run: Session) -> tuple[Any, None]:
        """Returns the remedy fitted to other events."""
        ...

    def adapted(self, functions: Array) -> AdaptedFit:
        """Returns the mixture adapted to events with these functions."""
        ...

    def binned(self, fit: AdaptedFit, x: Array) -> BinnedFit | None:
        """Returns how it fits in bins."""
        ...


def experiments(
    tamm: Adapting, task: ClassTask, settings: Mapping[str, Any], generators: Generators
) -> dict[str, Array]:
    """Returns what E pseudo-experiments found at V true fractions; see `WithoutPosterior`.

    Arguments:
        tamm: The remedy, whose weights and samples are made anew.
        task: Draws the events of nature and of the templates.
        settings: As there; `fit_rows` are events of each template, split as the remedy splits them.
        generators: Called with ("fit", e, t) and ("data", e, v) for experiment e, template t and number v of
            the true fraction; with ("pool", i) for what a pool has of template or class i.

    Raises:
        DataError: If a true fraction is not in [0, 1].
        TrainingError: If the weights of an experiment cannot be fitted.
    """
    truth, n = true_fractions(settings), settings["rows"]
    found = np.empty((len(FOUND), n, len(truth)))
    source, parent, info = task, tamm.parent, tamm.task
    if settings.get("pool"):
        source, parent = pooled(task, tamm.parent, generators, settings["pool"])
        info = replace(info, x_shape=source.x_shape)
    rows = np.empty((settings["fit_rows"], 0))
    for e in range(n):
        classes = {
            name: source.simulate(rows, generators("fit", e, t), name)
            for t, name in enumerate(chain(*parent.templates))
        }
        material = Material(parent=parent, classes=classes)
        fitted = tamm.fit(tamm.settings, info, material, Session(0, ("experiment",)))[0]
        for v, kappa in enumerate(truth):
            x = task.mixture(settings["events"], kappa, generators("data", e, v))
            found[:, e, v] = _answer(fitted, x, tamm.parent.functions(x), kappa)
    return {"truth": truth, **dict(zip(FOUND, found, strict=True))}


def _answer(
    tamm: Adapting, x: Array, functions: Array, truth: float
) -> tuple[float, float, float, float, float]:
    """What was found (`FOUND`) in one sample; NaN where no shapes fit it."""
    try:
        fit = tamm.adapted(functions)
    except DataError:
        return (np.nan,) * 4 + (1.0,)
    alarms = adapted_alarm.alarms(fit, tamm.binned(fit, x))
    return fit.kappa, fit.observed, fit.simulated, _root(fit, truth), float(bool(alarms))


def _root(fit: AdaptedFit, truth: float) -> float:
    """Signed root of the profile at the truth; infinite where no shapes fit the data with that fraction."""
    try:
        return Profile(fit).z(truth)
    except DataError:
        return float(np.copysign(np.inf, fit.kappa - truth))

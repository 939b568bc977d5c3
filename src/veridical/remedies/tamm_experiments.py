"""Pseudo-experiments for template-adapted mixtures: does the stated error cover the truth?

The ensemble stays as it is. Each experiment draws events of all templates anew, so that weights, pool,
reference and penalty sample are its own, and for each true fraction a sample of nature's unlabelled events.
Random numbers depend on the experiment alone and not on the method, so that methods are compared on the same
events. With a pool events are made once, as in `veridical.remedies.wifi_experiments`; where they lie is not
kept then, and fits are looked at in bins of their own log ratio.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from typing import Any, NoReturn

import numpy as np

from veridical.errors import DataError
from veridical.estimators.base import Arrays, Estimator, Material, TaskInfo
from veridical.estimators.classes import Generators, TemplateFunctions, true_fractions
from veridical.inference import adapted_alarm
from veridical.inference.adapted_fits import AdaptedFit, Profile
from veridical.remedies.tamm import Tamm
from veridical.tasks.base import Array, ClassTask
from veridical.training.session import Session

FOUND = ("value", "statistical", "ratio", "z_lr", "alarm")  # at each true fraction
AT_ONCE = 10_000  # events of a pool that are made at once


def experiments(
    tamm: Tamm, task: ClassTask, settings: Mapping[str, Any], generators: Generators
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
    source = Pool(tamm, task, generators, settings["pool"]) if settings.get("pool") else Fresh(tamm, task)
    for e in range(n):
        classes = {
            name: source.simulated(name, settings["fit_rows"], generators("fit", e, t))
            for t, name in enumerate(chain(*tamm.parent.templates))
        }
        material = Material(parent=source.parent, classes=classes)
        fitted = Tamm.fit(tamm.settings, source.info, material, Session(0, ("experiment",)))[0]
        for v, kappa in enumerate(truth):
            x = source.mixture(settings["events"], kappa, generators("data", e, v))
            found[:, e, v] = _answer(fitted, x, kappa)
    return {"truth": truth, **dict(zip(FOUND, found, strict=True))}


class Fresh:
    """Events that are made anew each time."""

    def __init__(self, tamm: Tamm, task: ClassTask) -> None:
        self.parent, self.info, self.task = tamm.parent, tamm.task, task

    def simulated(self, template: str, n: int, rng: np.random.Generator) -> Array:
        """Returns n events of a template, shape (n, *x_shape)."""
        return np.asarray(self.task.simulate(np.empty((n, 0)), rng, template))

    def mixture(self, n: int, fraction: float, rng: np.random.Generator) -> Array:
        """Returns n unlabelled events of nature, each of the first class with this probability."""
        return self.task.mixture(n, fraction, rng)


class Looked(TemplateFunctions):
    """Functions at events that are known by their numbers, shape (N, 1), in a table that was made once."""

    type, sees_events = "looked", False

    def __init__(self, ratios: TemplateFunctions, table: Array) -> None:
        self.task, self.settings, self.ratios, self.table = ratios.task, ratios.settings, ratios, table

    @property
    def templates(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names of the templates of the first class, and of the second."""
        return self.ratios.templates

    @property
    def size(self) -> int:
        """Number of the functions of each template."""
        return self.ratios.size

    def functions(self, x: Array) -> Array:
        """Returns the functions at the events of these numbers (N, 1), shape (N, T, P)."""
        return np.asarray(self.table[x[:, 0]])

    @classmethod
    def fit(cls, settings: Any, task: TaskInfo, material: Material, run: Session) -> NoReturn:
        """Refuses: it is made of what was fitted."""
        raise NotImplementedError("a table of functions is not fitted")

    def arrays(self) -> dict[str, Array]:
        """Returns those of what was fitted."""
        return self.ratios.arrays()

    @classmethod
    def from_arrays(
        cls, settings: Any, task: TaskInfo, arrays: Arrays, parent: Estimator | None = None
    ) -> NoReturn:
        """Refuses: a table is not kept."""
        raise NotImplementedError("a table of functions is not kept")


class Pool:
    """Events that are made once, and drawn with replacement; what is drawn are their numbers."""

    def __init__(self, tamm: Tamm, task: ClassTask, generators: Generators, events: int) -> None:
        levels = [*chain(*tamm.parent.templates), *task.classes]
        self.first = {level: events * i for i, level in enumerate(levels)}
        self.classes, self.events = task.classes, events
        parts = []
        for i, level in enumerate(levels):
            rng, sizes = generators("pool", i), [AT_ONCE] * (events // AT_ONCE) + [events % AT_ONCE]
            for n in filter(None, sizes):
                parts.append(tamm.parent.functions(task.simulate(np.empty((n, 0)), rng, level)))
        self.parent = Looked(tamm.parent, np.concatenate(parts))
        self.info = replace(tamm.task, x_shape=(1,))

    def simulated(self, level: str, n: int, rng: np.random.Generator) -> Array:
        """Returns the numbers of n events of a template or a class, shape (n, 1)."""
        return self.first[level] + rng.integers(self.events, size=(n, 1))

    def mixture(self, n: int, fraction: float, rng: np.random.Generator) -> Array:
        """Returns the numbers of n unlabelled events of nature, shape (n, 1)."""
        first = int(rng.binomial(n, fraction))
        parts = zip(self.classes, (first, n - first), strict=True)
        return np.concatenate([self.simulated(cls, k, rng) for cls, k in parts])


def _answer(tamm: Tamm, x: Array, truth: float) -> tuple[float, float, float, float, float]:
    """What was found (`FOUND`) in one sample; NaN where no shapes fit it."""
    try:
        fit = tamm.adapt(x)
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

"""What a template-adapted mixture has learned of both classes, as plain data for figures.

Of an event with up to three numbers each is shown; of others, such as jets, the log ratio of the adapted
classes, which is all that the fit knows of them.
"""

from __future__ import annotations

from itertools import takewhile
from typing import Any, Protocol

import numpy as np

from veridical.errors import DataError
from veridical.estimators.base import TaskInfo
from veridical.estimators.classes import TemplateFunctions
from veridical.inference import adapted_shapes
from veridical.inference.adapted import log_ratio
from veridical.inference.adapted_fits import AdaptedFit
from veridical.inference.adapted_shapes import Projection
from veridical.tasks.base import Array

MOST = 3  # numbers of an event that are shown one by one
LOG_RATIO = "log ratio of the learned classes"
UNNAMED = ("first class", "second class")


class Known(Protocol):
    """What is asked of the remedy."""

    task: TaskInfo
    parent: TemplateFunctions
    reference: Array


def record(tamm: Known, fit: AdaptedFit, x: Array, classes: Array | None = None) -> dict[str, Any]:
    """Returns how an answer describes the events x (N, *x_shape) it came from, as plain data.

    `classes`: names of both; `kappa`, `sigma`; `weights` of the templates of either; `features`: for each
    `name`, `unit`, `edges`, `data`, `expected`, `error` and, by class, `shares`, `errors`, `templates` and
    `true` (how many of its events lie in each bin; None where nobody knows).

    Arguments:
        tamm: The remedy.
        fit: Its answer.
        x: The events.
        classes: The number of the class of each, 0 or 1, shape (N,), where known.
    """
    features = []
    for name, data, reference in _numbers(tamm, fit, x):
        try:
            found = adapted_shapes.project(fit, data, reference)
        except DataError:
            continue  # a number that is the same for all events shows nothing
        unit = "" if name == LOG_RATIO else tamm.task.x_unit
        features.append({"name": name, "unit": unit, **_plain(found, data, classes)})
    return {
        "classes": [_named(names, i) for i, names in enumerate(tamm.parent.templates)],
        "kappa": fit.kappa,
        "sigma": fit.sigma,
        "weights": [weights.tolist() for weights in fit.weights],
        "features": features,
    }


def _numbers(tamm: Known, fit: AdaptedFit, x: Array) -> list[tuple[str, Array, Array]]:
    """The numbers that are shown, at data and reference, with their names."""
    flat, reference = (np.asarray(sample, float).reshape(len(sample), -1) for sample in (x, tamm.reference))
    if not tamm.parent.sees_events or flat.shape[1] > MOST or np.isnan(flat).any():
        shapes = fit.objective.shapes
        return [(LOG_RATIO, log_ratio(shapes[0], fit.theta), log_ratio(shapes[1], fit.theta))]
    given = tamm.task.names[-1] if tamm.task.names else ()
    names = given if len(given) == flat.shape[1] else [f"x_{i + 1}" for i in range(flat.shape[1])]
    return [(name, flat[:, i], reference[:, i]) for i, name in enumerate(names)]


def _plain(found: Projection, data: Array, classes: Array | None) -> dict[str, Any]:
    label, bins = adapted_shapes.place(found.edges, data), len(found.data)
    sides = []
    for i, shape in enumerate(found.classes):
        true = None if classes is None else np.bincount(label[classes == i], minlength=bins).tolist()
        sides.append({**{name: array.tolist() for name, array in shape._asdict().items()}, "true": true})
    plain = {name: getattr(found, name).tolist() for name in ("edges", "data", "expected", "error")}
    return {**plain, "classes": sides}


def _named(templates: tuple[str, ...], side: int) -> str:
    """What the names of all templates of a class begin with; of `signal_0` and `signal_1`: `signal`."""
    first, last = min(templates), max(templates)
    same = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return "".join(letter for letter, _ in same).rstrip("_-. 0123456789") or UNNAMED[side]

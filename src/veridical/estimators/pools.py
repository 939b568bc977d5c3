"""Pools: events of classes that are made once, with the functions of an ensemble there, and drawn many times.

Where events are slow to make, or functions slow to evaluate, pseudo-experiments draw from a pool of each
class with replacement. What is drawn are the numbers of events, and functions are looked up. What a finite
pool lacks of its class is then the same in all experiments: a ratio that is off by that much for the class is
not for the pool. A study makes the events once for all trainings and methods (see `made`); functions are
evaluated once for each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, NoReturn

import numpy as np

from veridical.errors import require_shape
from veridical.estimators.base import Arrays, Estimator, Material, TaskInfo
from veridical.estimators.classes import Functions, Generators, TemplateFunctions, WithoutPosterior
from veridical.tasks.base import Array, ClassTask, Dimension
from veridical.training.session import Session

AT_ONCE = 10_000  # events that are made at once


class PooledTask(ClassTask):
    """A class task whose events are the numbers of those in a pool, shape (N, 1).

    Arguments:
        task: The task whose events these are.
        levels: Its classes and other levels of which there is a pool.
        events: How many events each pool has.
    """

    dimensions = (Dimension("number", ("number",)),)

    def __init__(self, task: ClassTask, levels: Sequence[str], events: int) -> None:
        self.name, self.classes, self.events = task.name, task.classes, events
        self.first = {level: events * i for i, level in enumerate(levels)}

    def draw(self, n: int, rng: np.random.Generator, cls: str) -> Array:
        """Returns the numbers of n events of a class or another level, shape (n, 1)."""
        return np.asarray(self.first[cls] + rng.integers(self.events, size=(n, 1)))

    def simulate(self, theta: Array, noise: np.random.Generator, fidelity: str) -> Array:
        """Returns the number of one event of a level for each of the empty rows theta (N, 0)."""
        return self.draw(len(theta), noise, fidelity)


class Looked(WithoutPosterior):
    """Functions at the events of pools, by their numbers.

    Arguments:
        ensemble: What was asked about these events.
        table: What it said, a row an event.
    """

    type = "looked"

    def __init__(self, ensemble: Functions | TemplateFunctions, table: Array) -> None:
        self.task, self.settings, self.ensemble, self.table = (
            ensemble.task,
            ensemble.settings,
            ensemble,
            table,
        )

    @property
    def size(self) -> int:
        """Number of the functions."""
        return self.ensemble.size

    def functions(self, x: Array) -> Array:
        """Returns the functions at the events of these numbers (N, 1)."""
        return np.asarray(self.table[x[:, 0]])

    def arrays(self) -> dict[str, Array]:
        """Returns those of the ensemble."""
        return self.ensemble.arrays()

    @classmethod
    def fit(cls, settings: Any, task: TaskInfo, material: Material, run: Session) -> NoReturn:
        """Refuses: a table is made of what was fitted."""
        raise NotImplementedError("a table of functions is not fitted")

    @classmethod
    def from_arrays(
        cls, settings: Any, task: TaskInfo, arrays: Arrays, parent: Estimator | None = None
    ) -> NoReturn:
        """Refuses: a table is not kept."""
        raise NotImplementedError("a table of functions is not kept")


class LookedFunctions(Looked, Functions):
    """The functions of a log density ratio of two classes, looked up."""


class LookedTemplates(Looked, TemplateFunctions):
    """The functions of templates, looked up."""

    sees_events = False

    @property
    def templates(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names of the templates of the first class, and of the second."""
        found: tuple[tuple[str, ...], tuple[str, ...]] = self.ensemble.templates  # type: ignore[union-attr]
        return found


def made(task: ClassTask, level: str, events: int, rng: np.random.Generator) -> Array:
    """Returns events of a class of nature's or another level (N, *x_shape), in the type that a bank has."""
    found = np.empty((events, *task.x_shape), task.x_dtype)
    for first in range(0, events, AT_ONCE):
        n = min(AT_ONCE, events - first)
        in_class = level in task.classes
        x = task.draw(n, rng, level) if in_class else task.simulate(np.empty((n, 0)), rng, level)
        found[first : first + n] = x
    return found


def levels_of(task: ClassTask, ensemble: Functions | TemplateFunctions) -> list[str]:
    """Returns the levels of which pseudo-experiments have a pool: the templates, or the classes."""
    if isinstance(ensemble, TemplateFunctions):
        return list(chain(*ensemble.templates))
    return list(task.classes)


def pooled(
    task: ClassTask,
    ensemble: Functions | TemplateFunctions,
    generators: Generators,
    pool: int | Callable[[str], Array],
) -> tuple[PooledTask, Any]:
    """Returns a task that draws from pools, of its classes or of the templates, and the functions there.

    Arguments:
        task: Makes the events.
        ensemble: Is asked about them, once.
        generators: Called with ("pool", i) for level i, where events are made here.
        pool: How many events of each level are made, or what gives those that are there.

    Raises:
        ShapeError: If levels have different numbers of events, or events of another shape than the task's.
    """
    levels, table, events = levels_of(task, ensemble), np.empty(0), 0
    for i, level in enumerate(levels):
        x = pool(level) if callable(pool) else made(task, level, pool, generators("pool", i))
        require_shape(f"pool of {level}", x, events or None, *task.x_shape)
        events = len(x)
        for first in range(0, events, AT_ONCE):
            found = ensemble.functions(x[first : first + AT_ONCE])
            if not table.size:
                table = np.empty((events * len(levels), *found.shape[1:]))
            at = events * i + first
            table[at : at + len(found)] = found
    looked = LookedTemplates if isinstance(ensemble, TemplateFunctions) else LookedFunctions
    return PooledTask(task, levels, events), looked(ensemble, table)

"""Pools: events of classes that are made once, with the functions of an ensemble there, and drawn many times.

Where events are slow to make, or functions slow to evaluate, pseudo-experiments draw from a pool of each
class with replacement. What is drawn are the numbers of events, and functions are looked up. What a finite
pool lacks of its class is then the same in all experiments: a ratio that is off by that much for the class is
not for the pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

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


def pooled(
    task: ClassTask, ensemble: Functions | TemplateFunctions, generators: Generators, events: int
) -> tuple[PooledTask, Any]:
    """Returns a task that draws from pools, of its classes or of the templates, and the functions there.

    Arguments:
        task: Makes the events.
        ensemble: Is asked about them, once.
        generators: Called with ("pool", i) for level i.
        events: Of each pool.
    """
    of_templates = isinstance(ensemble, TemplateFunctions)
    levels = [*task.classes]
    if isinstance(ensemble, TemplateFunctions):
        levels = [name for side in ensemble.templates for name in side]
    table, first = np.empty(0), 0
    for i, level in enumerate(levels):
        rng = generators("pool", i)
        for n in filter(None, [AT_ONCE] * (events // AT_ONCE) + [events % AT_ONCE]):
            found = ensemble.functions(np.asarray(task.simulate(np.empty((n, 0)), rng, level)))
            if not first:
                table = np.empty((events * len(levels), *found.shape[1:]))
            table[first : first + n] = found
            first += n
    looked = LookedTemplates if of_templates else LookedFunctions
    return PooledTask(task, levels, events), looked(ensemble, table)

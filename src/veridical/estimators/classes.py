"""Methods about two classes of events: functions of events, estimates of a fraction, and no posterior."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np

from veridical.errors import DataError, TaskError, TrainingError
from veridical.estimators.base import Estimator, Material
from veridical.saved.estimates import Estimate
from veridical.tasks.base import Array, ClassTask

Generators = Callable[..., np.random.Generator]


class WithoutPosterior(Estimator):
    """A method about classes: it gives density ratios or estimates of a fraction, and no posterior."""

    def sample_and_log_prob(self, x: Array, n: int, rng: np.random.Generator) -> NoReturn:
        """Refuses: there is no posterior."""
        self._refuse()

    def log_prob(self, theta: Array, x: Array) -> NoReturn:
        """Refuses: there is no posterior."""
        self._refuse()

    def pseudo_experiments(
        self, task: ClassTask, settings: Mapping[str, Any], generators: Generators
    ) -> dict[str, Array]:
        """Returns what E pseudo-experiments found at V true fractions.

        `truth` (V,): true fractions. `value`, `statistical`, `ratio`, `z_lr` (E, V): estimates, their errors
        from the number of events and from the density ratio, and the signed root of the likelihood ratio at
        the truth; NaN where there is no answer. Optionally `pull` (E,): error of the log ratio at one random
        event, in standard errors; `alarm` (E, V): 1 where the method says itself not to trust its answer.

        Arguments:
            task: Draws the events.
            settings: `rows` (E, the number of experiments), `true_values` (fractions of the first class, in
                [0, 1]), `events` (unlabelled), `fit_rows` (events of each class that a remedy learns from).
            generators: Gives the generator of a piece: called with its name and numbers.

        Raises:
            TrainingError: If the method gives no estimate.
        """
        raise TrainingError(
            f"experiments: expected a method that estimates fractions, such as `wifi`, got {self.type!r}."
        )

    def answer(self, x: Array, classes: Array | None) -> tuple[Estimate, list[dict[str, Any]] | None]:
        """Returns the estimates of samples x (N, events, *x_shape), and what was learned of the classes.

        The latter is plain data for each sample, None where a method has none to show; the `classes` of the
        events (N, events), 0 or 1, where known, are for that alone.

        Raises:
            TrainingError: If the method gives no estimate.
        """
        estimate = getattr(self, "estimate", None)
        if estimate is None:
            raise TrainingError(f"expected a method that estimates fractions, got {self.type!r}.")
        return estimate(x), None

    def _refuse(self) -> NoReturn:
        raise TaskError(
            f"method {self.type!r} is about classes: it gives density ratios and estimates of a fraction, "
            "but no posterior draws or densities. Use estimate(x) of a remedy `wifi`, or an estimator such "
            "as npe."
        )


class Functions(WithoutPosterior):
    """Functions of events whose weighted sum is a log density ratio; the first is 1."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Number P of the functions."""

    @abstractmethod
    def functions(self, x: Array) -> Array:
        """Returns the functions at events x (N, *x_shape), float64, shape (N, P)."""


class TemplateFunctions(WithoutPosterior):
    """Functions of events whose weighted sums are the log ratios of T templates to their pool.

    A template is one simulator's density of one class; the pool has the same number of events of each.

    Attributes:
        sees_events: Whether what it is asked about are events, and not their numbers in a table.
    """

    sees_events = True

    @property
    @abstractmethod
    def templates(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names of the templates of the first class, and of the second."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Number P of the functions of each template; the first is 1."""

    @abstractmethod
    def functions(self, x: Array) -> Array:
        """Returns the functions at events x (N, *x_shape), float64, shape (N, T, P)."""


def two_classes(material: Material, method: str) -> tuple[Array, Array]:
    """Returns the events of numerator and denominator.

    Raises:
        TrainingError: If there are not two classes.
    """
    classes = material.require("classes", method)
    if len(classes) != 2:
        raise TrainingError(
            f"estimator {method!r}: expected events of two classes, got {', '.join(classes)}; name two."
        )
    numerator, denominator = classes.values()
    return numerator, denominator


def true_fractions(settings: Mapping[str, Any]) -> Array:
    """Returns the `true_values` of a study of coverage, shape (V,).

    Raises:
        DataError: If one is not in [0, 1].
    """
    truth = np.asarray(settings["true_values"], float)
    if truth.ndim != 1 or not ((truth >= 0) & (truth <= 1)).all():
        raise DataError(f"experiments: expected true fractions in [0, 1], got {truth.tolist()}.")
    return truth

"""Posteriors that learn from simulations of several levels: what they share, and one training of them.

Every tenth row is held out at all levels. One transform of x serves all of them, for what tells levels apart
has to stay: it has the mean and variance of the dearest level where that has FEW_ROWS training rows, else of
an equal mixture of it and the cheapest.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Self

import numpy as np

from veridical.errors import TrainingError, require_shape
from veridical.estimators.base import CoupledRows, Material, Rows, TaskInfo
from veridical.estimators.flow_posterior import CLOUD_ROWS, FlowPosterior
from veridical.estimators.multilevel_settings import LevelledSettings
from veridical.estimators.posterior_network import on_task
from veridical.estimators.summary_cloud import SummaryCloud
from veridical.networks.standardised import standardised
from veridical.networks.trainable import Trainable
from veridical.networks.transforms import InputTransform, ParameterTransform
from veridical.tasks.base import Array
from veridical.training import fitting, session

FEW_ROWS = 200  # training rows of the dearest level from which on it alone standardises x


@dataclass(frozen=True)
class Levels:
    """Simulations of all levels, cheapest first, with the transforms that they share.

    Attributes:
        rows: Rows of the cheapest level, then pairs of each dearer one.
        inputs: The transform of x.
        parameters: The transform of theta.
    """

    rows: Sequence[Rows]
    inputs: InputTransform
    parameters: ParameterTransform

    @classmethod
    def of(cls, settings: LevelledSettings, task: TaskInfo, material: Material) -> Self:
        """Returns them, with transforms fitted to the rows that are learned from.

        Raises:
            TrainingError: If a level is missing, or has too few rows.
            ShapeError: If theta or x has another shape.
        """
        rows = coupled_levels(settings, task, material)
        learned = [each.at(~each.validation) for each in rows]
        inputs = input_transform(settings, learned, task.has_missing)
        return cls(rows, inputs, ParameterTransform.fit(learned[0].theta, task.bounds, task.support))

    @cached_property
    def learned(self) -> list[Rows]:
        """The rows of each level that are learned from."""
        return [rows.at(~rows.validation) for rows in self.rows]

    def prepared(self, rows: Rows) -> tuple[Array, ...]:
        """Returns standardised theta and x, and x of the level below in a pair, in single precision."""
        z = self.parameters.forward(rows.theta)[0].astype(np.float32)
        data = [rows.x, rows.below] if isinstance(rows, CoupledRows) else [rows.x]
        return z, *(self.inputs(x, np.float32) for x in data)

    def slopes(self, rows: Rows) -> Array:
        """Returns the log slopes of the parameters' transform, (N,)."""
        return self.parameters.forward(rows.theta)[1]

    def held_out(self, validation: str, most: int) -> tuple[tuple[Array, ...], float]:
        """Returns what looks judge, and the mean log slope of its parameters.

        That is standardised theta and x of at most so many rows held out, with a weight each, such that their
        mean loss is that of the dearest level, or the telescoping sum: :math:`\\pm V / n_l` for each of the V
        rows of a term of n_l.
        """
        apart = [rows.at(rows.validation) for rows in self.rows]
        if validation == "dearest":
            last = apart[-1].at(slice(most))
            z, x, *_ = self.prepared(last)
            return (z, x, np.ones(len(z), np.float32)), float(self.slopes(last).mean())
        each = slice(max(1, most // (2 * len(apart) - 1)))
        first, *pairs = (self.prepared(rows.at(each)) for rows in apart)
        parts, signs = [first], [1.0, *[1.0, -1.0] * len(pairs)]
        for z, x, below in pairs:
            parts += [(z, x), (z, below)]
        sizes = [len(part[0]) for part in parts]
        weights = np.repeat([sign * sum(sizes) / n for sign, n in zip(signs, sizes, strict=True)], sizes)
        z, x = (np.concatenate([part[i] for part in parts]) for i in range(2))
        return (z, x, weights.astype(np.float32)), float(self.slopes(apart[0].at(each)).mean())


class LevelledPosterior(FlowPosterior):
    """An amortised posterior trained on simulations of several levels."""

    @classmethod
    def fit(
        cls, settings: Any, task: TaskInfo, material: Material, run: session.Session
    ) -> tuple[Self, session.TrainingResult]:
        """Returns a trained posterior and how its training went; see `Estimator.fit`."""
        settings = on_task(settings, task)
        levels = Levels.of(settings, task, material)
        with session.seeded_initialisation(run):
            network = cls.build(settings, task)
        lesson = cls.lesson(network, levels, settings, material, run)
        result = fitting.fit(*lesson, settings.training, run)
        estimator = cls(settings, task, levels.inputs, levels.parameters, network)
        estimator.cloud = SummaryCloud.of(estimator.summary(levels.learned[-1].x[:CLOUD_ROWS]))
        return estimator, result

    @classmethod
    @abstractmethod
    def lesson(
        cls, network: Any, levels: Levels, settings: Any, material: Material, run: session.Session
    ) -> tuple[Trainable, fitting.Data]:
        """Returns what is trained in place of a network, and on which data.

        Arguments:
            network: The network.
            levels: The simulations.
            settings: All of them, with what they leave to the task.
            material: What it may learn from beside these.
            run: Seeds.
        """


def coupled_levels(settings: Any, task: TaskInfo, material: Material) -> Sequence[Rows]:
    """Returns the simulations of all levels, cheapest first: rows, then pairs.

    Arguments:
        settings: Of a method of several levels: its `type`, and the rows of each level in `lower`.
        task: The task.
        material: What the method learns from.

    Raises:
        TrainingError: If a level is missing, or has too few rows.
        ShapeError: If theta or x has another shape.
    """
    levels, wanted = material.levels, len(settings.lower) + 1
    if len(levels) != wanted or not all(isinstance(rows, CoupledRows) for rows in levels[1:]):
        raise TrainingError(
            f"estimator {settings.type!r}: expected simulations of {wanted} levels, the first as Rows "
            f"and others as CoupledRows, got {[type(rows).__name__ for rows in levels]}; give it one for "
            "each of `lower`, and one of its own."
        )
    for rows in levels:
        require_shape("theta", rows.theta, len(rows), len(task.parameters))
        for x in (rows.x, *([rows.below] if isinstance(rows, CoupledRows) else [])):
            require_shape("x", x, len(rows), *task.x_shape)
        session.require_rows(int((~rows.validation).sum()), int(rows.validation.sum()))
    return levels


def input_transform(settings: LevelledSettings, learned: Sequence[Rows], has_missing: bool) -> InputTransform:
    """Returns the transform of x for all levels, by the summary network."""
    kind = settings.inputs.transform
    return transform_of(partial(standardised, settings.summary, kind=kind, has_missing=has_missing), learned)


def transform_of(fit: Callable[..., InputTransform], learned: Sequence[Rows]) -> InputTransform:
    """Returns the transform of x for all levels: the dearest's where it has FEW_ROWS, else of both ends.

    Arguments:
        fit: Fits one to x (N, *x_shape), `like` another one.
        learned: The rows of each level that are learned from, cheapest first.
    """
    dearest = learned[-1].x
    own = fit(dearest)
    return own if len(dearest) >= FEW_ROWS else own.pooled(fit(learned[0].x, like=own))

r"""ML-NLE: neural likelihood estimation by a telescoping sum over levels of simulations,

.. math:: L(\phi) = E_0 [- \log q_\phi(x^0 \mid \theta)] + \sum_{l \ge 1}
    E_l [- \log q_\phi(x^l \mid \theta) + \log q_\phi(x^{l - 1} \mid \theta)] .

Rows, pairs, gradients and looks are those of `veridical.estimators.multilevel`; the density, its families and
what draws from its posterior are those of `veridical.estimators.nle`. x is what the density is of, so that
levels have to share one transform: with one each, the constants of the terms would not cancel.

Whole numbers get uniform noise level by level, where they are whole in all rows of that level. Both of a pair
get the same noise, for their levels are coupled.

References:
    | Multilevel neural simulation-based inference (Hikida et al., 2025)
    | https://arxiv.org/abs/2506.06087
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Self

import numpy as np
from torch import Tensor

from veridical import seeds
from veridical.errors import TrainingError
from veridical.estimators.base import CoupledRows, Material, Rows, TaskInfo
from veridical.estimators.levelled import Levels, coupled_levels, transform_of
from veridical.estimators.multilevel_likelihood_settings import MultilevelNLESettings
from veridical.estimators.nle import NLE, DataDensity, require_spread, whole_numbers
from veridical.estimators.sampled import CLOUD_ROWS, elements_of, known_prior
from veridical.estimators.summary_cloud import SummaryCloud
from veridical.networks.transforms import InputTransform, ParameterTransform
from veridical.tasks.base import Array
from veridical.training import fitting, session
from veridical.training.telescoped import Telescoped


class TelescopedLikelihood(Telescoped):
    """A density of x given parameters that learns by the telescoping sum; see `Telescoped`."""

    def each(self, theta: Tensor, x: Tensor) -> Tensor:
        """Returns -log q(x | theta) of each row, (B,), of standardised theta (B, K) and x (B, *x_shape)."""
        network: DataDensity = self.posterior  # type: ignore[assignment]
        return -network.log_likelihood(theta, network.contexts(x))


class MultilevelNLE(NLE):
    """A likelihood trained on coupled simulations of several levels."""

    type = "ml_nle"

    @classmethod
    def fit(
        cls, settings: Any, task: TaskInfo, material: Material, run: session.Session
    ) -> tuple[Self, session.TrainingResult]:
        """Returns a trained likelihood and how its training went; see `Estimator.fit`."""
        if wrong := settings.unsuited(task):
            raise TrainingError(f"estimator {settings.type!r}: {wrong}")
        prior, whole = known_prior(settings, task, material), coupled_levels(settings, task, material)
        rows = continuous([elements(each, settings) for each in whole], settings, run)
        levels = shared(rows, settings, task)
        with session.seeded_initialisation(run):
            network = cls.build(settings, task)
        result = fitting.fit(*lesson(network, levels, settings), settings.training, run)
        seed = seeds.integer(run.root, "infer", *run.path)
        found = cls(settings, task, levels.inputs, levels.parameters, network, prior=prior, seed=seed)
        dearest = whole[-1]
        found.cloud = SummaryCloud.of(found.summary(dearest.x[~dearest.validation][:CLOUD_ROWS]))
        return found, result


def elements(rows: Rows, settings: MultilevelNLESettings) -> Rows:
    """Returns a row for each element of x, and of x of the level below in a pair."""
    own = elements_of(rows, settings.independent)
    if not isinstance(rows, CoupledRows):
        return own
    below = elements_of(replace(rows, x=rows.below), settings.independent).x
    return CoupledRows(own.theta, own.x, own.validation, below=below)


def continuous(
    levels: Sequence[Rows], settings: MultilevelNLESettings, run: session.Session
) -> Sequence[Rows]:
    """Returns levels whose whole numbers have become continuous, both of a pair by the same noise."""
    rng = seeds.generator(run.root, "initialise", *run.path, "counts")
    found: list[Rows] = []
    lower: Array = np.zeros(levels[0].x.shape[1:], bool)  # which numbers of the level below are whole
    for rows in levels:
        whole, noise = whole_numbers(rows.x, settings.counts), rng.uniform(-0.5, 0.5, rows.x.shape)
        own = replace(rows, x=np.where(whole, rows.x + noise, rows.x))
        if isinstance(own, CoupledRows):
            own = replace(own, below=np.where(lower, own.below + noise, own.below))
        require_spread(own.x)
        found.append(own)
        lower = whole
    return found


def shared(levels: Sequence[Rows], settings: MultilevelNLESettings, task: TaskInfo) -> Levels:
    """Returns levels with the transforms that they share, fitted to the rows that are learned from."""
    learned = [rows.at(~rows.validation) for rows in levels]
    parameters = ParameterTransform.fit(learned[0].theta, task.bounds, task.support)
    for rows in levels:
        parameters.require_inside(rows.theta)
    fit = partial(InputTransform.fit, kind=settings.inputs.transform, has_missing=task.has_missing)
    return Levels(levels, transform_of(fit, learned), parameters)


def lesson(
    network: DataDensity, levels: Levels, settings: MultilevelNLESettings
) -> tuple[TelescopedLikelihood, fitting.Data]:
    """Returns the telescoping loss, and the rows of the cheapest level with numbers of pairs beside."""
    (z, x), *pairs = map(levels.prepared, levels.learned)
    numbers = [np.arange(len(z)) % len(each[0]) for each in pairs]
    apart, _ = levels.held_out(settings.validation, settings.training.validation_rows)
    loss = TelescopedLikelihood(network, pairs, settings.gradients == "rescaled")
    return loss, fitting.Data((z, x, *numbers), apart)

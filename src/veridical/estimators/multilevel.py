r"""ML-NPE: neural posterior estimation by a telescoping sum over levels of simulations,

.. math:: L(\phi) = E_0 [- \log q_\phi(\theta \mid x^0)] + \sum_{l \ge 1}
    E_l [- \log q_\phi(\theta \mid x^l) + \log q_\phi(\theta \mid x^{l - 1})] ,

with many rows at the cheapest level, and few pairs of coupled simulations at each dearer one. How its
gradients are put together stands in `veridical.training.telescoped`.

The bank couples levels by row: row i has the same parameters and random numbers at each. So the pairs of a
level are its rows, beside the first ones of the level below, and cost nothing more there. Every tenth row is
held out at all levels. Looks judge the loss of the dearest level on these: the telescoping sum has the same
mean, but weights may reach a low value of it by what few rows happen to cancel.

One transform of x serves all levels, for what tells them apart has to stay. It has the mean and variance of
the dearest level where that has FEW_ROWS training rows, else of an equal mixture of it and the cheapest.

References:
    | Multilevel neural simulation-based inference (Hikida et al., 2025)
    | https://arxiv.org/abs/2506.06087
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from veridical.errors import TrainingError, require_shape
from veridical.estimators.base import CoupledRows, Material, Rows, TaskInfo
from veridical.estimators.multilevel_settings import LevelledSettings, MultilevelSettings
from veridical.estimators.npe import CLOUD_ROWS, FlowPosterior
from veridical.estimators.posterior_network import on_task
from veridical.estimators.summary_cloud import SummaryCloud
from veridical.networks.standardised import standardised
from veridical.networks.transforms import InputTransform, ParameterTransform
from veridical.tasks.base import Array
from veridical.training import fitting, session
from veridical.training.telescoped import Telescoped

FEW_ROWS = 200  # training rows of the dearest level from which on it alone standardises x


class MultilevelNPE(FlowPosterior):
    """An amortised posterior trained on coupled simulations of several levels."""

    type = "ml_npe"

    @classmethod
    def fit(
        cls, settings: MultilevelSettings, task: TaskInfo, material: Material, run: session.Session
    ) -> tuple[MultilevelNPE, session.TrainingResult]:
        """Returns a trained posterior and how its training went; see `Estimator.fit`."""
        settings = on_task(settings, task)
        levels = coupled_levels(settings, task, material)
        inputs = input_transform(settings, task, levels)
        learned = [rows.at(~rows.validation) for rows in levels]
        parameters = ParameterTransform.fit(learned[0].theta, task.bounds, task.support)
        with session.seeded_initialisation(run):
            network = cls.build(settings, task)
        prepare = partial(prepared, inputs=inputs, parameters=parameters)
        (z, x), *pairs = map(prepare, learned)
        network.regress(*pairs[-1][:2])
        numbers = [np.arange(len(z)) % len(each[0]) for each in pairs]
        most = settings.training.validation_rows
        apart, slope = held_out(settings.validation, levels, inputs, parameters, most)
        offsets = float(parameters.forward(learned[0].theta)[1].mean()), slope
        loss = Telescoped(network, pairs, settings.gradients == "rescaled")
        data = fitting.Data((z, x, *numbers), apart, offsets)
        result = fitting.fit(loss, data, settings.training, run)
        estimator = cls(settings, task, inputs, parameters, network)
        estimator.cloud = SummaryCloud.of(estimator.summary(learned[-1].x[:CLOUD_ROWS]))
        return estimator, result


def coupled_levels(settings: LevelledSettings, task: TaskInfo, material: Material) -> Sequence[Rows]:
    """Returns the simulations of all levels, cheapest first: rows, then pairs.

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


def input_transform(settings: LevelledSettings, task: TaskInfo, levels: Sequence[Rows]) -> InputTransform:
    """Returns the transform of x for all levels."""
    cheapest, dearest = (rows.x[~rows.validation] for rows in (levels[0], levels[-1]))
    kind = settings.inputs.transform
    transform = partial(standardised, settings.summary, kind=kind, has_missing=task.has_missing)
    own = transform(dearest)
    return own if len(dearest) >= FEW_ROWS else own.pooled(transform(cheapest, like=own))


def held_out(
    validation: str,
    levels: Sequence[Rows],
    inputs: InputTransform,
    parameters: ParameterTransform,
    most: int,
) -> tuple[tuple[Array, ...], float]:
    """Returns what looks judge, and the mean log slope of its parameters.

    That is standardised theta and x of rows held out with a weight each, such that their mean loss is that of
    the dearest level, or the telescoping sum: :math:`\\pm V / n_l` for each of the V rows of a term of n_l.
    """
    apart = [rows.at(rows.validation) for rows in levels]
    if validation == "dearest":
        last = apart[-1].at(slice(most))
        z, x, *_ = prepared(last, inputs, parameters)
        return (z, x, np.ones(len(z), np.float32)), float(parameters.forward(last.theta)[1].mean())
    each = slice(max(1, most // (2 * len(levels) - 1)))
    first, *pairs = (prepared(rows.at(each), inputs, parameters) for rows in apart)
    parts, signs = [first], [1.0, *[1.0, -1.0] * len(pairs)]
    for z, x, below in pairs:
        parts += [(z, x), (z, below)]
    sizes = [len(part[0]) for part in parts]
    weights = np.repeat([sign * sum(sizes) / n for sign, n in zip(signs, sizes, strict=True)], sizes)
    z, x = (np.concatenate([part[i] for part in parts]) for i in range(2))
    slope = parameters.forward(apart[0].theta[each])[1].mean()
    return (z, x, weights.astype(np.float32)), float(slope)


def prepared(rows: Rows, inputs: InputTransform, parameters: ParameterTransform) -> tuple[Array, ...]:
    """Returns standardised theta and x, and x of the level below in a pair, in single precision."""
    z = parameters.forward(rows.theta)[0].astype(np.float32)
    data = [rows.x, rows.below] if isinstance(rows, CoupledRows) else [rows.x]
    return z, *(inputs(x, np.float32) for x in data)

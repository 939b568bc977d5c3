"""Neural posterior estimation on few dear simulations, helped by a cheap level: features and a teacher.

What is learned, and how its weights are annealed, stands in `veridical.training.distilled`. Steps, batches
and looks are those of an `npe` on the dear rows: with all weights 0 it is one. The teacher is another method
of the study (`of`), trained on the cheap level; so its training is seen, kept and counted like any other,
serves several budgets, and may be of any type. Its draws for the cheap partner of each dear row are made
once.

Looks judge the plain loss of dear rows held out: what teacher and cheap level have taught counts as far as
the dear level bears it out. Transform, rows held out and levels are those of `veridical.estimators.levelled`.
"""

from __future__ import annotations

import numpy as np

from veridical import seeds
from veridical.estimators.base import CoupledRows, Estimator, Material
from veridical.estimators.distilled_settings import DistilledSettings
from veridical.estimators.levelled import LevelledPosterior, Levels
from veridical.estimators.posterior_network import PosteriorNetwork
from veridical.networks.transforms import ParameterTransform
from veridical.tasks.base import Array
from veridical.training import fitting, session
from veridical.training.distilled import Distilled, Weights


class DistilledNPE(LevelledPosterior):
    """An amortised posterior of the dear level, trained beside a cheap one and a teacher."""

    type = "distilled_npe"

    @classmethod
    def lesson(
        cls,
        network: PosteriorNetwork,
        levels: Levels,
        settings: DistilledSettings,
        material: Material,
        run: session.Session,
    ) -> tuple[Distilled, fitting.Data]:
        """Returns the loss with all its terms, and the dear rows with cheap partners and draws beside."""
        lower, dear = levels.learned
        assert isinstance(dear, CoupledRows)  # as `coupled_levels` requires
        z, x, below = levels.prepared(dear)
        draws = np.empty((len(z), 0, z.shape[1]), np.float32)
        if settings.distillation:
            teacher: Estimator = material.require("parent", settings.type)
            draws = taught(teacher, dear.below, levels.parameters, settings.draws, run)
        weights = Weights(settings.joint, settings.matching, settings.distillation, settings.anneal)
        (own_z, own_x, _), own_slope = levels.held_out("dearest", settings.training.validation_rows)
        steps = session.Steps.of(len(z), settings.training).steps
        loss = Distilled(network, levels.prepared(lower), settings.lower_batch, weights, steps, run)
        offsets = float(levels.slopes(dear).mean()), own_slope
        return loss, fitting.Data((z, x, below, draws), (own_z, own_x), offsets)


def taught(
    teacher: Estimator, x: Array, parameters: ParameterTransform, n: int, run: session.Session
) -> Array:
    """Returns n standardised draws (N, n, D) of a teacher for each x (N, *x_shape), in single precision."""
    rng = seeds.generator(run.root, "initialise", *run.path, "teacher")
    draws = teacher.sample(x, n, rng).swapaxes(0, 1)
    flat = draws.reshape(-1, draws.shape[-1])
    return parameters.forward(flat)[0].astype(np.float32).reshape(draws.shape)

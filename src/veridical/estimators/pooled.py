r"""Neural posterior estimation on the simulations of all levels at once,

.. math:: L(\phi) = - \sum_l \frac{w_l}{n_l} \sum_{i \le n_l} \log q_\phi(\theta_i \mid x_i^l, l) ,

with the level among what the flow is told (`level: conditioned`): it is asked for the dearest, and learns
from the cheaper ones what they share with that. Without it (`ignored`) the answer is the posterior of a
mixture of all levels, which is wrong as far as these differ: a control. Looks judge the loss at the dearest.

This baseline is our own; transform, rows held out and levels are those of `veridical.estimators.levelled`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from veridical.estimators.base import Material, TaskInfo
from veridical.estimators.levelled import LevelledPosterior, Levels
from veridical.estimators.pooled_settings import PooledSettings
from veridical.estimators.posterior_network import PosteriorNetwork, on_task
from veridical.networks import build_density
from veridical.networks.levelled import Levelled
from veridical.networks.mixed import MixedFlow
from veridical.training import fitting, session


class PooledNetwork(PosteriorNetwork):
    """A posterior network whose flow may be told the level, and whose rows have weights.

    A batch is standardised theta (B, D), x (B, *x_shape) and, while it learns, the number of each row's level
    and its weight, (B,); without these rows are of the last level and count alike.
    """

    def __init__(
        self, settings: Any, x_shape: tuple[int, ...], cells: tuple[int, ...], has_missing: bool = False
    ) -> None:
        super().__init__(settings, x_shape, cells, has_missing)
        if settings.level == "conditioned":
            levels, flow = len(settings.lower) + 1, settings.flow.model_dump()
            own = self.summary.features + levels
            density = MixedFlow(cells, own, flow) if any(cells) else build_density(flow, len(cells), own)
            self.flow = Levelled(density, levels)

    def loss(self, *batch: Tensor) -> Tensor:
        """Returns the weighted mean of -log q over rows."""
        theta, x, *more = batch
        context = self.summary(x)
        if not more:
            return -self.flow.log_prob(theta, context).mean()
        level, weight = more
        if isinstance(self.flow, Levelled):
            return -(weight * self.flow.density.log_prob(theta, self.flow.told(context, level))).mean()
        return -(weight * self.flow.log_prob(theta, context)).mean()


class PooledNPE(LevelledPosterior):
    """An amortised posterior trained on the rows of several levels together."""

    type = "pooled_npe"

    @classmethod
    def build(cls, settings: PooledSettings, task: TaskInfo) -> PooledNetwork:  # type: ignore[override]
        """Returns a summary network with a flow behind it, told the level or not."""
        return PooledNetwork(on_task(settings, task), task.x_shape, task.cells, task.has_missing)

    @classmethod
    def lesson(
        cls,
        network: PooledNetwork,
        levels: Levels,
        settings: PooledSettings,
        material: Material,
        run: session.Session,
    ) -> tuple[PooledNetwork, fitting.Data]:
        """Returns the network itself, and all rows with their levels and weights."""
        learned = levels.learned
        z, x = (
            np.concatenate(parts) for parts in zip(*(levels.prepared(r)[:2] for r in learned), strict=True)
        )
        sizes = np.array([len(rows) for rows in learned])
        share = sizes.sum() / (len(sizes) * sizes) if settings.weights == "level" else np.ones(len(sizes))
        weight, level = np.repeat(share, sizes), np.repeat(np.arange(len(sizes)), sizes)
        slope = np.concatenate([levels.slopes(rows) for rows in learned])
        (own_z, own_x, ones), own_slope = levels.held_out("dearest", settings.training.validation_rows)
        last = np.full(len(own_z), len(sizes) - 1)
        train, apart = (z, x, level, weight.astype(np.float32)), (own_z, own_x, last, ones)
        return network, fitting.Data(train, apart, (float((weight * slope).mean()), own_slope))

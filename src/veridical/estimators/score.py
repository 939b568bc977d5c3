r"""Means, quantiles and intervals by scoring rules, without a density of all parameters together.

A summary network s and heads on it minimise a mean over simulations,

.. math:: L = \sum_{jk} S(q_{jk}(s(x)), z_j) + \sum_j (m_j(s(x)) - \tilde\theta_j)^2 ,

S the rule of `networks/scores`. **Coordinates**: quantiles are learned of unconstrained, standardised z and
are the same of theta, for each z_j grows with its parameter (of parameters under a constraint they belong to
the latent numbers). Means are learned of theta itself, centred and scaled: E log theta is not log E theta.

The quantiles answer as a posterior of independent parameters, so that coverage of intervals, ranks and the
report work as for any other method. What parameters have in common is missing from it: checks of all of them
together object where that matters.

References:
    | Strictly Proper Scoring Rules, Prediction, and Estimation (Gneiting and Raftery, 2007)
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from veridical.errors import ArtifactError, TrainingError
from veridical.estimators.base import Material, TaskInfo, labelled
from veridical.estimators.flow_posterior import CLOUD_ROWS, FlowPosterior
from veridical.estimators.npe_settings import PosteriorSettings
from veridical.estimators.posterior_network import PosteriorNetwork, summarised
from veridical.estimators.score_settings import ScoreSettings
from veridical.estimators.summary_cloud import SummaryCloud
from veridical.networks import build_summary, choice
from veridical.networks.scores import Quantiles
from veridical.networks.standardised import standardised
from veridical.networks.transforms import ParameterTransform
from veridical.tasks.base import Array
from veridical.training import fitting, session


class ScoreNetwork(PosteriorNetwork):
    """A summary network with heads for quantiles, its `flow`, and for means of scaled parameters."""

    location: Tensor
    spread: Tensor

    def __init__(self, settings: Any, task: TaskInfo) -> None:
        nn.Module.__init__(self)
        known = choice.resolved(settings.summary, task.x_shape).model_dump()
        self.summary = build_summary(known, task.x_shape, has_missing=task.has_missing)
        features = self.summary.features
        self.flow = Quantiles(len(task.cells), features, settings.hidden, settings.intervals, settings.score)
        self.mean = nn.Linear(features, len(task.parameters))
        for name in ("location", "spread"):
            self.register_buffer(name, torch.zeros(len(task.parameters)))
        self.kind = settings.type

    def loss(self, *batch: Tensor) -> Tensor:
        """Returns the mean score over rows of z (B, K), x (B, *x_shape) and standardised theta (B, D).

        Without the last, the means are those of z.
        """
        z, x, *others = batch
        context = self.summary(x)
        squares = (self.mean(context) - (others[0] if others else z)).square().sum(-1).mean()
        return self.flow.loss(z, context) + squares


class Score(FlowPosterior):
    """Means and quantiles; as a posterior, of independent parameters."""

    type = "score"
    network: ScoreNetwork

    @classmethod
    def build(cls, settings: PosteriorSettings, task: TaskInfo) -> ScoreNetwork:
        """Returns a summary network with heads."""
        return ScoreNetwork(summarised(settings, task), task)

    @classmethod
    def fit(
        cls, settings: ScoreSettings, task: TaskInfo, material: Material, run: session.Session
    ) -> tuple[Self, session.TrainingResult]:
        """Returns trained heads and how their training went; see `Estimator.fit`."""
        if any(task.cells):
            raise TrainingError(
                f"estimator {settings.type!r}: parameters of task {task.name} are discrete, which have no "
                "intervals; take an `npe`."
            )
        settings = summarised(settings, task)
        rows = labelled(material, "simulations", settings.type, task)
        learn = ~rows.validation
        session.require_rows(int(learn.sum()), int(rows.validation.sum()))
        kind = settings.inputs.transform
        inputs = standardised(settings.summary, rows.x[learn], kind, has_missing=task.has_missing)
        parameters = ParameterTransform.fit(rows.theta[learn], task.bounds, task.support)
        parameters.require_inside(rows.theta)
        with session.seeded_initialisation(run):
            network = cls.build(settings, task)
        location, spread = rows.theta[learn].mean(axis=0), rows.theta[learn].std(axis=0)
        network.location.copy_(torch.from_numpy(location))
        network.spread.copy_(torch.from_numpy(spread))
        z, scaled = parameters.forward(rows.theta)[0], (rows.theta - location) / spread
        parts = z.astype(np.float32), inputs(rows.x, np.float32), scaled.astype(np.float32)
        data = fitting.Data.split(parts, learn, rows.validation, np.zeros(len(z)))
        result = fitting.fit(network, data, settings.training, run)
        found = cls(settings, task, inputs, parameters, network)
        found.cloud = SummaryCloud.of(found.summary(rows.x[learn][:CLOUD_ROWS]))
        return found, result

    def means(self, x: Array) -> Array:
        """Returns the mean of each parameter in the task's coordinates (N, D) given x (N, *x_shape)."""
        own = self.precise
        assert isinstance(own, ScoreNetwork)
        with torch.no_grad():
            means = (own.mean(self._precise_contexts(x)) * own.spread + own.location).numpy()
        if not np.isfinite(means).all():
            raise ArtifactError(
                f"estimator {self.type} of task {self.task.name}: means are not finite numbers; the network "
                "is broken. Train it again."
            )
        return means

    def intervals(self, x: Array, level: float) -> Array:
        """Returns lower and upper ends (N, D, 2) of the central intervals of a level; theirs are between
        learned quantiles where the level is not a learned one.
        """
        s = NormalDist().inv_cdf(0.5 + level / 2)
        noise = np.repeat([[-s], [s]], self.draw_noise, axis=1)
        index, context = np.repeat(np.arange(len(x)), 2), self.contexts(x)
        ends, _ = self.push(np.tile(noise, (len(x), 1)), context, index, density=False)
        return ends.reshape(len(x), 2, -1).swapaxes(1, 2)

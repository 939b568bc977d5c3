r"""J-NPE: neural posterior estimation on simulations and calibration pairs together.

Half of every batch are simulations, half labelled real data, so that the flow minimises

.. math:: L(\phi) = - \frac12 \, E_{\text{simulations}} \log q_\phi(\theta \mid x)
    - \frac12 \, \frac1m \sum_{i \le m} \log q_\phi(\theta_i \mid y_i) .

The few pairs are soon known by heart: the stopping rule decides how good this method is, and is stated here.
Every fifth pair is held out; after each round of steps comes a look at the loss on the pairs held out, and
the weights of the best look are kept. They come early, so looks are many. (In a prototype with 50 pairs the
last weights were worse than these by four nats.)

Data are standardised with the mean and variance of the same half-and-half mixture, parameters with those of
the simulations.

References:
    | Addressing Misspecification in Simulation-based Inference through Data-driven Calibration
    | (Wehenkel et al., 2024), baseline "J-NPE", https://arxiv.org/abs/2405.08719
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from veridical.estimators.base import Material, TaskInfo, labelled
from veridical.estimators.flow_posterior import CLOUD_ROWS, FlowPosterior
from veridical.estimators.joint_settings import JNPESettings
from veridical.estimators.posterior_network import PosteriorNetwork, on_task
from veridical.estimators.regression import held_out
from veridical.estimators.summary_cloud import SummaryCloud
from veridical.networks import trainable
from veridical.networks.standardised import standardised
from veridical.networks.transforms import ParameterTransform
from veridical.tasks.base import Array
from veridical.training import fitting, session


class HalfAndHalf(trainable.Trainable):
    """A posterior network that learns from a batch of simulations and as many calibration pairs.

    A training batch is standardised theta (B, D), x (B, *x_shape) of simulations, and the numbers (B,) of the
    pairs that go with them; the pairs themselves lie here. A validation batch has no numbers: it is labelled
    data of its own. Noise, where the loss needs it, comes last, for a simulation and its pair.
    """

    pairs_theta: Tensor
    pairs_x: Tensor

    def __init__(self, posterior: PosteriorNetwork, theta: Array, x: Array) -> None:
        super().__init__()
        self.posterior = posterior
        self.noise, self.keeps_last = 2 * posterior.noise, posterior.keeps_last
        self.register_buffer("pairs_theta", torch.from_numpy(theta), persistent=False)
        self.register_buffer("pairs_x", torch.from_numpy(x), persistent=False)

    def loss(self, *batch: Tensor) -> Tensor:
        """Returns the mean loss over the rows of both halves."""
        theta, x, *numbers = batch
        noise = [numbers.pop()] if self.noise else []
        for chosen in numbers:
            theta = torch.cat([theta, self.pairs_theta[chosen]])
            x = torch.cat([x, self.pairs_x[chosen]])
            noise = [torch.cat(part.chunk(2, dim=1)) for part in noise]
        return self.posterior.loss(theta, x, *noise)


class JointNPE(FlowPosterior):
    """An amortised posterior trained on simulations and labelled real data."""

    type = "j_npe"

    @classmethod
    def fit(
        cls, settings: JNPESettings, task: TaskInfo, material: Material, run: session.Session
    ) -> tuple[JointNPE, session.TrainingResult]:
        """Returns a trained posterior and how its training went; see `Estimator.fit`."""
        settings = on_task(settings, task)
        rows = labelled(material, "simulations", settings.type, task)
        pairs = labelled(material, "calibration", settings.type, task)
        learn, apart = ~rows.validation, held_out(len(pairs), settings.type)
        session.require_rows(int(learn.sum()), int(apart.sum()))
        simulated, labelled_x = rows.x[learn], pairs.x[~apart]
        kind = settings.inputs.transform
        transform = partial(standardised, settings.summary, kind=kind, has_missing=task.has_missing)
        own = transform(simulated)
        inputs = own.pooled(transform(labelled_x, like=own))
        parameters = ParameterTransform.fit(rows.theta[learn], task.bounds, task.support)
        with session.seeded_initialisation(run):
            network = cls.build(settings, task)
        z, log_slope = parameters.forward(rows.theta[learn])
        z_pairs, log_slope_pairs = parameters.forward(pairs.theta)
        both = (z_pairs.astype(np.float32), inputs(pairs.x, np.float32))
        learned = (z.astype(np.float32), inputs(simulated, np.float32), np.arange(len(z)) % len(labelled_x))
        pairs_data = fitting.Data.split(both, ~apart, apart, log_slope_pairs)
        halves = zip(learned, pairs_data.train, strict=False)
        network.regress(*(np.concatenate([a, b[learned[2]]]) for a, b in halves))
        slope = float(log_slope.mean() + pairs_data.offsets[0])
        half = {"batch_size": max(1, settings.training.batch(len(z)) // 2)}
        result = fitting.fit(
            HalfAndHalf(network, *pairs_data.train),
            fitting.Data(learned, pairs_data.validation, (0.5 * slope, pairs_data.offsets[1])),
            settings.training.model_copy(update=half),
            run,
        )
        estimator = cls(settings, task, inputs, parameters, network)
        estimator.cloud = _cloud(estimator, simulated[:CLOUD_ROWS], labelled_x)
        return estimator, result


def _cloud(estimator: JointNPE, x: Array, pairs: Array) -> SummaryCloud:
    """The cloud of the summaries of simulations and pairs, half of each."""
    simulated, labelled = estimator.summary(x), estimator.summary(pairs)
    return SummaryCloud.of(np.concatenate([simulated, np.resize(labelled, simulated.shape)]))

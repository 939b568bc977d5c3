r"""A dense network trained on calibration pairs alone: what labelled real data give without any simulator.

For standardised data it states a mean and a standard deviation of each unconstrained, standardised parameter,
and minimises the negative log density of independent normals,

.. math:: L(\phi) = \frac1n \sum_{ij} \left[ \frac{(z_{ij} - \mu_\phi(x_i)_j)^2}{2 \sigma_\phi(x_i)_j^2}
    + \log \sigma_\phi(x_i)_j \right] + \text{const},

with Adam. The standard deviations have bounds (`least_sd`): without, a few pairs are fitted so closely that
single test rows cost hundreds of nats. One pair in five is held out, and the weights with the best loss on
those are kept.

References:
    | Addressing Misspecification in Simulation-based Inference through Data-driven Calibration
    | (Wehenkel et al., 2024), baseline "MLP", https://arxiv.org/abs/2405.08719
"""

from __future__ import annotations

import math
from dataclasses import replace
from math import prod

import numpy as np
import torch
from torch import Tensor

from veridical.errors import ArtifactError, TrainingError
from veridical.estimators.base import Material, TaskInfo, labelled
from veridical.estimators.gaussian import GaussianEstimator
from veridical.estimators.regression_settings import MLPSettings
from veridical.estimators.transformed import Networked
from veridical.networks import trainable
from veridical.networks.layers import dense
from veridical.networks.transforms import InputTransform, ParameterTransform
from veridical.tasks.base import Array
from veridical.training import fitting, session

HELD_OUT = 5  # one calibration pair in so many is held out from training
MIN_PAIRS = 10
LOOK_STEPS = 5  # optimiser steps between two looks at the pairs held out


def held_out(pairs: int, method: str) -> Array:
    """Returns which of so many calibration pairs are held out from training: every fifth, shape (pairs,).

    Raises:
        TrainingError: If there are fewer than ten.
    """
    if pairs < MIN_PAIRS:
        raise TrainingError(
            f"estimator {method!r} needs at least {MIN_PAIRS} calibration pairs, got {pairs}; raise "
            "`calibration`."
        )
    return np.arange(pairs) % HELD_OUT == HELD_OUT - 1


class MomentsNetwork(trainable.Trainable):
    """Means and logarithms of standard deviations of D standardised parameters."""

    def __init__(self, features: int, hidden: list[int], parameters: int, least_sd: float) -> None:
        super().__init__()
        self.layers = dense([features, *hidden, 2 * parameters])
        self.most = -math.log(least_sd)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns means (B, D) and log standard deviations (B, D), bounded, of x (B, *x_shape)."""
        mean, raw = self.layers(x.reshape(len(x), -1)).chunk(2, dim=-1)
        return mean, self.most * torch.tanh(raw / self.most)

    def loss(self, *batch: Tensor) -> Tensor:
        """Returns the mean over rows of the negative log density of z (B, D) given x (B, *x_shape)."""
        z, x = batch
        mean, log_sd = self(x)
        terms = 0.5 * ((z - mean) * torch.exp(-log_sd)) ** 2 + log_sd + 0.5 * math.log(2 * math.pi)
        return terms.sum(dim=-1).mean()


class MLPRegression(GaussianEstimator, Networked[MomentsNetwork]):
    """Independent normal distributions in the unconstrained space, with moments from a dense network."""

    type = "mlp"

    @classmethod
    def fit(
        cls, settings: MLPSettings, task: TaskInfo, material: Material, run: session.Session
    ) -> tuple[MLPRegression, session.TrainingResult]:
        """Returns the trained regression and how its training went; see `Estimator.fit`."""
        pairs = labelled(material, "calibration", settings.type, task)
        apart = held_out(len(pairs), settings.type)
        inputs = InputTransform.fit(pairs.x[~apart], settings.inputs.transform)
        parameters = ParameterTransform.fit(pairs.theta[~apart], task.bounds, task.support)
        with session.seeded_initialisation(run):
            network = cls.build(settings, task)
        z, log_slope = parameters.forward(pairs.theta)
        both = (z.astype(np.float32), inputs(pairs.x, np.float32))
        data = fitting.Data.split(both, ~apart, apart, log_slope)
        rounds = math.ceil(settings.training.batch_size * LOOK_STEPS / len(data.train[0]))
        repeated = tuple(np.concatenate([part] * rounds) for part in data.train)  # many steps in an epoch
        result = fitting.fit(network, replace(data, train=repeated), settings.training, run)
        return cls(settings, task, inputs, parameters, network), result

    @classmethod
    def build(cls, settings: MLPSettings, task: TaskInfo) -> MomentsNetwork:
        """Returns a dense network for means and standard deviations."""
        return MomentsNetwork(prod(task.x_shape), settings.hidden, len(task.cells), settings.least_sd)

    def moments(self, x: Array) -> tuple[Array, Array]:
        """Returns means (N, D) and diagonal factors (N, D, D) of the covariances, given x."""
        with torch.no_grad():
            mean, log_sd = self.precise(torch.from_numpy(self.inputs(x)))
        if not (torch.isfinite(mean).all() and torch.isfinite(log_sd).all()):
            raise ArtifactError(
                f"estimator {self.type} of task {self.task.name}: its moments are not finite numbers; the "
                "network is broken. Train it again."
            )
        return mean.numpy(), torch.diag_embed(torch.exp(log_sd)).numpy()

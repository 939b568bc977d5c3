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

import copy
import math
from functools import cached_property
from math import prod

import numpy as np
import torch
from torch import Tensor

from veridical.errors import ArtifactError, TrainingError, require_shape
from veridical.estimators.base import Arrays, Estimator, Material, Rows, TaskInfo
from veridical.estimators.gaussian import GaussianEstimator
from veridical.estimators.regression_settings import MLPSettings
from veridical.networks import trainable, weights
from veridical.networks.summary import dense
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


class MLPRegression(GaussianEstimator):
    """Independent normal distributions in the unconstrained space, with moments from a dense network."""

    type = "mlp"

    def __init__(
        self,
        settings: MLPSettings,
        task: TaskInfo,
        inputs: InputTransform,
        parameters: ParameterTransform,
        network: MomentsNetwork,
    ) -> None:
        self.settings = settings
        self.task = task
        self.inputs = inputs
        self.parameters = parameters
        self.network = network.eval().requires_grad_(False)

    @classmethod
    def fit(
        cls, settings: MLPSettings, task: TaskInfo, material: Material, run: session.Session
    ) -> tuple[MLPRegression, session.TrainingResult]:
        """Returns the trained regression and how its training went; see `Estimator.fit`."""
        pairs: Rows = material.require("calibration", settings.type)
        require_shape("theta", pairs.theta, len(pairs), len(task.parameters))
        require_shape("x", pairs.x, None, *task.x_shape)
        apart = held_out(len(pairs), settings.type)
        inputs = InputTransform.fit(pairs.x[~apart], settings.inputs.transform)
        parameters = ParameterTransform.fit(pairs.theta[~apart], task.bounds)
        with session.seeded_initialisation(run):
            network = cls._network(settings, task)
        z, log_slope = parameters.forward(pairs.theta)
        both = (z.astype(np.float32), inputs(pairs.x, np.float32))
        order = _repeat(np.flatnonzero(~apart), settings.training.batch_size * LOOK_STEPS)
        result = fitting.fit(
            network,
            tuple(part[order] for part in both),
            tuple(part[apart] for part in both),
            settings.training,
            run,
            offsets=(float(log_slope[~apart].mean()), float(log_slope[apart].mean())),
        )
        return cls(settings, task, inputs, parameters, network), result

    @staticmethod
    def _network(settings: MLPSettings, task: TaskInfo) -> MomentsNetwork:
        return MomentsNetwork(prod(task.x_shape), settings.hidden, len(task.parameters), settings.least_sd)

    @cached_property
    def _precise(self) -> MomentsNetwork:
        """The network in double precision."""
        return copy.deepcopy(self.network).double()

    def moments(self, x: Array) -> tuple[Array, Array]:
        """Returns means (N, D) and diagonal factors (N, D, D) of the covariances, given x."""
        with torch.no_grad():
            mean, log_sd = self._precise(torch.from_numpy(self.inputs(x)))
        if not (torch.isfinite(mean).all() and torch.isfinite(log_sd).all()):
            raise ArtifactError(
                f"estimator {self.type} of task {self.task.name}: its moments are not finite numbers; the "
                "network is broken. Train it again."
            )
        return mean.numpy(), torch.diag_embed(torch.exp(log_sd)).numpy()

    def arrays(self) -> dict[str, Array]:
        """Returns weights and statistics by name."""
        return {**weights.arrays_of(self.network), **self.inputs.arrays(), **self.parameters.arrays()}

    @classmethod
    def from_arrays(
        cls, settings: MLPSettings, task: TaskInfo, arrays: Arrays, parent: Estimator | None = None
    ) -> MLPRegression:
        """Returns the estimator that `arrays` came from.

        Raises:
            ArtifactError: If an array is missing or does not fit the settings.
        """
        with torch.random.fork_rng(devices=[]):
            network = cls._network(settings, task)
        with weights.fitting(f"estimator {cls.type}"):
            weights.load_into(network, arrays)
            inputs = InputTransform.from_arrays(settings.inputs.transform, arrays)
            parameters = ParameterTransform.from_arrays(task.bounds, arrays)
        return cls(settings, task, inputs, parameters, network)


def _repeat(rows: Array, at_least: int) -> Array:
    """Rows, repeated whole until there are enough: an epoch then holds many steps of a small data set."""
    return np.tile(rows, max(1, math.ceil(at_least / len(rows))))

r"""Neural posterior estimation with a conditional spline flow.

Simulations :math:`(\theta_i, x_i)` come from prior and simulator; the flow :math:`q_\phi` minimises

.. math:: L(\phi) = - \frac{1}{N} \sum_i \log q_\phi(\theta_i \mid s_\phi(x_i)) ,

with a summary network :math:`s_\phi` trained along with it. Its minimum over all q is the posterior.

References:
    | Automatic Posterior Transformation for Likelihood-Free Inference (Greenberg et al., 2019)
    | https://arxiv.org/abs/1905.07488
    | BayesFlow: Learning Complex Stochastic Models With Invertible Neural Networks (Radev et al., 2020)
    | https://arxiv.org/abs/2003.06281
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from veridical import training
from veridical.errors import ArtifactError, require_shape
from veridical.estimators.base import Estimator, SummaryCloud, TaskInfo
from veridical.estimators.settings import NPESettings
from veridical.networks import build_summary
from veridical.networks.flow import SplineFlow
from veridical.networks.transforms import InputTransform, ParameterTransform
from veridical.tasks.base import Array

ROWS = 8192  # rows that go through the network at once, outside training
CLOUD_ROWS = 10_000  # training rows behind the mean and covariance of the summaries


class PosteriorNetwork(training.Trainable):
    """A summary network and a flow; its loss is the negative log density of standardised parameters."""

    def __init__(self, settings: NPESettings, x_shape: tuple[int, ...], parameters: int) -> None:
        super().__init__()
        self.summary = build_summary(settings.summary.model_dump(), x_shape)
        self.flow = SplineFlow(parameters, self.summary.features, **settings.flow.model_dump())

    def loss(self, *batch: Tensor) -> Tensor:
        """Returns the mean of -log q(theta | x) over rows: standardised theta (B, D) and x (B, *x_shape)."""
        theta, x = batch
        return -self.flow(theta, self.summary(x)).mean()


class NPE(Estimator):
    """An amortised posterior q(theta | x).

    Training is in single precision. So are draws, except where single precision fails; densities at
    given parameters are in double precision.
    """

    type = "npe"

    def __init__(
        self,
        settings: NPESettings,
        task: TaskInfo,
        inputs: InputTransform,
        parameters: ParameterTransform,
        network: PosteriorNetwork,
        cloud: SummaryCloud | None = None,
    ) -> None:
        self.settings = settings
        self.task = task
        self.inputs = inputs
        self.parameters = parameters
        self.network = network.eval().requires_grad_(False)
        if cloud is not None:
            self.cloud = cloud

    @classmethod
    def fit(
        cls,
        spec: Mapping[str, Any],
        task: TaskInfo,
        theta: Array,
        x: Array,
        validation: Array,
        run: training.Run,
    ) -> tuple[NPE, training.TrainingResult]:
        """Returns a trained posterior and how its training went; see `Estimator.fit`."""
        settings = NPESettings.model_validate(dict(spec))
        require_shape("theta", theta, len(x), len(task.parameters))
        require_shape("x", x, None, *task.x_shape)
        learn = ~validation
        training.require_rows(int(learn.sum()), int(validation.sum()))
        exchangeable = settings.summary.type == "deepset"
        inputs = InputTransform.fit(x[learn], settings.inputs.transform, exchangeable=exchangeable)
        parameters = ParameterTransform.fit(theta[learn], task.bounds)
        with training.seeded_initialisation(run):
            network = PosteriorNetwork(settings, task.x_shape, len(task.parameters))
        z, log_slope = parameters.forward(theta)
        pair = (z.astype(np.float32), inputs(x, np.float32))
        result = training.fit(
            network,
            tuple(part[learn] for part in pair),
            tuple(part[validation] for part in pair),
            settings.training,
            run,
            offsets=(float(log_slope[learn].mean()), float(log_slope[validation].mean())),
        )
        estimator = cls(settings, task, inputs, parameters, network)
        estimator.cloud = SummaryCloud.of(estimator.summary(x[learn][:CLOUD_ROWS]))
        return estimator, result

    def sample_and_log_prob(self, x: Array, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Returns n posterior draws (n, N, D) for each x (N, *x_shape) and their log densities (n, N)."""
        d = len(self.task.parameters)
        inputs = torch.from_numpy(self.inputs(x, np.float32))
        draws, log_p = np.empty((len(x) * n, d)), np.empty(len(x) * n)
        with torch.no_grad():
            context = torch.cat([self.network.summary(part) for part in inputs.split(ROWS)])
        for first in range(0, len(draws), ROWS):
            rows = np.arange(first, min(first + ROWS, len(draws)))
            noise = rng.standard_normal((len(rows), d))
            z, density = self._push(noise, context, torch.from_numpy(rows // n))
            draws[rows] = self.parameters.inverse(z)
            log_p[rows] = density + self.parameters.forward(draws[rows])[1]
        return draws.reshape(len(x), n, d).swapaxes(0, 1), log_p.reshape(len(x), n).T

    def _push(self, noise: Array, context: Tensor, index: Tensor) -> tuple[Array, Array]:
        """Pushes noise (B, D) through the flow; rows where single precision fails are done in double."""
        first, last = int(index[0]), int(index[-1]) + 1
        context, index = context[first:last], index - first
        z32, density32 = self.network.flow.push(torch.from_numpy(noise).float(), context, index)
        z, density = z32.numpy().astype(float), density32.numpy().astype(float)
        failed = ~(np.isfinite(z).all(axis=1) & np.isfinite(density))
        if failed.any():
            again = torch.from_numpy(failed)
            push = self._precise.flow.push
            z64, density64 = push(torch.from_numpy(noise[failed]), context.double(), index[again])
            z[failed], density[failed] = z64.numpy(), density64.numpy()
        if not (np.isfinite(z).all() and np.isfinite(density).all()):
            raise ArtifactError(
                f"estimator {self.type} of task {self.task.name}: draws are not finite numbers; "
                "the network is broken, or x is far outside of what it was trained on. Train it again."
            )
        return z, density

    def log_prob(self, theta: Array, x: Array) -> Array:
        """Returns log densities (..., N) of theta (..., N, D) given x (N, *x_shape); -inf out of bounds."""
        theta = np.asarray(theta, float)
        require_shape("theta", theta, *[None] * (theta.ndim - 2), len(x), len(self.task.parameters))
        z, log_slope = self.parameters.forward(theta)
        rows = z.reshape(-1, z.shape[-1])
        out: Array = np.empty(len(rows))
        with torch.no_grad():
            context = self._contexts(x)
            for first in range(0, len(rows), ROWS):
                index = torch.arange(first, min(first + ROWS, len(rows)))
                part = torch.from_numpy(rows[first : first + ROWS])
                out[first : first + ROWS] = self._precise.flow(part, context[index % len(x)]).numpy()
        out = out.reshape(log_slope.shape)
        if np.isnan(out).any():
            raise ArtifactError(
                f"estimator {self.type} of task {self.task.name}: {int(np.isnan(out).sum())} log densities "
                "are not numbers; the network is broken. Train it again."
            )
        return out + log_slope

    def summary(self, x: Array) -> Array:
        """Returns summaries (N, K) of x (N, *x_shape)."""
        with torch.no_grad():
            return self._contexts(x).numpy()

    def _contexts(self, x: Array) -> Tensor:
        inputs = torch.from_numpy(self.inputs(x))
        return torch.cat([self._precise.summary(part) for part in inputs.split(ROWS)])

    @cached_property
    def _precise(self) -> PosteriorNetwork:
        """The network in double precision."""
        return copy.deepcopy(self.network).double()

    def transforms(self) -> dict[str, Any]:
        """Returns what happens to x and to each parameter around the network."""
        kinds = dict(zip(self.task.parameters, self.parameters.kinds, strict=True))
        return {"x": [self.inputs.kind, "standardise"], "parameters": kinds}

    def arrays(self) -> dict[str, Array]:
        """Returns weights and statistics by name."""
        weights = {f"network.{name}": t.cpu().numpy() for name, t in self.network.state_dict().items()}
        cloud = {
            "cloud.mean": self.cloud.mean,
            "cloud.covariance": self.cloud.covariance,
            "cloud.rows": np.array(self.cloud.rows),
        }
        return {**weights, **self.inputs.arrays(), **self.parameters.arrays(), **cloud}

    @classmethod
    def from_arrays(cls, spec: Mapping[str, Any], task: TaskInfo, arrays: Mapping[str, Array]) -> NPE:
        """Returns the estimator that `arrays` came from.

        Raises:
            ArtifactError: If an array is missing or does not fit the settings.
        """
        settings = NPESettings.model_validate(dict(spec))
        with torch.random.fork_rng(devices=[]):
            network = PosteriorNetwork(settings, task.x_shape, len(task.parameters))
        prefix = "network."
        weights = {k.removeprefix(prefix): torch.tensor(v) for k, v in arrays.items() if k.startswith(prefix)}
        try:
            network.load_state_dict(weights)
            inputs = InputTransform.from_arrays(settings.inputs.transform, arrays)
            parameters = ParameterTransform.from_arrays(task.bounds, arrays)
            cloud = SummaryCloud(arrays["cloud.mean"], arrays["cloud.covariance"], int(arrays["cloud.rows"]))
        except (RuntimeError, KeyError) as error:
            raise ArtifactError(f"estimator {cls.type}: weights do not fit the settings: {error}") from error
        return cls(settings, task, inputs, parameters, network, cloud)

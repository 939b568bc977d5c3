"""Posteriors that are one conditional density behind a summary network: draws, densities, summaries."""

from __future__ import annotations

import copy
from collections.abc import Callable
from math import prod
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from veridical import seeds
from veridical.errors import ArtifactError, TaskError, require_shape
from veridical.estimators.base import TaskInfo
from veridical.estimators.encoded import Encoded
from veridical.estimators.npe_settings import PosteriorSettings
from veridical.estimators.posterior_network import PosteriorNetwork, on_task
from veridical.estimators.transformed import Networked
from veridical.networks.density import Density
from veridical.networks.layers import rows_at_once
from veridical.tasks.base import Array

ROWS = 8192  # draws that go through the flow at once
CLOUD_ROWS = 10_000  # training rows behind the mean and covariance of the summaries


class FlowPosterior(Encoded, Networked[PosteriorNetwork]):
    """An amortised posterior q(theta | x) by a summary network and a density, its `flow`.

    Training is in single precision. So are draws, except where single precision fails; densities at
    given parameters are in double precision.
    """

    @classmethod
    def build(cls, settings: PosteriorSettings, task: TaskInfo) -> PosteriorNetwork:
        """Returns a summary network with a flow behind it."""
        return PosteriorNetwork(on_task(settings, task), task.x_shape, task.cells, task.has_missing)

    @property
    def draw_noise(self) -> int:
        """Standard normal numbers that a draw is made of."""
        return self.network.flow.draw_noise

    @property
    def has_density(self) -> bool:
        """Whether the flow knows its density."""
        return self.network.flow.has_density

    def sample_and_log_prob(self, x: Array, n: int, rng: np.random.Generator) -> tuple[Array, Array | None]:
        """Returns n posterior draws (n, N, D) for each x (N, *x_shape) and their log densities (n, N)."""
        return self._sample(x, n, rng, self.has_density)

    def sample(self, x: Array, n: int, rng: np.random.Generator) -> Array:
        """Returns n posterior draws (n, N, D) for each x (N, *x_shape)."""
        return self._sample(x, n, rng, False)[0]

    def sample_alike(self, x: Array, n: int, seed: int) -> Array:
        """Returns n draws (n, N, D) for each x (N, *x_shape), of the same noise, in double precision."""
        noise = torch.from_numpy(
            seeds.generator(seed, "infer", "alike").standard_normal((n, self.draw_noise))
        )
        draws = np.empty((len(x), n, len(self.task.parameters)))
        step = max(1, ROWS // n)
        with torch.no_grad():
            for first in range(0, len(x), step):
                context = self._precise_contexts(x[first : first + step])
                index = torch.arange(len(context)).repeat_interleave(n)
                z, _ = self.precise.flow.push(noise.repeat(len(context), 1), context, index, False)
                draws[first : first + step] = self.parameters.inverse(z.numpy()).reshape(len(context), n, -1)
        return draws.swapaxes(0, 1)

    def _sample(self, x: Array, n: int, rng: np.random.Generator, wanted: bool) -> tuple[Array, Array | None]:
        d, k = len(self.task.parameters), self.draw_noise
        context = self.contexts(x)
        draws, log_p = np.empty((len(x) * n, d)), np.empty(len(x) * n)
        for first in range(0, len(draws), ROWS):
            rows = np.arange(first, min(first + ROWS, len(draws)))
            noise = rng.standard_normal((len(rows), k))
            draws[rows], density = self.push(noise, context, rows // n, wanted)
            log_p[rows] = np.nan if density is None else density
        return draws.reshape(len(x), n, d).swapaxes(0, 1), log_p.reshape(len(x), n).T if wanted else None

    @property
    def encoder(self) -> nn.Module | None:
        """The summary network; None where the flow sees all numbers of x."""
        return None if self.settings.summary.type == "none" else self.network.summary

    def with_encoder(self, encoder: nn.Module) -> Self:
        """Returns the posterior of the same flow behind another summary network."""
        network = copy.deepcopy(self.network)
        network.summary = encoder
        return type(self)(self.settings, self.task, self.inputs, self.parameters, network, self.cloud)

    def contexts(self, x: Array) -> Tensor:
        """Returns what the flow sees of x (N, *x_shape), in single precision, shape (N, K)."""
        inputs = torch.from_numpy(self.inputs(x, np.float32))
        with torch.no_grad():
            return torch.cat([self.network.summary(part) for part in inputs.split(rows_at_once(x.shape[1:]))])

    def push(
        self, noise: Array, context: Tensor, index: Array, density: bool = True
    ) -> tuple[Array, Array | None]:
        """Returns draws (B, D) and their log densities (B,) from base noise; see `Encoded.push`."""
        density = density and self.has_density
        z, log_p = self._push(noise, context, torch.from_numpy(index), density)
        draws = self.parameters.inverse(z)
        return draws, log_p + self.parameters.forward(draws)[1] if density else None

    def _push(self, noise: Array, context: Tensor, index: Tensor, wanted: bool) -> tuple[Array, Array]:
        """Pushes noise through the flow; rows where single precision fails are done in double.

        Densities that are not wanted may be anything.
        """
        first, last = int(index[0]), int(index[-1]) + 1
        context, index = context[first:last], index - first

        def push(flow: Density, noise: Tensor, context: Tensor, index: Tensor) -> list[Array]:
            z, found = flow.push(noise, context, index, wanted)
            parts = z, torch.zeros(len(z)) if found is None else found
            return [part.numpy().astype(float) for part in parts]

        z, density = push(self.network.flow, torch.from_numpy(noise).float(), context, index)
        failed = ~(np.isfinite(z).all(axis=1) & np.isfinite(density))
        if failed.any():
            again = torch.from_numpy(failed)
            flow, doubled = self.precise.flow, torch.from_numpy(noise[failed])
            z[failed], density[failed] = push(flow, doubled, context.double(), index[again])
        if not (np.isfinite(z).all() and np.isfinite(density).all()):
            raise ArtifactError(
                f"estimator {self.type} of task {self.task.name}: draws are not finite numbers; "
                "the network is broken, or x is far outside of what it was trained on. Train it again."
            )
        return z, density

    def density(self, z: Tensor, context: Tensor) -> Tensor:
        """Returns log densities (B,) of z (B, D) given summaries (B, K), in double precision."""
        return self.precise.flow.log_prob(z, context)

    def density_error(self, z: Tensor, context: Tensor) -> Tensor:
        """Returns how far each of the log densities may be off by its own approximation, (B,)."""
        return self.precise.flow.log_prob_error(z, context)

    def log_prob(self, theta: Array, x: Array) -> Array:
        """Returns log densities (..., N) of theta (..., N, D) given x (N, *x_shape); -inf out of bounds."""
        log_p, log_slope = self._evaluated(self.density, theta, x)
        if np.isnan(log_p).any():
            raise ArtifactError(
                f"estimator {self.type} of task {self.task.name}: {int(np.isnan(log_p).sum())} log densities "
                "are not numbers; the network is broken. Train it again."
            )
        return log_p + log_slope

    def base(self, theta: Array, x: Array) -> Array:
        """Returns the normal numbers (..., N, D) that theta (..., N, D) would be made of given x.

        Of theta out of bounds they mean nothing.
        """
        theta = np.asarray(theta, float)
        require_shape("theta", theta, *[None] * (theta.ndim - 2), len(x), len(self.task.parameters))
        z = self.parameters.forward(theta)[0]
        rows = torch.from_numpy(z.reshape(-1, z.shape[-1]))
        with torch.no_grad():
            context = self._precise_contexts(x)
            found = [
                self.precise.flow.base(part, context[(first + torch.arange(len(part))) % len(x)])[0]
                for first, part in zip(range(0, len(rows), ROWS), rows.split(ROWS), strict=True)
            ]
        return torch.cat(found).numpy().reshape(z.shape)

    def quick_log_prob(self, theta: Array, x: Array) -> Array:
        """Returns what `log_prob` does, in single precision; where that fails, -inf."""
        log_p, log_slope = self._evaluated(self.network.flow.log_prob, theta, x, precise=False)
        return np.where(np.isnan(log_p), -np.inf, log_p) + log_slope

    def log_prob_error(self, theta: Array, x: Array) -> Array:
        """Returns how far each of the log densities (..., N) may be off; zero where they are exact."""
        return self._evaluated(self.density_error, theta, x)[0]

    def _evaluated(
        self, function: Callable[[Tensor, Tensor], Tensor], theta: Array, x: Array, precise: bool = True
    ) -> tuple[Array, Array]:
        """A function of z and summaries at theta (..., N, D) and x, and the log slopes of z, (..., N)."""
        if not self.has_density:
            raise TaskError(
                f"estimator {self.type} of task {self.task.name}: a flow of type {self.network.kind!r} gives "
                "draws without densities; take one that has them, such as spline."
            )
        theta = np.asarray(theta, float)
        require_shape("theta", theta, *[None] * (theta.ndim - 2), len(x), len(self.task.parameters))
        z, log_slope = self.parameters.forward(theta)
        rows = z.reshape(-1, z.shape[-1])
        out: Array = np.empty(len(rows))
        with torch.no_grad():
            context = self._precise_contexts(x) if precise else self.contexts(x)
            for first in range(0, len(rows), ROWS):
                index = torch.arange(first, min(first + ROWS, len(rows)))
                part = torch.from_numpy(rows[first : first + ROWS]).to(context.dtype)
                out[first : first + ROWS] = function(part, context[index % len(x)]).numpy()
        return out.reshape(log_slope.shape), log_slope

    def summary(self, x: Array) -> Array:
        """Returns summaries (N, K) of x (N, *x_shape); where these are x itself, no predictions from it."""
        with torch.no_grad():
            found = self._precise_contexts(x).numpy()
        return found if self.encoder is not None else found[:, : prod(self.task.x_shape)]

    def _precise_contexts(self, x: Array) -> Tensor:
        inputs = torch.from_numpy(self.inputs(x))
        return torch.cat([self.precise.summary(part) for part in inputs.split(rows_at_once(x.shape[1:]))])

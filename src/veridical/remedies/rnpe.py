r"""RNPE: the posterior of what an observation would be without errors that the simulator does not know of.

Observed numbers y are those of a simulation x with an error each, spike or slab (see
`inference/spike_and_slab`), in units of the simulations. With a density q of simulated x,

.. math:: p(x \mid y) \propto q(x) \prod_j p(y_j \mid x_j) , \qquad
    p(\theta \mid y) \approx \frac1M \sum_m q(\theta \mid x_m) , \quad x_m \sim p(x \mid y) ,

whatever posterior :math:`q(\theta \mid x)` it wraps. Which of spike and slab an error came from is summed out
while sampling (see `inference/annealed`), and is told after that: the mean over m of

.. math:: P(z_j = 1 \mid y_j - x_{mj})

is the probability that the simulator cannot make number j of the observation. Where everything fits it stays
near or below the prior share. It is criticism of single numbers against all others, so it wants a few
summaries that mean something: at most 100, none of them whole numbers with steps wider than the spike (add
uniform noise to those).

x_m depend on y and a seed alone; they are the same for draws and densities. Their independent populations are
compared by R-hat, and by how far the probabilities differ between them. Where they differ, numbers of x that
lie on a thin sheet are the likely reason: `thorough`.

References:
    | Robust Neural Posterior Estimation and Statistical Model Criticism (Ward et al., 2022)
    | https://arxiv.org/abs/2210.06564
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import torch
from scipy.special import logsumexp
from torch import Tensor

from veridical import seeds
from veridical.bank.shards import digest
from veridical.errors import ArtifactError, TrainingError, require_shape
from veridical.estimators.base import Arrays, Estimator, Material, TaskInfo, labelled
from veridical.inference import annealed
from veridical.inference.convergence import rank_rhat
from veridical.inference.spike_and_slab import SpikeAndSlab
from veridical.networks import build_density, weights
from veridical.networks.trainable import Trainable
from veridical.networks.transforms import InputTransform
from veridical.remedies.rnpe_settings import RNPESettings
from veridical.tasks.base import Array
from veridical.training import fitting, session

ROWS = 65_536  # evaluations of the density at once


class Marginal(Trainable):
    """A density of standardised x."""

    def __init__(self, settings: RNPESettings, numbers: int) -> None:
        super().__init__()
        self.flow = build_density(settings.flow.model_dump(), numbers, 1)  # given one number, zero

    def log_prob(self, x: Tensor) -> Tensor:
        """Returns log densities (B,) of x (B, K)."""
        found: Tensor = self.flow.log_prob(x, torch.zeros_like(x[:, :1]))
        return found

    def loss(self, *batch: Tensor) -> Tensor:
        """Returns the mean over rows of -log q(x), of x (B, K)."""
        return -self.log_prob(batch[0]).mean()


@dataclass(frozen=True)
class Denoised:
    """What one observation would be without its errors.

    Attributes:
        x: Draws, shape (M, *x_shape), one population after the other.
        slab: P(z = 1) of each number by each population, shape (populations, K).
        rhat: Of each number over the populations, shape (K,).
    """

    x: Array
    slab: Array
    rhat: Array


@dataclass(eq=False)
class RNPE(Estimator):
    """The answers of `parent` to an observation without its errors.

    Attributes:
        inputs: Mean and spread of simulated x, flat.
        marginal: The density of standardised x.
        seed: Of the draws of x.
    """

    type = "rnpe"
    settings: RNPESettings
    task: TaskInfo
    inputs: InputTransform
    marginal: Marginal
    seed: int
    parent: Estimator
    _kept: dict[str, Denoised] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.marginal = self.marginal.eval().double().requires_grad_(False)
        self.cloud, self.summarisers = self.parent.cloud, self.parent.summarisers
        own = self.settings
        self.errors = SpikeAndSlab(own.share, own.spike, own.slab)

    @classmethod
    def fit(
        cls, settings: RNPESettings, task: TaskInfo, material: Material, run: session.Session
    ) -> tuple[RNPE, session.TrainingResult]:
        """Returns the remedy around `material.parent` and how the training of the density of x went.

        Raises:
            TrainingError: If x has too many numbers, or one that does not vary.
        """
        parent: Estimator = material.require("parent", settings.type)
        rows = labelled(material, "simulations", settings.type, task)
        learn, x = ~rows.validation, rows.x.reshape(len(rows), -1)
        session.require_rows(int(learn.sum()), int(rows.validation.sum()))
        still = np.flatnonzero((x == x[0]).all(axis=0))
        wrong = settings.unsuited(task) or (
            f"number {still[0]} of x takes one value in all rows, and has no density; leave it out of x"
            if len(still)
            else None
        )
        if wrong:
            raise TrainingError(f"remedy {settings.type!r}: {wrong}.")
        inputs = InputTransform.fit(x[learn], "none")
        with session.seeded_initialisation(run):
            network = Marginal(settings, x.shape[1])
        data = fitting.Data.split(
            (inputs(x, np.float32),), learn, rows.validation, np.full(len(x), -np.log(inputs.scale).sum())
        )
        result = fitting.fit(network, data, settings.training, run)
        seed = seeds.integer(run.root, "remedy", *run.path)
        return cls(settings, task, inputs, network, seed, parent), result

    @property
    def has_density(self) -> bool:
        """As what it wraps."""
        return self.parent.has_density

    # ---- data without errors -----------------------------------------------------------------------

    def denoised(self, x: Array) -> list[Denoised]:
        """Returns what each x (N, *x_shape) would be without its errors; each depends on nothing else."""
        keys = [digest([np.asarray(one, float)]) for one in x]
        new = {key: one for key, one in zip(keys, x, strict=True) if key not in self._kept}
        if new:
            self._kept |= dict(zip(new, self._denoise(np.stack([*new.values()]), [*new]), strict=True))
        return [self._kept[key] for key in keys]

    def _denoise(self, x: Array, keys: list[str]) -> list[Denoised]:
        own, k = self.settings, prod(self.task.x_shape)
        y = self.inputs(x.reshape(len(x), k))
        rngs = [
            rng
            for key in keys
            for rng in seeds.generator(self.seed, "infer", self.type, key).spawn(own.populations)
        ]

        def likelihood(u: Array, rows: Array) -> tuple[Array, Array]:
            error, slope = self.errors.error(u)
            log_q, gradient = self._log_marginal(y[rows // own.populations] - error)
            return log_q, -gradient * slope

        course = annealed.THOROUGH if own.thorough else annealed.QUICK
        u = annealed.sample(likelihood, k, own.particles, rngs, course)
        errors = self.errors.error(u)[0].reshape(len(x), own.populations, own.particles, k)
        clean = (y[:, None, None] - errors) * self.inputs.scale + self.inputs.mean
        slab = self.errors.slab_probability(errors).mean(axis=2)
        return [
            Denoised(
                clean[i].reshape(-1, *self.task.x_shape),
                slab[i],
                np.array([rank_rhat(clean[i, :, :, j]) for j in range(k)]),
            )
            for i in range(len(x))
        ]

    def _log_marginal(self, x: Array) -> tuple[Array, Array]:
        """Log densities (B,) of standardised x (B, K) and their gradients (B, K)."""
        log_q, gradient = np.empty(len(x)), np.empty(x.shape)
        for first in range(0, len(x), ROWS):
            part = slice(first, first + ROWS)
            at = torch.from_numpy(x[part]).requires_grad_(True)
            found = self.marginal.log_prob(at)
            (slope,) = torch.autograd.grad(found.sum(), at)
            log_q[part], gradient[part] = found.detach().numpy(), slope.numpy()
        if np.isnan(log_q).all():
            raise ArtifactError(
                f"remedy {self.type}: densities of x are not numbers; the network is broken. Train it again."
            )
        return log_q, gradient

    def extras(self, x: Array) -> dict[str, Array]:
        """Returns what it says of each number of x (N, *x_shape), shape (N, K) each.

        `misspecified`: the probability that the simulator cannot make it; `misspecified_sd`: its standard
        deviation between populations; `misspecified_rhat`: R-hat of the number without its error.
        """
        found = self.denoised(x)
        return {
            "misspecified": np.stack([each.slab.mean(axis=0) for each in found]),
            "misspecified_sd": np.stack([each.slab.std(axis=0, ddof=1) for each in found]),
            "misspecified_rhat": np.stack([each.rhat for each in found]),
        }

    # ---- answers -------------------------------------------------------------------------------------

    def sample_and_log_prob(self, x: Array, n: int, rng: np.random.Generator) -> tuple[Array, Array | None]:
        """Returns n draws (n, N, D) for each x (N, *x_shape) and their log densities (n, N)."""
        draws = self.sample(x, n, rng)
        return draws, self.log_prob(draws, x) if self.has_density else None

    def sample(self, x: Array, n: int, rng: np.random.Generator) -> Array:
        """Returns n draws (n, N, D) for each x (N, *x_shape), from all components as evenly as can be."""
        draws = np.empty((n, len(x), len(self.task.parameters)))
        for i, each in enumerate(self.denoised(x)):
            many = self.parent.sample(each.x, -(-n // len(each.x)), rng)
            flat = many.reshape(-1, many.shape[-1])
            draws[:, i] = flat[rng.permutation(len(flat))[:n]]
        return draws

    def log_prob(self, theta: Array, x: Array) -> Array:
        """Returns log densities (..., N) of theta (..., N, D) given x (N, *x_shape); -inf out of bounds."""
        theta = np.asarray(theta, float)
        require_shape("theta", theta, *[None] * (theta.ndim - 2), len(x), len(self.task.parameters))
        out: Array = np.empty(theta.shape[:-1])
        for i, each in enumerate(self.denoised(x)):
            rows = theta[..., i, :].reshape(-1, 1, theta.shape[-1])
            parts = self.parent.log_prob(
                np.broadcast_to(rows, (len(rows), len(each.x), rows.shape[-1])), each.x
            )
            out[..., i] = (logsumexp(parts, axis=1) - np.log(len(each.x))).reshape(theta.shape[:-2])
        return out

    def summary(self, x: Array) -> Array | None:
        """Returns those of the parent, of x as it is."""
        return self.parent.summary(x)

    def every_summary(self, x: Array) -> Array | None:
        """Returns those of the parent, of x as it is."""
        return self.parent.every_summary(x)

    def transforms(self) -> dict[str, Any]:
        """Returns those of the parent."""
        return self.parent.transforms()

    def arrays(self) -> dict[str, Array]:
        """Returns the density of x, its transform and the seed."""
        own = weights.arrays_of(self.marginal.float())
        self.marginal.double()
        return {**own, **self.inputs.arrays(), "seed": np.array(self.seed)}

    @classmethod
    def from_arrays(
        cls, settings: Any, task: TaskInfo, arrays: Arrays, parent: Estimator | None = None
    ) -> RNPE:
        """Returns the remedy that `arrays` came from; see `Estimator.from_arrays`."""
        if parent is None:
            raise ArtifactError(f"remedy {cls.type}: its parent is missing.")
        with torch.random.fork_rng(devices=[]):
            network = Marginal(settings, prod(task.x_shape))
        with weights.fitting(f"remedy {cls.type}"):
            weights.load_into(network, arrays)
            inputs, seed = InputTransform.from_arrays("none", arrays), int(arrays["seed"])
        return cls(settings, task, inputs, network, seed, parent)

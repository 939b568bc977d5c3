r"""RSNL: the posterior of a learned likelihood in which each number of an observation may be shifted.

With the standardised numbers y of an observation, as the likelihood q sees them,

.. math:: p(\theta, \Gamma \mid y) \propto p(\theta) \, q(y - \Gamma \mid \theta) \prod_j p(\Gamma_j) ,
    \qquad \Gamma_j \sim \mathrm{Laplace}(0, s_j) , \quad s_j = \max(r |y_j|, s_0) .

A number that no parameter explains is shifted to where one does; of all others the shifts keep to their
prior, or are smaller. It is the published remedy without its rounds: the likelihood is learned once, from
draws of the prior.

Chains move in z and :math:`u_j \sim N(0, 1)`, with :math:`\Gamma_j = s_j F^{-1}(\Phi(u_j))` and F the
distribution of a Laplace number of scale one: the walkers of the `nle`, in more dimensions. What is told of
the shifts comes from chains that depend on the observation and a seed alone.

References:
    | Misspecification-robust Sequential Neural Likelihood for Simulation-based Inference (Kelly et al., 2023)
    | https://arxiv.org/abs/2301.13368
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NoReturn

import numpy as np
import torch
from scipy.special import log_ndtr, ndtri
from scipy.stats import norm
from torch import Tensor

from veridical import seeds
from veridical.bank.shards import digest
from veridical.errors import ArtifactError, TaskError, TrainingError
from veridical.estimators.base import Arrays, Estimator, Material, TaskInfo
from veridical.estimators.nle import NLE
from veridical.estimators.sampled import ROWS, WALKERS
from veridical.inference.weighted import log_density
from veridical.networks.transforms import ParameterTransform
from veridical.remedies.rsnl_settings import RSNLSettings
from veridical.tasks.base import Array, Prior
from veridical.training.session import Session

MEDIAN = float(ndtri(0.75))  # of |u|


def laplace(u: Array) -> Array:
    """Returns Laplace numbers of scale one of standard normal ones u."""
    return -np.sign(u) * (np.log(2) + log_ndtr(-np.abs(u)))


@dataclass(frozen=True)
class WithShifts:
    """Parameters with the normal numbers of shifts behind them.

    Attributes:
        parameters: Their transform alone.
        sizes: How many they are, D, and how many latent numbers they have, K.
    """

    parameters: ParameterTransform
    sizes: tuple[int, int]

    def forward(self, theta: Array) -> tuple[Array, Array]:
        """Returns z (..., K + C) and log slopes (...) of theta (..., D + C)."""
        z, log_slope = self.parameters.forward(theta[..., : self.sizes[0]])
        return np.concatenate([z, theta[..., self.sizes[0] :]], axis=-1), log_slope

    def inverse(self, z: Array) -> Array:
        """Returns theta (..., D + C) of z (..., K + C)."""
        theta = self.parameters.inverse(z[..., : self.sizes[1]])
        return np.concatenate([theta, z[..., self.sizes[1] :]], axis=-1)


@dataclass(frozen=True)
class PriorWithShifts:
    """The prior of parameters, and N(0, 1) for each number behind them.

    Attributes:
        prior: Of the parameters.
        sizes: D, and the number of others, C.
    """

    prior: Prior
    sizes: tuple[int, int]

    def sample(self, rng: np.random.Generator, n: int) -> Array:
        """Returns n draws (n, D + C)."""
        return np.concatenate([self.prior.sample(rng, n), rng.standard_normal((n, self.sizes[1]))], axis=1)

    def log_prob(self, theta: Array) -> Array:
        """Returns log densities (N,) of theta (N, D + C)."""
        d = self.sizes[0]
        return log_density(self.prior, theta[:, :d]) + norm.logpdf(theta[:, d:]).sum(axis=1)


class Shifting(NLE):
    """A likelihood of parameters and of shifts; `settings` are those of the remedy, beside the parent's."""

    parent: NLE

    @classmethod
    def of(cls, parent: NLE, settings: RSNLSettings) -> Shifting:
        """Returns that of a trained likelihood."""
        d, k, c = (
            len(parent.task.parameters),
            len(parent.task.cells),
            prod(parent.task.x_shape),
        )
        transform: Any = WithShifts(parent.parameters, (d, k))
        prior = PriorWithShifts(parent.prior, (d, c))
        found = cls(settings, parent.task, parent.inputs, transform, parent.network, prior=prior)
        found.parent = parent
        return found

    def _prior_draws(self, n: int, rng: np.random.Generator) -> Array:
        plain = self.parent._prior_draws(n, rng)
        return np.concatenate([plain, rng.standard_normal((n, prod(self.task.x_shape)))], axis=1)

    def _contexts(self, x: Array) -> Tensor:
        return self.parent._contexts(x)

    def scales(self, x: Array) -> Array:
        """Returns the scales (N, C) of the shifts of x (N, *x_shape)."""
        y = self._contexts(x)[:, 0].numpy()
        return np.maximum(self.settings.share * np.abs(y), self.settings.least)

    def _log_likelihood(self, x: Array) -> Callable[[Array, Array], Array]:
        """The log likelihoods (B,) of z and u (B, K + C), each given the row of x with its number."""
        network, y, scales, k = (
            self.parent.precise,
            self._contexts(x)[:, 0],
            self.scales(x),
            len(self.task.cells),
        )

        def function(z: Array, rows: Array) -> Array:
            out: Array = np.empty(len(z))
            with torch.no_grad():
                for first in range(0, len(z), ROWS):
                    part = slice(first, first + ROWS)
                    shift = scales[rows[part]] * laplace(z[part, k:])
                    at = y[torch.from_numpy(rows[part])] - torch.from_numpy(shift)
                    out[part] = network.log_likelihood(torch.from_numpy(z[part, :k]), at).numpy()
            if np.isnan(out).any():
                raise ArtifactError(
                    f"remedy rsnl: {int(np.isnan(out).sum())} log likelihoods are not numbers; the network "
                    "is broken. Train it again."
                )
            return out

        return function

    def shifts(self, x: Array, n: int, rngs: Sequence[np.random.Generator]) -> Array:
        """Returns n draws u (n, N, C) of the normal numbers behind the shifts of x, by its own generators."""
        sampling, k = self.settings.sampling, len(self.task.cells)
        size = max(1, WALKERS // (sampling.ensembles * sampling.walkers))
        parts = [
            self._by_chains(x[first : first + size], n, rngs[first : first + size], sampling)[0]
            for first in range(0, len(x), size)
        ]
        return np.concatenate(parts)[..., k:].swapaxes(0, 1)


@dataclass(eq=False)
class RSNL(Estimator):
    """The posterior of a likelihood whose data may be shifted.

    Attributes:
        seed: Of the chains that shifts are told from.
        parent: The likelihood.
    """

    type = "rsnl"
    settings: RSNLSettings
    task: TaskInfo
    seed: int
    parent: NLE

    def __post_init__(self) -> None:
        self.cloud, self.summarisers = self.parent.cloud, self.parent.summarisers
        self.joint = Shifting.of(self.parent, self.settings)

    @classmethod
    def fit(
        cls, settings: RSNLSettings, task: TaskInfo, material: Material, run: Session
    ) -> tuple[RSNL, None]:
        """Returns the remedy around `material.parent`; there is nothing to train.

        Raises:
            TrainingError: If the parent is no density of single numbers, or walkers are too few.
        """
        parent: Any = material.require("parent", settings.type)
        if not isinstance(parent, NLE):
            raise TrainingError(f"remedy {settings.type!r}: expected an `nle`, got a method {parent.type!r}.")
        if wrong := settings.misfit(parent.settings, parent.type) or settings.unsuited(task):
            raise TrainingError(f"remedy {settings.type!r}: {wrong}")
        return cls(settings, task, seeds.integer(run.root, "remedy", *run.path), parent), None

    @property
    def has_density(self) -> bool:
        """False: its densities lack their constants."""
        return False

    def sample_and_log_prob(self, x: Array, n: int, rng: np.random.Generator) -> tuple[Array, None]:
        """Returns n posterior draws (n, N, D) for each x (N, *x_shape), and no densities."""
        return self.drawn(x, n, rng)[0], None

    def drawn(self, x: Array, n: int, rng: np.random.Generator) -> tuple[Array, None, dict[str, Array]]:
        """Returns n draws (n, N, D) for each x (N, *x_shape), no densities, and what they are worth."""
        draws, _, told = self.joint.drawn(x, n, rng)
        d = len(self.task.parameters)
        return draws[..., :d], None, {name: each[:, :d] for name, each in told.items()}

    def log_prob(self, theta: Array, x: Array) -> NoReturn:
        """Raises TaskError: densities are not normalised."""
        raise TaskError(
            f"remedy {self.type} of task {self.task.name} gives draws without densities, for its posterior "
            "is known up to a constant."
        )

    def extras(self, x: Array) -> dict[str, Array]:
        """Returns what it says of each number of x (N, *x_shape), shape (N, C) each, as the network sees it.

        `shift`: the posterior mean of its shift; `shift_sd`: its standard deviation; `shifted`: the
        probability of a shift beyond the median of its prior, 1/2 where data say nothing of it.
        """
        rngs = [seeds.generator(self.seed, "infer", self.type, digest([np.asarray(one, float)])) for one in x]
        u = self.joint.shifts(x, self.settings.draws, rngs)
        shift = self.joint.scales(x) * laplace(u)
        return {
            "shift": shift.mean(axis=0),
            "shift_sd": shift.std(axis=0),
            "shifted": (np.abs(u) > MEDIAN).mean(axis=0),
        }

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
        """Returns the seed."""
        return {"seed": np.array(self.seed)}

    @classmethod
    def from_arrays(
        cls, settings: Any, task: TaskInfo, arrays: Arrays, parent: Estimator | None = None
    ) -> RSNL:
        """Returns the remedy that `arrays` came from; see `Estimator.from_arrays`."""
        if not isinstance(parent, NLE) or "seed" not in arrays:
            raise ArtifactError(f"remedy {cls.type}: its parent or the array 'seed' is missing.")
        return cls(settings, task, int(arrays["seed"]), parent)

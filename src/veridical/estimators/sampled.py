r"""Posteriors of methods that know a likelihood up to a constant, which Markov chains or weights then sample.

A method gives :math:`\log L(\theta, x)`, up to what does not depend on theta; its posterior is
:math:`p(\theta) \, L(\theta, x) / Z(x)` with the prior that it keeps. Z is not known, so there are draws
without densities.

**Chains** (`inference/walkers`) run in unconstrained, standardised coordinates, several independent ensembles
for each observation, R-hat and effective sizes of which go with the draws.

**Importance** takes prior draws, picked by the tempered likelihood, as centres of kernels (Student t), whose
covariance is that of the centres times Scott's factor; draws of the kernels, mixed with what is wider, get
weights and are picked by these (`inference/weighted`). Where their tail index is 0.7 or more, the observation
is refused with the reason.

References:
    | Multivariate Density Estimation (Scott, 1992)
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn, Self, TypeVar

import numpy as np
import torch
from scipy.special import gammaln, logsumexp
from torch import Tensor

from veridical import seeds
from veridical.errors import ArtifactError, TaskError, TrainingError, require_shape
from veridical.estimators.base import Arrays, Estimator, Material, Rows, TaskInfo, labelled
from veridical.estimators.prior import draws_inside, prior_arrays, prior_from, require_written
from veridical.estimators.standing import Standing
from veridical.estimators.summary_cloud import SummaryCloud
from veridical.estimators.transformed import Networked
from veridical.inference import tempering, walkers
from veridical.inference.settings import SamplingSettings
from veridical.inference.tempering import Target
from veridical.inference.weighted import FREEDOM, Fixed, Weighted, log_density, mixed, resampled
from veridical.networks import weights
from veridical.networks.layers import rows_at_once
from veridical.networks.trainable import Trainable
from veridical.networks.transforms import InputTransform, ParameterTransform
from veridical.tasks.base import Array, Prior
from veridical.training import fitting, session

ROWS = 8192  # parameters that go through the network at once
CLOUD_ROWS = 10_000  # training rows behind the mean and covariance of the summaries
WALKERS = 20_000  # of all observations that are moved together

Log = Callable[[Array, Array], Array]


class Likelihood(Estimator):
    """What knows a likelihood up to a constant; remedies ask for this where they would use an exact one."""

    prior: Prior

    @abstractmethod
    def log_likelihood(self, theta: Array, x: Array) -> Array:
        """Returns log likelihoods (..., N) of theta (..., N, D) given x (N, *x_shape).

        They lack a constant of each x, which theta does not change; -inf out of bounds.
        """


class LikelihoodNetwork(Trainable):
    """A network that gives a log likelihood of standardised parameters, up to a constant of what it sees."""

    def contexts(self, x: Tensor) -> Tensor:
        """Returns what it sees (N, C) of standardised x (N, *x_shape)."""
        return x.reshape(len(x), -1)

    def log_likelihood(self, z: Tensor, context: Tensor) -> Tensor:
        """Returns log likelihoods (B,) of z (B, K), each given its own context (B, C)."""
        raise NotImplementedError(f"{type(self).__name__} has no log_likelihood().")


Network = TypeVar("Network", bound=LikelihoodNetwork)


@dataclass(eq=False)
class SampledPosterior(Networked[Network], Likelihood):
    """A posterior by a network's log likelihood and the prior.

    Attributes:
        prior: The prior.
        seed: Of the candidates for draws by weights.
    """

    prior: Prior = None  # type: ignore[assignment]
    seed: int = 0
    parameters: ParameterTransform

    @classmethod
    def fit(
        cls, settings: Any, task: TaskInfo, material: Material, run: session.Session
    ) -> tuple[Self, session.TrainingResult]:
        """Returns a trained method and how its training went; see `Estimator.fit`."""
        if wrong := settings.unsuited(task):
            raise TrainingError(f"estimator {settings.type!r}: {wrong}")
        settings, prior = cls.on_task(settings, task), known_prior(settings, task, material)
        whole = labelled(material, "simulations", settings.type, task)
        rows = elements_of(whole, settings.independent)
        learn = ~rows.validation
        session.require_rows(int((~whole.validation).sum()), int(whole.validation.sum()))
        x = cls.learned(rows.x, settings, run)
        kind, shared = settings.inputs.transform, settings.exchangeable
        inputs = InputTransform.fit(x[learn], kind, shared=shared, has_missing=task.has_missing)
        parameters = ParameterTransform.fit(rows.theta[learn], task.bounds, task.support)
        parameters.require_inside(rows.theta)
        pair: tuple[Array, ...] = parameters.forward(rows.theta)[0].astype(np.float32), inputs(x, np.float32)
        pair += cls.beside(rows, parameters, settings, run)
        with session.seeded_initialisation(run):
            network = cls.build(settings, task)
        data = fitting.Data.split(pair, learn, rows.validation, np.zeros(len(x)))
        result = cls.teach(network, data, settings, run)
        seed = seeds.integer(run.root, "infer", *run.path)
        found = cls(settings, task, inputs, parameters, network, prior=prior, seed=seed)
        found.cloud = SummaryCloud.of(found.summary(whole.x[~whole.validation][:CLOUD_ROWS]))
        found.judge(data.validation)
        return found, result

    @classmethod
    def teach(
        cls, network: Network, data: fitting.Data, settings: Any, run: session.Session
    ) -> session.TrainingResult:
        """Trains a network in place; returns how that went."""
        return fitting.fit(network, data, settings.training, run)

    @classmethod
    def on_task(cls, settings: Any, task: TaskInfo) -> Any:
        """Returns the settings with what they leave to the task."""
        return settings

    @classmethod
    def learned(cls, x: Array, settings: Any, run: session.Session) -> Array:
        """Returns elements of x (N, ...) as they are learned from."""
        return x

    @classmethod
    def beside(
        cls, rows: Rows, parameters: ParameterTransform, settings: Any, run: session.Session
    ) -> tuple[Array, ...]:
        """Returns what it learns from beside z and x of each row; most learn from nothing else."""
        return ()

    def judge(self, validation: tuple[Array, ...]) -> None:
        """Looks at the validation rows after the training: standardised z (N, K), x (N, ...), and others."""

    @property
    def has_density(self) -> bool:
        """False: its densities lack their constants."""
        return False

    def log_prob(self, theta: Array, x: Array) -> NoReturn:
        """Raises TaskError: densities are not normalised."""
        raise TaskError(
            f"estimator {self.type} of task {self.task.name} gives draws without densities, for its "
            "posterior is known up to a constant; `log_likelihood` and the prior give it that far."
        )

    def log_likelihood(self, theta: Array, x: Array) -> Array:
        """Returns log likelihoods (..., N) of theta (..., N, D) up to constants; see `Likelihood`."""
        theta = np.asarray(theta, float)
        require_shape("theta", theta, *[None] * (theta.ndim - 2), len(x), len(self.task.parameters))
        z, log_slope = self.parameters.forward(theta)
        flat = z.reshape(-1, z.shape[-1])
        found = self._log_likelihood(x)(flat, np.arange(len(flat)) % len(x)).reshape(log_slope.shape)
        return np.where(np.isneginf(log_slope), -np.inf, found)

    def sample_and_log_prob(self, x: Array, n: int, rng: np.random.Generator) -> tuple[Array, None]:
        """Returns n posterior draws (n, N, D) for each x (N, *x_shape), and no densities."""
        return self.drawn(x, n, rng)[0], None

    def drawn(self, x: Array, n: int, rng: np.random.Generator) -> tuple[Array, None, dict[str, Array]]:
        """Returns n draws (n, N, D) for each x (N, *x_shape), no densities, and what they are worth.

        Raises:
            Refused: If weights fail for one of them; `standing` tells which.
        """
        sampling: SamplingSettings = self.settings.sampling
        if sampling.by == "importance":
            return self._by_weights(x, n, rng)
        size = max(1, WALKERS // (sampling.ensembles * sampling.walkers))
        parts = [x[first : first + size] for first in range(0, len(x), size)]
        found = [self._by_chains(part, n, rng.spawn(len(part)), sampling) for part in parts]
        z = np.concatenate([part for part, _ in found])
        told = {name: np.concatenate([each[name] for _, each in found]) for name in found[0][1]}
        return self.parameters.inverse(z).swapaxes(0, 1), None, told

    def _by_chains(
        self, x: Array, n: int, rngs: Sequence[np.random.Generator], sampling: SamplingSettings
    ) -> tuple[Array, dict[str, Array]]:
        """Draws z (N, n, K) by chains, one generator an observation."""
        each, log_likelihood = sampling.ensembles, self._log_likelihood(x)
        own = [rng for parent in rngs for rng in parent.spawn(each)]
        target = self._target(lambda z, rows: log_likelihood(z, rows // each))
        pool = np.stack([self._prior_draws(sampling.prior_draws, rng) for rng in own])
        sizes = {"walkers": sampling.walkers, "warm_up": sampling.warm_up, "doublings": sampling.doublings}
        steps = max(sampling.steps, -(-n // (each * sampling.walkers)))

        def unsettled(z: Array) -> Array:
            rhat, _ = self._convergence(z, each)
            (found,) = np.nonzero((rhat >= sampling.max_rhat).any(axis=1).repeat(each))
            return found

        z, _ = walkers.sample(target, pool, own, steps=steps, unsettled=unsettled, **sizes)
        rhat, ess = self._convergence(z, each)
        draws = np.stack([tempering.gathered(one, n) for one in z.reshape(-1, each, *z.shape[1:])])
        return draws, {"rhat": rhat, "ess": ess}

    def _convergence(self, z: Array, each: int) -> tuple[Array, Array]:
        """R-hat and effective sizes (N, D) of chains z (N each, T, W, K), so many for an observation."""
        chains = self.parameters.inverse(z.reshape(-1, each, *z.shape[1:]))
        with np.errstate(invalid="ignore", divide="ignore"):  # of walkers that all stand still
            rhat, ess = zip(*map(tempering.convergence, chains), strict=True)
        return np.nan_to_num(rhat, nan=np.inf), np.nan_to_num(ess)

    def standing(self, x: Array) -> Standing:
        """Returns tail index and share that counts for each x (N, *x_shape), of draws by weights."""
        if self.settings.sampling.by == "chains":
            return Standing()
        return Standing.by_weights([self._fixed.known(one) for one in x])

    def _by_weights(self, x: Array, n: int, rng: np.random.Generator) -> tuple[Array, None, dict[str, Array]]:
        """Draws (n, N, D) by weighted kernels, no densities, and how many of the candidates count."""
        self.standing(x).require(f"estimator {self.type}")
        draws, ess = np.empty((n, len(x), len(self.task.parameters))), np.empty((len(x), 1))
        for i, one in enumerate(x):
            found = self._fixed.of(one)
            draws[:, i], ess[i] = found.theta[resampled(found.weights, n, rng)], found.effective
        return draws, None, {"ess": np.repeat(ess, len(self.task.parameters), axis=1)}

    @cached_property
    def _fixed(self) -> Fixed:
        """The candidates that decide whether an observation is answered."""
        return Fixed(self._candidates, self.seed, self.type)

    def _candidates(self, x: Array, rng: np.random.Generator) -> Weighted:
        """Draws of kernels around likely prior draws, and of what is wider, for one x (*x_shape)."""
        sampling: SamplingSettings = self.settings.sampling
        log_likelihood, wanted = self._log_likelihood(x[None]), sampling.ensembles * sampling.walkers
        pool = self._prior_draws(sampling.ensembles * sampling.prior_draws, rng)
        (log_p,) = self._target(log_likelihood).likelihood(pool[None], np.zeros(1, int))
        power = tempering.largest_power(log_p, tempering.START_POWER, wanted)
        kernels = Kernels.around(pool[tempering.picked(power * (log_p - log_p.max()), wanted, rng)])

        def log_q(theta: Array) -> Array:
            z, log_slope = self.parameters.forward(theta)
            return kernels.log_prob(z) + log_slope

        def draw(n: int) -> tuple[Array, Array]:
            theta = self.parameters.inverse(kernels.sample(n, rng))
            return theta, log_q(theta)

        def log_target(theta: Array) -> Array:
            z, _ = self.parameters.forward(theta)
            return log_density(self.prior, theta) + log_likelihood(z, np.zeros(len(z), int))

        return mixed(sampling.proposals, draw, log_q, self.prior, log_target, self.parameters, rng)

    def _target(self, log_likelihood: Log) -> Target:
        return Target(tempering.Transformed(self.parameters), self.prior, log_likelihood)

    def _prior_draws(self, n: int, rng: np.random.Generator) -> Array:
        return self.parameters.forward(draws_inside(self.prior, self.task, n, rng))[0]

    def _log_likelihood(self, x: Array) -> Log:
        """The log likelihoods (B,) of z (B, K), each given the row of x (N, *x_shape) with its number."""
        network, context = self.precise, self._contexts(x)

        def function(z: Array, rows: Array) -> Array:
            out: Array = np.empty(len(z))
            step = max(1, ROWS // context.shape[1])
            with torch.no_grad():
                for first in range(0, len(z), step):
                    part = slice(first, first + step)
                    own = context[torch.from_numpy(rows[part])]
                    many = torch.from_numpy(z[part]).repeat_interleave(own.shape[1], 0)
                    log_l = network.log_likelihood(many, own.flatten(0, 1)).reshape(own.shape[:2])
                    out[part] = log_l.sum(1).numpy()
            if np.isnan(out).any():
                raise ArtifactError(
                    f"estimator {self.type} of task {self.task.name}: {int(np.isnan(out).sum())} log "
                    "likelihoods are not numbers; the network is broken. Train it again."
                )
            return out

        return function

    def summary(self, x: Array) -> Array:
        """Returns what the network sees of x (N, *x_shape), as summaries (N, K)."""
        return self._contexts(x).reshape(len(x), -1).numpy()

    def _contexts(self, x: Array) -> Tensor:
        """What the network sees of each element of x (N, *x_shape), in double precision, shape (N, R, C)."""
        each = as_elements(x, self.settings.independent)
        with torch.no_grad():
            inputs = torch.from_numpy(self.inputs(each.reshape(-1, *each.shape[2:])))
            parts = [self.precise.contexts(part) for part in inputs.split(rows_at_once(inputs.shape[1:]))]
        return torch.cat(parts).reshape(*each.shape[:2], -1)

    def arrays(self) -> dict[str, Array]:
        """Returns weights, statistics, the prior and the seed of candidates by name."""
        return {**super().arrays(), **prior_arrays(self.prior), "seed": np.array(self.seed)}

    @classmethod
    def from_arrays(
        cls, settings: Any, task: TaskInfo, arrays: Arrays, parent: Estimator | None = None
    ) -> Self:
        """Returns the estimator that `arrays` came from; see `Estimator.from_arrays`."""
        found = super().from_arrays(settings, task, arrays, parent)
        found.prior = prior_from(arrays, cls.type)
        with weights.fitting(f"estimator {cls.type}"):
            found.seed = int(arrays["seed"])
        return found


def as_elements(x: Array, axis: int | None) -> Array:
    """Returns x (N, *x_shape) as elements along one axis of x (N, R, ...); as one element without any."""
    return x[:, None] if axis is None else np.moveaxis(x, axis + 1, 1)


def elements_of(rows: Rows, axis: int | None) -> Rows:
    """Returns a row for each element of x, first elements before second ones.

    So neighbours belong to different simulations, as pairs by rolling have to.
    """
    each = as_elements(rows.x, axis).swapaxes(0, 1)
    theta = np.tile(rows.theta, (len(each), 1))
    score = rows.score if axis is None else None  # that of a whole x says nothing of one element
    return Rows(theta, each.reshape(-1, *each.shape[2:]), np.tile(rows.validation, len(each)), score)


def element_shape(settings: Any, task: TaskInfo) -> tuple[int, ...]:
    """Returns the shape of one element of x."""
    return as_elements(np.empty((0, *task.x_shape)), settings.independent).shape[2:]


def known_prior(settings: Any, task: TaskInfo, material: Material) -> Prior:
    """Returns the prior that draws will need.

    Raises:
        TrainingError: If parameters are discrete, or the prior cannot be written down.
    """
    if any(task.cells):
        raise TrainingError(
            f"estimator {settings.type!r}: parameters of task {task.name} are discrete, which no chain moves "
            "through; take an `npe`."
        )
    prior: Prior = material.require("prior", settings.type)
    require_written(prior, settings.type, task)
    return prior


@dataclass(frozen=True)
class Kernels:
    """A Student t around each of several centres, whose tails are heavier than those of priors.

    Attributes:
        centres: Shape (C, K).
        factor: Lower triangular, factor times its transpose is their covariance; shape (K, K).
    """

    centres: Array
    factor: Array

    @classmethod
    def around(cls, centres: Array) -> Kernels:
        """Returns those around centres (C, K), whose covariance times Scott's factor is theirs."""
        c, k = centres.shape
        spread = np.cov(centres, rowvar=False).reshape(k, k) + 1e-12 * np.eye(k)
        return cls(centres, c ** (-1 / (k + 4)) * np.linalg.cholesky(spread))

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Returns n draws (n, K)."""
        c, k = self.centres.shape
        scale = np.sqrt(FREEDOM / rng.chisquare(FREEDOM, (n, 1)))
        return self.centres[rng.integers(c, size=n)] + scale * rng.standard_normal((n, k)) @ self.factor.T

    def log_prob(self, z: Array) -> Array:
        """Returns log densities of z (N, K), shape (N,)."""
        c, k = self.centres.shape
        inverse = np.linalg.inv(self.factor).T
        own, other = z @ inverse, self.centres @ inverse
        squares = (own**2).sum(1)[:, None] + (other**2).sum(1) - 2 * own @ other.T
        constant = gammaln((FREEDOM + k) / 2) - gammaln(FREEDOM / 2) - k / 2 * np.log(FREEDOM * np.pi)
        constant -= np.log(c) + np.log(np.diag(self.factor)).sum()
        log_p = -(FREEDOM + k) / 2 * np.log1p(np.maximum(squares, 0) / FREEDOM)
        return np.asarray(logsumexp(log_p, axis=1)) + constant

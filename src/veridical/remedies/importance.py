r"""Importance correction: draws of any answer with a density, weighted by the likelihood and resampled.

What is drawn follows the posterior itself as far as weights can be trusted (see `inference/weighted`), with

.. math:: \log p(\theta \mid x) = \log p(\theta) + \log p(x \mid \theta) - \log \hat Z(x) .

An observation is refused, with the reason, where the tail index k of the weights is 0.7 or more, or too few
candidates count. A place that no candidate reached stays unseen.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from veridical import seeds
from veridical.errors import ArtifactError, TrainingError, require_shape
from veridical.estimators.base import Arrays, Estimator, Material, TaskInfo
from veridical.estimators.standing import Standing
from veridical.inference.likelihoods import Exact, Learned, Likelihood
from veridical.inference.weighted import Fixed, Known, Weighted, log_density, mixed, resampled
from veridical.networks.transforms import ParameterTransform
from veridical.remedies.importance_settings import CorrectionSettings
from veridical.tasks.base import Array, Prior
from veridical.training.session import Session

ENOUGH = 2  # candidates that count, for each draw
MOST = 10  # times the candidates that the settings name
NEAR, LEAST = 20, 1000  # times fewer candidates for data simulated around an observation, but so many
NEAR_SHARE = 0.05  # of them that has to count


class Importance(Estimator):
    """The answers of `parent`, corrected by a likelihood."""

    type = "importance"
    parent: Estimator

    def __init__(
        self,
        settings: CorrectionSettings,
        task: TaskInfo,
        parent: Estimator,
        likelihood: Likelihood,
        seed: int,
        prior: Prior | None = None,
    ) -> None:
        self.settings, self.task, self.parent = settings, task, parent
        self.likelihood, self.seed = likelihood, seed
        self.cut = prior  # the prior that is answered for, where it is not the task's
        self.cloud, self.summarisers = parent.cloud, parent.summarisers
        self.own_code = likelihood.own_code
        self._fixed = Fixed(self._candidates, seed, self.type)

    @classmethod
    def fit(
        cls, settings: CorrectionSettings, task: TaskInfo, material: Material, run: Session
    ) -> tuple[Importance, None]:
        """Returns the correction of `material.parent` by `material.likelihood`; there is nothing to train.

        Raises:
            TrainingError: If the parent knows no densities.
        """
        parent: Estimator = material.require("parent", settings.type)
        if not parent.has_density:
            raise TrainingError(
                f"remedy {settings.type!r} needs densities, which {parent.type!r} does not give."
            )
        likelihood = material.require("likelihood", settings.type)
        return cls(settings, task, parent, likelihood, seeds.integer(run.root, "remedy", *run.path)), None

    def around(self, x: Array, prior: Prior) -> tuple[Estimator, Prior]:
        """Returns the correction of what answers data near an observation; see `Estimator.around`."""
        near, cut = self.parent.around(x, prior)
        draws, share = max(LEAST, self.settings.draws // NEAR), max(NEAR_SHARE, self.settings.least_share)
        fewer = self.settings.model_copy(update={"draws": draws, "least_share": share})
        return Importance(fewer, self.task, near, self.likelihood, self.seed, cut), cut

    def standing(self, x: Array) -> Standing:
        """Returns tail index and share that counts for each x (N, *x_shape), and which are refused."""
        return Standing.by_weights([self._fixed.known(one) for one in x], self.settings.least_share)

    def _answered(self, x: Array) -> Known:
        """What the candidates for one x (*x_shape) say, which must not be refused."""
        self.standing(x[None]).require(f"remedy {self.type}")
        return self._fixed.known(x)

    def _candidates(self, x: Array, rng: np.random.Generator) -> Weighted:
        """As many candidates for one x (*x_shape) as the settings say, with their weights."""
        plain = ParameterTransform.plain(self.task.bounds, self.task.support)

        def draw(n: int) -> tuple[Array, Array]:
            theta, log_q = self.parent.sample_and_log_prob(x[None], n, rng)
            if log_q is None:
                raise ArtifactError(f"remedy {self.type}: expected a method that knows its density.")
            return theta[:, 0], log_q[:, 0]

        return mixed(
            self.settings.draws,
            draw,
            lambda theta: self.parent.log_prob(theta[:, None], x[None])[:, 0],
            self.likelihood.prior,
            lambda theta: self._log_target(theta, x),
            plain,
            rng,
            wide=not any(self.task.cells),
        )

    def _log_target(self, theta: Array, x: Array) -> Array:
        """Log prior plus log likelihood of one x (*x_shape) at theta (N, D); -inf outside the prior."""
        whole = self.likelihood.prior
        log_p = log_density(whole, theta) if self.cut is None else np.array(self.cut.log_prob(theta))
        inside = np.isfinite(log_p)
        if inside.any():
            log_p[inside] += self.likelihood.log_prob(theta[inside], x)
        return log_p

    def sample_and_log_prob(self, x: Array, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Returns n draws (n, N, D) for each x (N, *x_shape) and their log densities (n, N).

        Raises:
            Refused: If one of them is not answered; `standing` tells which.
        """
        return self.drawn(x, n, rng)[:2]

    def drawn(self, x: Array, n: int, rng: np.random.Generator) -> tuple[Array, Array, dict[str, Array]]:
        """Returns these, and how many independent draws they are worth; see `Estimator.drawn`."""
        draws, log_p = np.empty((n, len(x), len(self.task.parameters))), np.empty((n, len(x)))
        ess = np.empty(draws.shape[1:])
        for i, one in enumerate(x):
            log_evidence, parts = self._answered(one).log_evidence, [self._fixed.of(one)]
            most = MOST if self.cut is None else 1
            while sum(part.effective for part in parts) < ENOUGH * n and len(parts) < most:
                parts.append(self._candidates(one, rng))
            found = Weighted.together(parts)
            chosen = resampled(found.weights, n, rng)
            draws[:, i], log_p[:, i] = found.theta[chosen], found.log_target[chosen] - log_evidence
            ess[i] = found.effective
        return draws, log_p, {"ess": ess}

    def log_prob(self, theta: Array, x: Array) -> Array:
        """Returns log densities (..., N) of theta (..., N, D) given x (N, *x_shape); -inf out of bounds.

        Raises:
            Refused: If one of them is not answered.
        """
        theta = np.asarray(theta, float)
        require_shape("theta", theta, *[None] * (theta.ndim - 2), len(x), len(self.task.parameters))
        out: Array = np.empty(theta.shape[:-1])
        for i, one in enumerate(x):
            rows = theta[..., i, :].reshape(-1, theta.shape[-1])
            log_p = self._log_target(rows, one) - self._answered(one).log_evidence
            out[..., i] = log_p.reshape(theta.shape[:-2])
        return out

    def summary(self, x: Array) -> Array | None:
        """Returns those of the parent."""
        return self.parent.summary(x)

    def every_summary(self, x: Array) -> Array | None:
        """Returns those of the parent."""
        return self.parent.every_summary(x)

    def transforms(self) -> dict[str, Any]:
        """Returns those of the parent."""
        return self.parent.transforms()

    def account(self) -> dict[str, Any]:
        """Returns that of the parent, such as how its rounds went, and the data set that they are for."""
        told = self.parent.account()
        dataset = getattr(self.parent.settings, "dataset", None)
        return {**told, "dataset": dataset} if told else told

    def arrays(self) -> dict[str, Array]:
        """Returns the likelihood, where it is the task's, and the seed of the candidates."""
        return {**self.likelihood.arrays(), "seed": np.array(self.seed)}

    @classmethod
    def from_arrays(
        cls,
        settings: Any,
        task: TaskInfo,
        arrays: Arrays,
        parent: Estimator | None = None,
        likelihood: Any = None,
    ) -> Importance:
        """Returns the correction that `arrays` came from; see `Estimator.from_arrays`.

        `likelihood` is the method whose likelihood it asks, where it is not the task's.
        """
        if parent is None or "seed" not in arrays:
            raise ArtifactError(f"remedy {cls.type}: its parent or the array 'seed' is missing.")
        weighs = Exact.from_arrays(arrays) if likelihood is None else Learned(likelihood)
        return cls(settings, task, parent, weighs, int(arrays["seed"]))

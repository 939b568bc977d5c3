r"""Tempering: the posterior whose likelihood counts by a power,

.. math:: q_\beta(\theta \mid x) = \frac{q(\theta \mid x)^\beta \, p(\theta)^{1 - \beta}}{Z_\beta(x)} ,
    \qquad 0 < \beta \le 1 .

As q is prior times likelihood, this is prior times the likelihood to the power beta, whatever q was made
with: data count as a share beta of themselves. It widens and keeps the centre of what the data say. A wrong
centre it does not mend, and no real data choose beta here: look at the answers of several.

Candidates are draws of q, of a Student t that is wider, around these, and of the prior, weighted and
resampled (see `inference/weighted`). By the inequality of means
:math:`q^\beta p^{1 - \beta} \le \beta q + (1 - \beta) p`, so that with half of all candidates from q and a
quarter from p no weight exceeds four.

References:
    | Inconsistency of Bayesian Inference for Misspecified Linear Models, and a Proposal for Repairing It
    | (Grünwald and van Ommen, 2017), https://arxiv.org/abs/1412.3730
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import logsumexp

from veridical import seeds
from veridical.errors import ArtifactError, TrainingError
from veridical.estimators.base import Arrays, Estimator, Material, TaskInfo
from veridical.estimators.prior import prior_arrays, prior_from, require_written
from veridical.inference.weighted import Fixed, Weighted, Wide, log_density
from veridical.networks.transforms import ParameterTransform
from veridical.remedies.importance import Importance
from veridical.remedies.tempered_settings import TemperedSettings
from veridical.tasks.base import Array, Prior
from veridical.training.session import Session


class Tempered(Importance):
    """The answers of `parent` to a power between them and the prior.

    Attributes:
        prior: The task's.
    """

    type = "tempered"

    def __init__(
        self, settings: TemperedSettings, task: TaskInfo, parent: Estimator, prior: Prior, seed: int
    ) -> None:
        self.settings, self.task, self.parent = settings, task, parent
        self.prior, self.seed, self.cut = prior, seed, None
        self.cloud, self.summarisers = parent.cloud, parent.summarisers
        self._fixed = Fixed(self._candidates, seed, self.type)

    @classmethod
    def fit(  # type: ignore[override]
        cls, settings: TemperedSettings, task: TaskInfo, material: Material, run: Session
    ) -> tuple[Tempered, None]:
        """Returns the tempered answers of `material.parent`; there is nothing to train.

        Raises:
            TrainingError: If the parent knows no densities, or the prior cannot be written down.
        """
        parent: Estimator = material.require("parent", settings.type)
        if not parent.has_density:
            raise TrainingError(
                f"remedy {settings.type!r} needs densities, which {parent.type!r} does not give."
            )
        prior: Prior = material.require("prior", settings.type)
        require_written(prior, settings.type, task)
        return cls(settings, task, parent, prior, seeds.integer(run.root, "remedy", *run.path)), None

    def around(self, x: Array, prior: Prior) -> tuple[Estimator, Prior]:
        """Returns itself, for it answers all data alike; see `Estimator.around`."""
        return self, prior

    def _candidates(self, x: Array, rng: np.random.Generator) -> Weighted:
        """As many candidates for one x (*x_shape) as the settings say, with their weights."""
        n = self.settings.draws
        drawn = self.parent.sample(x[None], n // 2, rng)[:, 0]
        parts, log_parts = [drawn], [lambda theta: self.parent.log_prob(theta[:, None], x[None])[:, 0]]
        if not any(self.task.cells):
            plain = ParameterTransform.plain(self.task.bounds, self.task.support)
            wide = Wide.around(drawn, plain)
            parts.append(wide.sample(n // 4, rng))
            log_parts.append(wide.log_prob)
        parts.append(self.prior.sample(rng, n - sum(map(len, parts))))
        log_parts.append(lambda theta: log_density(self.prior, theta))
        theta = np.concatenate(parts)
        logs = [np.log(len(part) / n) + log_q(theta) for part, log_q in zip(parts, log_parts, strict=True)]
        log_m = np.asarray(logsumexp(logs, axis=0))
        return Weighted(theta, self._log_target(theta, x), np.where(np.isfinite(log_m), log_m, 0.0))

    def _log_target(self, theta: Array, x: Array) -> Array:
        """Log of the power, not normalised, for one x (*x_shape) at theta (N, D); -inf where it is zero."""
        power, log_p = self.settings.power, log_density(self.prior, theta)
        inside = np.isfinite(log_p)
        log_p[inside] *= 1 - power
        if inside.any():
            log_p[inside] += power * self.parent.log_prob(theta[inside][:, None], x[None])[:, 0]
        return log_p

    def arrays(self) -> dict[str, Array]:
        """Returns the prior, as the bytes of a JSON text, and the seed of the candidates."""
        return {**prior_arrays(self.prior), "seed": np.array(self.seed)}

    @classmethod
    def from_arrays(  # type: ignore[override]
        cls, settings: Any, task: TaskInfo, arrays: Arrays, parent: Estimator | None = None
    ) -> Tempered:
        """Returns the remedy that `arrays` came from; see `Estimator.from_arrays`."""
        if parent is None or "seed" not in arrays:
            raise ArtifactError(f"remedy {cls.type}: its parent or the array 'seed' is missing.")
        return cls(settings, task, parent, prior_from(arrays, cls.type), int(arrays["seed"]))

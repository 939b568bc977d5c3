r"""Stacking: a mixture of methods and the prior, by how well they answer labelled pairs not seen.

.. math:: \tilde q(\theta | y) = \sum_{k=1}^{K} w_k \, q_k(\theta | y) ,

the last of the K components being the prior. With :math:`q_{ik}` the density of pair i under method k as it
is without that pair, the weights go on to

.. math:: w_k \leftarrow \frac{1}{n + 1} \Big( \sum_i \frac{w_k q_{ik}}{\sum_l w_l q_{il}} + \frac1K \Big) ,

until they stay: expectation and maximisation of the log score of n pairs and one more that knows nothing. So
no component vanishes, and where pairs are so few that all methods are wrong the prior answers.

The mixture is wider than its components: where these are good, its regions hold more than they say.

References:
    | Using Stacking to Average Bayesian Predictive Distributions (Yao et al., 2018)
    | https://arxiv.org/abs/1704.02030
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import logsumexp

from veridical.errors import ArtifactError, TrainingError
from veridical.estimators.apart import folds
from veridical.estimators.base import Arrays, Estimator, Material, Rows, TaskInfo, labelled
from veridical.estimators.prior import PriorEstimator, prior_arrays, prior_from, require_written
from veridical.estimators.prior_settings import PriorSettings
from veridical.remedies.stacked_settings import StackedSettings
from veridical.tasks.base import Array
from veridical.training import devices, session

ROUNDS = 2000  # of expectation and maximisation, at most


def stacking_weights(log_q: Array) -> Array:
    """Returns weights (K,) of components from log densities of rows that they have not seen, (n, K)."""
    n, k = log_q.shape
    weights = np.full(k, 1 / k)
    for _ in range(ROUNDS):
        log_r = np.log(weights) + log_q
        shares = np.exp(log_r - logsumexp(log_r, axis=1, keepdims=True))
        before, weights = weights, (shares.sum(axis=0) + 1 / k) / (n + 1)
        if np.abs(weights - before).max() < 1e-8:
            break
    return weights


class Stacked(Estimator):
    """A mixture of methods and the prior.

    Attributes:
        components: What is mixed: the parent, those beside it, the prior.
        weights: Their weights, shape (K,).
    """

    type = "stacked"

    def __init__(
        self, settings: StackedSettings, task: TaskInfo, components: Sequence[Estimator], weights: Array
    ) -> None:
        self.settings, self.task = settings, task
        self.components, self.weights = list(components), weights
        self.parent = components[0]

    @classmethod
    def fit(
        cls, settings: StackedSettings, task: TaskInfo, material: Material, run: session.Session
    ) -> tuple[Stacked, None]:
        """Returns the mixture; see `Estimator.fit`."""
        pairs, prior = (
            labelled(material, "calibration", settings.type, task),
            material.require("prior", "stacked"),
        )
        require_written(prior, settings.type, task)
        components = [material.require("parent", settings.type), *material.beside]
        if without := [one.type for one in components if not one.has_density]:
            raise TrainingError(f"remedy 'stacked' needs densities, which {without[0]!r} does not give.")
        components.append(PriorEstimator(PriorSettings(), task, prior))
        with devices.cpu_threads(run.threads or settings.threads):
            log_q = _log_scores([one.apart(pairs) for one in components], pairs)
        return cls(settings, task, components, stacking_weights(log_q)), None

    @property
    def bagged(self) -> bool:
        """Whether one of its components answers with a mixture of its fits."""
        return any(one.bagged for one in self.components)

    def apart(self, pairs: Rows) -> list[tuple[Array, Estimator]]:
        """Returns parts of the pairs, each with the mixture of what has not seen them, weighted by others."""
        parts = [one.apart(pairs) for one in self.components]
        owner: Array = np.empty((len(pairs), len(parts)), int)
        for k, part in enumerate(parts):
            for which, (rows, _) in enumerate(part):
                owner[rows, k] = which
        log_q = _log_scores(parts, pairs)
        found: list[tuple[Array, Estimator]] = []
        groups = [(owner == owners).all(axis=1) for owners in np.unique(owner, axis=0)]
        if len(groups) == 1:  # none has learned from the pairs, but the weights have
            groups = [held for _, held in folds(len(pairs))]
        for held in groups:
            owners = owner[np.flatnonzero(held)[0]]
            methods = [part[which][1] for part, which in zip(parts, owners, strict=True)]
            mixture = Stacked(self.settings, self.task, methods, stacking_weights(log_q[~held]))
            found.append((np.flatnonzero(held), mixture))
        return found

    def sample_and_log_prob(self, x: Array, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Returns n posterior draws (n, N, D) for each x (N, *x_shape) and their log densities (n, N)."""
        draws = self.sample(x, n, rng)
        return draws, self.log_prob(draws, x)

    def sample(self, x: Array, n: int, rng: np.random.Generator) -> Array:
        """Returns n posterior draws (n, N, D) for each x (N, *x_shape)."""
        draws: Array = np.empty((n, len(x), len(self.task.parameters)))
        for i, one in enumerate(x):
            picked = rng.choice(len(self.weights), n, p=self.weights)
            for k, component in enumerate(self.components):
                if (rows := np.flatnonzero(picked == k)).size:
                    draws[rows, i] = component.sample(one[None], len(rows), rng)[:, 0]
        return draws

    def log_prob(self, theta: Array, x: Array) -> Array:
        """Returns log densities (..., N) of theta (..., N, D) given x (N, *x_shape); -inf out of bounds."""
        parts = zip(np.log(self.weights), self.components, strict=True)
        return np.asarray(logsumexp([log_w + one.log_prob(theta, x) for log_w, one in parts], axis=0))

    def transforms(self) -> dict[str, Any]:
        """Returns those of the parent, and the weight of each component."""
        names = [self.settings.of, *self.settings.beside, "the prior"]
        return {
            **self.components[0].transforms(),
            "weights": dict(zip(names, self.weights.tolist(), strict=True)),
        }

    def arrays(self) -> dict[str, Array]:
        """Returns the weights, and the prior as the bytes of a JSON text."""
        prior = self.components[-1]
        assert isinstance(prior, PriorEstimator)
        return {"weights": self.weights, **prior_arrays(prior.prior)}

    @classmethod
    def from_arrays(
        cls,
        settings: StackedSettings,
        task: TaskInfo,
        arrays: Arrays,
        parent: Estimator | None = None,
        beside: Sequence[Estimator] = (),
    ) -> Stacked:
        """Returns the mixture that `arrays` came from; see `Estimator.from_arrays`.

        `beside` are the methods that are mixed with the parent.
        """
        if parent is None or len(beside) != len(settings.beside) or "weights" not in arrays:
            raise ArtifactError(f"remedy {cls.type}: its weights or one of its components are missing.")
        prior = PriorEstimator(PriorSettings(), task, prior_from(arrays, cls.type))
        return cls(settings, task, [parent, *beside, prior], arrays["weights"])


def _log_scores(parts: Sequence[Sequence[tuple[Array, Estimator]]], pairs: Rows) -> Array:
    """Log densities (n, K) of pairs by K methods, each pair by what has not learned from it."""
    log_q: Array = np.empty((len(pairs), len(parts)))
    for k, part in enumerate(parts):
        for rows, method in part:
            log_q[rows, k] = method.log_prob(pairs.theta[rows], pairs.x[rows])
    bad = ~np.isfinite(log_q[:, -1]) | np.isnan(log_q).any(axis=1)
    if bad.any():
        raise TrainingError(
            f"remedy 'stacked': {int(bad.sum())} of {len(pairs)} labelled pairs, the first being number "
            f"{int(np.argmax(bad))}, have no density under the prior or one of the methods; correct their "
            "parameters, or widen the prior."
        )
    return log_q

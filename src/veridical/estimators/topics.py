r"""The fraction of a class by Bayesian topic modelling, where hundreds of simulators are wrong.

Events are counted in bins. Few *topics* of each class describe the histograms of all simulators (see
`veridical.inference.topics`), and unlabelled events say how these are mixed and what the fraction is (see
`veridical.inference.topic_mixtures`). No simulator need be right, but nature has to be a mixture of the
topics; simulators of few kinds, or too few of them, do not tell whether it is.

Its answers are those of a posterior, put as estimates of a fraction: the value is the mean, the standard
error the standard deviation, and the curve holds quantiles at their normal scores, so that its intervals are
central ones of the posterior. There is no error of a density ratio: topics are taken as known, which needs
many more simulated events than unlabelled ones.

References:
    | Many Wrongs Make a Right: Leveraging Biased Simulations Towards Unbiased Parameter Inference
    | (Alvarez, Benevedes, Szewc, Thaler, 2026)
    | https://arxiv.org/abs/2604.02219
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import special

from veridical import seeds
from veridical.errors import ArtifactError, DataError, TrainingError, require_shape
from veridical.estimators import topics_experiments
from veridical.estimators.base import Arrays, Estimator, Material, TaskInfo
from veridical.estimators.classes import Generators, WithoutPosterior
from veridical.estimators.topics_settings import TopicsSettings
from veridical.inference import topics
from veridical.inference.bins import Bins
from veridical.inference.topic_mixtures import P_VALUE, Chaining, TopicMixture, TopicPosterior
from veridical.saved.estimates import Estimate
from veridical.tasks.base import Array, ClassTask
from veridical.training.session import Session

REACH, POINTS = 3.0, 25  # of the curve, in normal scores
POOLED = 200_000  # events, at most about, that bins of quantiles are made from
ARRAYS = ("signal", "background", "alpha", "edges", "filled")


@dataclass(eq=False)
class Topics(WithoutPosterior):
    """Fractions of the first class from topics.

    Attributes:
        signal: Topics of the first class, shape (K, J).
        background: Those of the second, shape (K, J).
        alpha: Concentrations of the prior of their weights, shape (2 K,).
        edges: Of the bins of each axis, shape (D, B + 1).
        filled: Which bins hold any simulated event, shape (J,).
    """

    type = "topics"
    settings: TopicsSettings
    task: TaskInfo
    signal: Array
    background: Array
    alpha: Array
    edges: Array
    filled: Array

    @classmethod
    def fit(
        cls, settings: TopicsSettings, task: TaskInfo, material: Material, run: Session
    ) -> tuple[Topics, None]:
        """Returns the method with topics of the simulators; `material.classes` has events of each.

        First come those of the first class, in the order of the simulators, then those of the second.

        Raises:
            TrainingError: If x has too many numbers, or events of a simulator are missing.
            DataError: If there are fewer simulators than topics, or events lie in no bin.
        """
        if wrong := settings.unsuited(task):
            raise TrainingError(f"estimator 'topics': {wrong}")
        classes, r = material.require("classes", settings.type), len(settings.simulators)
        if len(classes) != 2 * r:
            raise TrainingError(
                f"estimator 'topics': expected events of two classes of {r} simulators, got "
                f"{len(classes)} samples; name simulators that the task has."
            )
        for name, x in classes.items():
            require_shape(f"events of {name}", x, None, *task.x_shape)
        events = [np.asarray(x, float).reshape(len(x), -1) for x in classes.values()]
        bins = _bins(settings, events)
        counts = np.stack([bins.counts(x) for x in events])
        found = [
            topics.learn(part, settings.topics, _seed(run, number))
            for number, part in enumerate((counts[:r], counts[r:]))
        ]
        flat = settings.prior == "flat"
        alpha = [np.ones(settings.topics) if flat else model.alpha for model in found]
        signal, background = (model.topics for model in found)
        filled = counts.sum(axis=0) > 0
        return cls(settings, task, signal, background, np.concatenate(alpha), bins.edges, filled), None

    @cached_property
    def mixture(self) -> TopicMixture:
        """The topics, with the prior of their weights."""
        return TopicMixture(self.signal, self.background, self.alpha)

    @property
    def chaining(self) -> Chaining:
        """How chains of an answer are run."""
        chains = Chaining.chains
        return Chaining(chains=chains, moves=-(-self.settings.draws // chains))

    def counts(self, x: Array) -> Array:
        """Returns how many of the events x (N, *x_shape) lie in each bin, shape (J,).

        Raises:
            DataError: If some lie in none, or where no simulator has any.
        """
        require_shape("x", x, None, *self.task.x_shape)
        found = Bins(self.edges).counts(np.asarray(x, float).reshape(len(x), -1))
        if alone := int(found[~self.filled].sum()):
            raise DataError(
                f"x: {alone} of {len(x)} events lie in bins without any simulated event, so that no topic "
                "tells how many are expected there; simulate more, take wider bins, or cut them off."
            )
        return found

    def posterior(self, x: Sequence[Array]) -> TopicPosterior:
        """Returns the posteriors of samples of events, each (N, *x_shape); all from the same noise.

        Raises:
            ConvergenceError: If chains of one do not agree.
        """
        return self._posterior(np.stack([self.counts(sample) for sample in x]))

    def estimate(self, x: Array) -> Estimate:
        """Returns the fraction of the first class in each sample of events x (N, events, *x_shape)."""
        require_shape("x", x, None, None, *self.task.x_shape)
        counts = np.stack([self.counts(sample) for sample in x])
        found = self._posterior(counts)
        p = self.mixture.fit_p(found, counts)
        z = np.linspace(REACH, -REACH, POINTS)
        none = np.zeros(len(x))
        return Estimate(
            value=found.kappa.mean(axis=1),
            statistical=found.kappa.std(axis=1, ddof=1),
            ratio=none,
            bias=none.copy(),
            curve=found.quantiles(special.ndtr(-z)),
            curve_z=np.tile(z, (len(x), 1)),
            prior=True,
            alarms=[_alarms(one) for one in p],
        )

    def pseudo_experiments(
        self, task: ClassTask, settings: Mapping[str, Any], generators: Generators
    ) -> dict[str, Array]:
        """Returns what pseudo-experiments found; see `veridical.estimators.topics_experiments`."""
        return topics_experiments.experiments(
            self.mixture, self.counts, self.chaining, task, settings, generators
        )

    def arrays(self) -> dict[str, Array]:
        """Returns topics, their prior and the bins."""
        return {name: getattr(self, name) for name in ARRAYS}

    @classmethod
    def from_arrays(
        cls, settings: TopicsSettings, task: TaskInfo, arrays: Arrays, parent: Estimator | None = None
    ) -> Topics:
        """Returns the method that `arrays` came from; see `Estimator.from_arrays`."""
        try:
            found = cls(settings, task, *(np.asarray(arrays[name]) for name in ARRAYS))
        except KeyError as error:
            raise ArtifactError(
                f"estimator {cls.type}: expected an array {error}; train it again."
            ) from error
        bins = Bins(found.edges).size
        if found.signal.shape != (settings.topics, bins) or found.filled.shape != (bins,):
            raise ArtifactError(
                f"estimator {cls.type}: arrays do not fit the settings, expected {settings.topics} topics of "
                f"{bins} bins, got {found.signal.shape}; train it again."
            )
        return found

    def _posterior(self, counts: Array) -> TopicPosterior:
        rngs = [seeds.generator(0, "infer", self.type) for _ in counts]
        return self.mixture.posterior(counts, rngs, self.chaining)


def _alarms(p: float) -> list[str]:
    """What speaks against an answer whose fit in bins has this p-value, in words."""
    return [f"data in bins do not follow a mixture of topics (p = {p:.2g})"] if p < P_VALUE else []


def _seed(run: Session, number: int) -> int:
    return seeds.integer(run.root, "initialise", *run.path, number) % 2**32


def _bins(settings: TopicsSettings, events: Sequence[Array]) -> Bins:
    """The bins that the settings ask for; of quantiles, from as many events of each simulator."""
    if settings.limits is not None:
        return Bins.equal(settings.limits, settings.bins)
    size = max(1, min(min(map(len, events)), POOLED // len(events)))
    return Bins.quantiles(np.concatenate([x[:size] for x in events]), settings.bins)

"""What likelihoods and ratios share that learn from the scores of their simulations, too; see `scored`."""

from __future__ import annotations

from typing import Any, Self, TypeVar

import numpy as np

from veridical.estimators.base import Arrays, Estimator, Rows, TaskInfo
from veridical.estimators.sampled import SampledPosterior
from veridical.estimators.scored import ScoredNetwork, scored, scores_of, share_missed
from veridical.networks import weights
from veridical.networks.transforms import ParameterTransform
from veridical.tasks.base import Array
from veridical.training import fitting, session

CHECK_ROWS = 10_000  # validation rows behind what is kept of slopes and ratios

Network = TypeVar("Network", bound=ScoredNetwork)


class ScoreLearning(SampledPosterior[Network]):
    """A posterior by a log likelihood whose slopes can be held against the scores of the simulations.

    Attributes:
        missed: What slopes miss of the validation rows' scores, (K,), see `scored.share_missed`; else None.
    """

    missed: Array | None = None

    @classmethod
    def beside(
        cls, rows: Rows, parameters: ParameterTransform, settings: Any, run: session.Session
    ) -> tuple[Array, ...]:
        """Returns the scores of the rows, (N, K), where it learns from them."""
        own = settings.scores
        return () if own is None else (scores_of(rows, parameters, own, settings.type, run),)

    @classmethod
    def teach(
        cls, network: Network, data: fitting.Data, settings: Any, run: session.Session
    ) -> session.TrainingResult:
        """Trains a network in place; returns how that went."""
        if settings.scores is None:
            return super().teach(network, data, settings, run)
        (learner,) = scored([network], settings.scores, data.train[2])
        result = fitting.fit(learner, data, settings.training, run)
        print(f"{cls.type}: {learner.told()}")
        return result

    def judge(self, validation: tuple[Array, ...]) -> None:
        """Keeps what its slopes miss of the scores (N, K) of the validation rows, where it learned from them,
        standardised z (N, K) and x (N, ...).
        """
        if len(validation) > 2:
            self.missed = share_missed(self.network, *(part[:CHECK_ROWS] for part in validation))
            print(f"{self.type}: of the scores missed {', '.join(f'{share:.3f}' for share in self.missed)}")

    def account(self) -> dict[str, Any]:
        """Returns the share of each score that its slopes miss, where it has learned from scores."""
        missed = {} if self.missed is None else {"scores_missed": self.missed.tolist()}
        return {**super().account(), **missed}

    def arrays(self) -> dict[str, Array]:
        """Returns weights, statistics, the prior and what is missed of scores by name."""
        missed = {} if self.missed is None else {"scores_missed": self.missed}
        return {**super().arrays(), **missed}

    @classmethod
    def from_arrays(
        cls, settings: Any, task: TaskInfo, arrays: Arrays, parent: Estimator | None = None
    ) -> Self:
        """Returns the estimator that `arrays` came from; see `Estimator.from_arrays`."""
        found = super().from_arrays(settings, task, arrays, parent)
        with weights.fitting(f"estimator {cls.type}"):
            found.missed = None if settings.scores is None else np.asarray(arrays["scores_missed"])
        return found

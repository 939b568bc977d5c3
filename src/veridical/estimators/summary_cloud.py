"""Where the summaries of training data lie, so that those of others can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from veridical.tasks.base import Array


@dataclass(frozen=True)
class SummaryCloud:
    """Mean and covariance of the summaries of training rows: what a typical observation looks like.

    Attributes:
        mean: Shape (K,).
        covariance: Shape (K, K).
        rows: Number of rows behind them.
    """

    mean: Array
    covariance: Array
    rows: int

    @classmethod
    def of(cls, summary: Array) -> SummaryCloud:
        """Returns mean and covariance of summaries (N, K)."""
        covariance = np.cov(summary, rowvar=False).reshape(summary.shape[1], summary.shape[1])
        return cls(summary.mean(axis=0), covariance, len(summary))

    @classmethod
    def beside(cls, clouds: Sequence[SummaryCloud]) -> SummaryCloud:
        """Returns the cloud of several networks' summaries side by side, none between them."""
        from scipy.linalg import block_diag

        covariance = block_diag(*(cloud.covariance for cloud in clouds))
        return cls(np.concatenate([cloud.mean for cloud in clouds]), covariance, clouds[0].rows)

    def arrays(self) -> dict[str, Array]:
        """Returns its numbers by name."""
        return {f"cloud.{name}": np.asarray(value) for name, value in vars(self).items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> SummaryCloud:
        """Returns the cloud whose numbers `arrays` returned."""
        return cls(arrays["cloud.mean"], arrays["cloud.covariance"], int(arrays["cloud.rows"]))

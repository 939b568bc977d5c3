r"""Is the observation like the simulations, as the summary network sees them?

.. math:: d = \sqrt{(s - \mu)^T \Sigma^{-1} (s - \mu)}

with mean and covariance of the summaries of the *training* rows. The distance of an observation is compared
with those of held-out simulated data sets, which the estimator has not seen either: the p-value is exact for
an observation from the simulator, whatever the distribution of the summaries. For a set of several
observations the mean distance is compared by permutation.

A typical observation does not prove the simulator right: what the summaries do not hold, this cannot see.

Curves: `null` (R,), sorted; `distances`, `p_values` (N,), one per observation.

References:
    | Detecting Model Misspecification in Amortized Bayesian Inference with Neural Networks
    | (Schmitt et al., 2021)
    | https://arxiv.org/abs/2112.08866
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from veridical.checks.base import (
    Check,
    CheckResult,
    Metric,
    finite_or_none,
    mean_stderr,
    monte_carlo_p,
    proportion_stderr,
)
from veridical.checks.inputs import Array, DrawsLike, Inputs, given, require_finite
from veridical.errors import require_shape
from veridical.sections import Alpha, Section


class TypicalitySettings(Section):
    """Is the observation like the simulations, as the summary network sees them?"""

    alpha: Alpha = Field(default=0.01, description="Level below which an observation counts as atypical.")
    ridge: Annotated[float, Field(ge=0)] = Field(
        default=1e-6, description="Share of the mean variance added to the diagonal of the covariance."
    )
    permutations: Annotated[int, Field(ge=99)] = Field(
        default=9_999, description="Permutations behind the p-value of a set of several observations."
    )


def mahalanobis(summary: Array, mean: Array, cov: Array, ridge: float = 0.0) -> Array:
    """Returns distances of summaries (N, K) from mean (K,) by covariance (K, K), shape (N,).

    Arguments:
        summary: Shape (N, K).
        mean: Shape (K,).
        cov: Shape (K, K).
        ridge: Share of the mean variance added to the diagonal. With some, a summary that was constant in
            training counts heavily where it moves, rather than being left out.
    """
    from scipy.linalg import cho_factor, cho_solve

    k = len(mean)
    centred = summary - mean
    factor = cho_factor(cov + ridge * max(np.trace(cov) / k, np.finfo(float).tiny) * np.eye(k), lower=True)
    squared = np.einsum("nk,kn->n", centred, cho_solve(factor, centred.T))
    distance: Array = np.sqrt(np.maximum(squared, 0))
    return distance


def set_p_value(observed: Array, null: Array, permutations: int, rng: np.random.Generator) -> float:
    """Returns the p-value of a set's mean distance, for the hypothesis that all distances are exchangeable.

    One observation is compared with each of the null; several by permuting the labels `observed` and `null`.

    Arguments:
        observed: Distances of the set, shape (N,).
        null: Distances of held-out simulations, shape (R,).
        permutations: How many to draw for several observations.
        rng: Permutes.
    """
    if len(observed) == 1:
        return float(monte_carlo_p(observed[0], null))
    pooled, n = np.concatenate([observed, null]), len(observed)
    sums = np.array([pooled[rng.permutation(len(pooled))[:n]].sum() for _ in range(permutations)])
    return float(monte_carlo_p(observed.sum(), sums))


class Typicality(Check):
    """Compares the summaries of observations with those of held-out simulations."""

    name = "typicality"
    needs = frozenset({"observed", "summary", "null"})
    settings_class: ClassVar = TypicalitySettings
    settings: TypicalitySettings
    meanings: ClassVar = {
        "atypical_share": "Share of the observations whose own typicality p-value lies below `level`.",
        "mahalanobis": (
            "Mean Mahalanobis distance of the data's learned summaries from those of the training rows."
        ),
        "mahalanobis_p": (
            "Share of simulated data sets whose summaries lie as far out as those of the data, counting the "
            "data themselves: (1 + #) / (1 + R)."
        ),
    }

    def _judge(self, draws: DrawsLike, rng: np.random.Generator, inputs: Inputs) -> CheckResult:
        simulated: DrawsLike = given(inputs.null, "draws of simulated test sets", self.name)
        observed, null = self._distances(draws, draws), self._distances(simulated, draws)
        p_value = set_p_value(observed, null, self.settings.permutations, rng)
        n, against = len(observed), len(null) if len(observed) == 1 else self.settings.permutations
        each, alpha = np.atleast_1d(monte_carlo_p(observed, null)), self.settings.alpha
        atypical = int((each < alpha).sum())
        table = [
            Metric("mahalanobis_p", p_value, proportion_stderr(p_value * (against + 1) - 1, against), n),
            Metric("mahalanobis", float(observed.mean()), finite_or_none(mean_stderr(observed)), n),
            Metric("atypical_share", atypical / n, proportion_stderr(atypical, n), n, level=alpha),
        ]
        decidable = 1 / (against + 1) < alpha
        note = f"{against} held-out simulations cannot tell whether p < {alpha:g}; take over {1 / alpha:.0f}."
        return self._result(
            draws,
            table,
            curves={"null": np.sort(null), "distances": observed, "p_values": each},
            passed=p_value >= alpha if decidable else None,
            p_value=p_value,
            notes=() if decidable else (note,),
        )

    def _distances(self, of: DrawsLike, fitted: DrawsLike) -> Array:
        """Distances of the summaries of some data from what was fitted on the training rows, shape (N,)."""
        wanted = {
            "summary": (of.summary, "learned summaries of the data"),
            "summary_mean": (fitted.summary_mean, "the mean of the training summaries"),
            "summary_cov": (fitted.summary_cov, "the covariance of the training summaries"),
        }
        arrays = {
            name: np.asarray(given(array, what, self.name), dtype=float)
            for name, (array, what) in wanted.items()
        }
        summary, mean, cov = arrays.values()
        require_shape("summary", summary, None, len(mean))
        require_shape("summary_cov", cov, len(mean), len(mean))
        for name, array in arrays.items():
            require_finite(name, array)
        return mahalanobis(summary, mean, cov, self.settings.ridge)

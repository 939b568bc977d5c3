r"""Is the observation like the simulations, as the summary network sees them?

.. math:: d = \sqrt{(s - \mu)^T \Sigma^{-1} (s - \mu)}

with mean and covariance of the summaries of the *training* rows; of an ensemble the largest such distance
among its members, for observations and simulated data alike: what one member alone sees is seen, at the
same level. It is compared with the distances of held-out simulated data sets, which the estimator has not
seen either: the p-value is exact for an observation from the simulator, whatever the summaries'
distribution. For a set of several observations the mean distance is compared by permutation, and each
member by itself: its p-values are corrected for their number by Holm's method. With R simulations none of n
can get below n / (R + 1); where that is not small, the tail of the null beyond its upper tenth is continued
by a generalised Pareto distribution (fitted by probability-weighted moments), whose p-values are
approximate.

A typical observation does not prove the simulator right: what the summaries do not hold, this cannot see.

Curves: `null` (R,), sorted; `distances`, `p_values` (N,), one per observation.

References:
    | Detecting Model Misspecification in Amortized Bayesian Inference with Neural Networks
    | (Schmitt et al., 2021)
    | https://arxiv.org/abs/2112.08866
    | Parameter and Quantile Estimation for the Generalized Pareto Distribution (Hosking & Wallis, 1987)
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
from veridical.checks.inputs import Array, Inputs, given, require_finite
from veridical.errors import require_shape
from veridical.saved.posteriors import Draws
from veridical.sections import Alpha, Section

MAX_MEMBERS = 100  # those with the smallest p-values are tabulated
_TAIL, _LEAST_TAIL = 0.1, 20  # upper part of the null whose tail is continued, and rows that it needs


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
    return np.sqrt(np.maximum(squared, 0))


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


def holm(p: Array) -> Array:
    """Returns p-values (N,) corrected for their number: family-wise ones."""
    order, n = np.argsort(p), len(p)
    steps = np.maximum.accumulate(np.minimum(1.0, (n - np.arange(n)) * p[order]))
    adjusted = np.empty(n)
    adjusted[order] = steps
    return adjusted


def tail_p(observed: Array, null: Array) -> Array | None:
    """Returns p-values (N,) of distances far out, from the continued tail of a null (R,).

    None where the tail has too few rows. A tail is never taken for shorter than an exponential one.
    """
    ordered = np.sort(null)[::-1]
    k = int(_TAIL * len(ordered))
    excess = ordered[:k] - ordered[k] if k >= _LEAST_TAIL else np.zeros(1)
    if not excess.mean() > 0:
        return None
    mean, weighted = excess.mean(), (excess * (np.arange(k) + 0.65) / k).mean()
    shape = max(2 - mean / (mean - 2 * weighted), 0.0)
    scale = mean * (1 - shape)
    beyond = np.maximum(observed - ordered[k], 0) / scale
    tail = np.exp(-beyond) if shape < 1e-6 else (1 + shape * beyond) ** (-1 / shape)
    return np.where(observed > ordered[k], _TAIL * tail, monte_carlo_p(observed, null))


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
        "labelled_member_p": "`member_p` against labelled real data in place of simulated ones.",
        "member_p": (
            "Share of simulated data sets whose summaries lie as far out as those of this observation, "
            "corrected for the number of observations (Holm)."
        ),
        "member_tail_p": (
            "The same from a generalised Pareto tail, where simulated data sets are too few for shares: "
            "approximate."
        ),
    }

    def _judge(self, draws: Draws, rng: np.random.Generator, inputs: Inputs) -> CheckResult:
        simulated: Draws = given(inputs.null, "draws of simulated test sets", self.name)
        observed, null = self._distances(draws, draws), self._distances(simulated, draws)
        p_value = set_p_value(observed, null, self.settings.permutations, rng)
        n, against = len(observed), len(null) if len(observed) == 1 else self.settings.permutations
        each, alpha = np.atleast_1d(monte_carlo_p(observed, null)), self.settings.alpha
        atypical = int((each < alpha).sum())
        error, least = proportion_stderr(p_value * (against + 1) - 1, against), n / (n + len(null))
        table = [
            *self._members(draws, observed, null, inputs),
            Metric("mahalanobis_p", p_value, error, n, extra={"least_p": least}),
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

    def _members(self, draws: Draws, observed: Array, null: Array, inputs: Inputs) -> list[Metric]:
        """Each observation by itself against simulated data and, where there are some, labelled real ones."""
        table = _each("member_p", np.atleast_1d(monte_carlo_p(observed, null)), len(null))
        tail = tail_p(observed, null) if len(observed) / (len(null) + 1) >= self.settings.alpha else None
        if tail is not None:
            table += _each("member_tail_p", tail)
        if inputs.labelled is not None:
            known = self._distances(inputs.labelled, draws)
            table += _each("labelled_member_p", np.atleast_1d(monte_carlo_p(observed, known)), len(known))
        return table

    def _distances(self, of: Draws, fitted: Draws) -> Array:
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
        blocks = np.split(np.arange(len(mean)), fitted.summarisers)
        each = [mahalanobis(summary[:, b], mean[b], cov[np.ix_(b, b)], self.settings.ridge) for b in blocks]
        return np.asarray(np.max(each, axis=0))


def _each(name: str, p: Array, null: int | None = None) -> list[Metric]:
    """One metric per observation from uncorrected p-values (N,), the smallest first."""
    least = {} if null is None else {"least_p": len(p) / (null + 1)}
    adjusted = holm(p)
    rows = np.argsort(adjusted, kind="stable")[:MAX_MEMBERS]
    return [Metric(name, float(adjusted[i]), None, 1, extra={"observation": int(i), **least}) for i in rows]

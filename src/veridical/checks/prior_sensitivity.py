r"""How much does the answer owe to the prior, and do prior and data contradict each other?

Draws T of the answer are weighted as if the prior (or the likelihood) were raised to a power
:math:`\alpha`: by :math:`p(T)^{\alpha - 1}`, or by the likelihood (where it is not known, q / p)
:math:`{}^{\alpha - 1}`.

- *Sensitivity*: the cumulative Jensen-Shannon distance of the weighted from the unweighted draws over
  :math:`|\log_2 \alpha|`, mean of alpha = 1.01 and 1 / 1.01. A common rule takes both above 0.05 for a
  conflict; that flags half of all sound problems, since most answers depend on prior and data alike.
- *Shift*: how far the mean moves if the prior is squared or its root is taken, in sd of the answer.
- *Conflict*: T = mean over draws of log p(T), the prior density where the answer lies, against that of the
  method's answers to simulated test sets; and, for parameters between two bounds, whose prior may be flat,
  the share of draws within 1 % of either. The p-value is exact for data from prior and simulator.

Curves: `shift`, `prior`, `likelihood` (N, D); `pareto_k` (N,), of the weights behind the shift; and where
there are test sets `p_values` (N,) with `null` (R,) and `observed` (N,), T.

References:
    | Detecting and Diagnosing Prior and Likelihood Sensitivity with Power-Scaling (Kallioinen et al., 2024)
    | https://arxiv.org/abs/2107.14054
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field

from veridical.checks.base import Check, CheckResult, Metric, monte_carlo_p, per_parameter, proportion_stderr
from veridical.checks.importance import weigh
from veridical.checks.inputs import Array, Inputs, given, unlabelled
from veridical.errors import require_shape
from veridical.inference.pareto import USABLE
from veridical.saved.posteriors import Draws
from veridical.sections import Alpha, Positive, Repeats, Section

SMALL_STEP = 1.01
SCALED = (0.5, 2.0)
_LEAST_LOG = -700.0  # of a weight: a resample without any of the heavy draws has some still
_FLAT = 1e-9  # spread of log prior densities below which a prior is flat


class PriorSensitivitySettings(Section):
    """How much does the answer owe to the prior, and do prior and data contradict each other?"""

    alpha: Alpha = Field(default=0.01, description="Level of the p-value of conflict, over observations.")
    most_shift: Positive = Field(
        default=0.5, description="Most standard deviations that scaling the prior may move the answer."
    )
    bootstrap: Repeats = Field(default=40, description="Resampled draws behind the standard errors.")


def distance(draws: Array, weights: Array) -> Array:
    r"""Returns the cumulative Jensen-Shannon distance of weighted from unweighted draws.

    Arguments:
        draws: Sorted, shape (S,).
        weights: Counts of each draw, then these times their weights; shape (2, ..., S).

    Returns:
        Shape (...): 0 for equal, at most 1 for disjoint ones.
    """
    below = weights.cumsum(axis=-1)
    p, q = (below / below[..., -1:])[..., :-1]
    steps = np.diff(draws)
    return np.sqrt(np.maximum(_divergence(p, q, steps), _divergence(1 - p, 1 - q, steps)))


def _divergence(p: Array, q: Array, steps: Array) -> Array:
    m = np.maximum((p + q) / 2, np.finfo(float).tiny)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = [np.where(f > 0, f * np.log2(f / m), 0.0) for f in (p, q)]
    return np.maximum((steps * sum(logs)).sum(axis=-1), 0) / (steps * (p + q)).sum(axis=-1)


def sensitivity(draws: Array, log_p: Array, counts: Array) -> Array:
    """Returns how fast draws change as a density is raised to a power near one.

    Arguments:
        draws: Of one parameter, shape (S,).
        log_p: Log of the density at them, shape (S,).
        counts: How often each draw counts, shape (..., S).

    Returns:
        Distance per doubling of the power, shape (...).
    """
    order, found = np.argsort(draws), []
    for power in (SMALL_STEP, 1 / SMALL_STEP):
        log_w = (power - 1) * log_p
        w = np.exp(np.maximum(log_w - log_w.max(), _LEAST_LOG))
        found.append(distance(draws[order], np.stack([counts, counts * w])[..., order]))
    return np.asarray(np.mean(found, axis=0) / np.log2(SMALL_STEP))


class PriorSensitivity(Check):
    """Scales the prior by powers and looks for a conflict between prior and data."""

    name = "prior_sensitivity"
    needs = frozenset({"observed", "densities"})
    settings_class: ClassVar = PriorSensitivitySettings
    settings: PriorSensitivitySettings
    meanings: ClassVar = {
        "prior_sensitivity": (
            "How fast the answer changes as the prior is raised to a power: cumulative Jensen-Shannon "
            "distance per doubling of the power; 0.003 is noise, 0.05 a shift of 0.2 standard deviations. Of "
            "the observation where it is largest."
        ),
        "likelihood_sensitivity": (
            "The same for the likelihood; where it is not known, for the answer divided by the prior."
        ),
        "prior_shift_sd": (
            "|Shift of the mean| in standard deviations of the answer if the prior is squared, or its root "
            "taken, whichever is more; of the observation where it is largest."
        ),
        "prior_conflict_p": (
            "Share of simulated data sets whose answers lie as far out in the prior as that to the data, "
            "corrected for the number of observations. Small: prior and data contradict each other."
        ),
    }

    def _judge(self, draws: Draws, rng: np.random.Generator, inputs: Inputs) -> CheckResult:
        arrays: Mapping[str, Array] = given(inputs.densities, "densities of the draws", self.name)
        theta = unlabelled(draws)
        log_p = np.asarray(arrays["log_prior"], dtype=float)
        require_shape("log_prior", log_p, *theta.shape[:2])
        log_p = np.where(np.isfinite(log_p), log_p, np.min(log_p, where=np.isfinite(log_p), initial=0.0))
        observations = range(theta.shape[1])
        shifts, errors, k = self._shifts(theta, log_p)
        table, curves = _worst("prior_shift_sd", shifts, errors, draws), {"shift": shifts, "pareto_k": k}
        for name, log_f in {"prior": log_p, "likelihood": _likelihood(draws, arrays, log_p)}.items():
            if log_f is None:
                continue
            values, spread = self._sensitivities(theta, log_f, rng)
            table += _worst(f"{name}_sensitivity", values, spread, draws)
            curves[name] = values
        usable = k < USABLE
        passed = None if not usable.all() else bool(shifts.max() <= self.settings.most_shift)
        p = None
        if "log_prior_null" in arrays:
            p_values = _conflict(arrays)
            n, r = len(observations), len(arrays["log_prior_null"])
            p = float(min(1.0, n * p_values.min()))
            table.append(Metric("prior_conflict_p", p, proportion_stderr(p * (r + 1) - 1, r), r))
            curves |= {"p_values": p_values, "null": np.sort(arrays["log_prior_null"])}
            curves["observed"] = np.asarray(arrays["log_prior_mean"])
            passed = False if p < self.settings.alpha else passed
        return self._result(draws, table, curves=curves, passed=passed, p_value=p)

    def _shifts(self, theta: Array, log_p: Array) -> tuple[Array, Array, Array]:
        """Largest shift of each mean, its error, (N, D) both, and the largest tail index, (N,)."""
        shifts, errors, tails = [], [], []
        for i in range(theta.shape[1]):
            found = [weigh(theta[:, i], (power - 1) * log_p[:, i]) for power in SCALED]
            size = np.abs([one.shift for one in found])
            largest, columns = size.argmax(axis=0), np.arange(size.shape[1])
            shifts.append(size[largest, columns])
            errors.append(np.array([one.shift_stderr for one in found])[largest, columns])
            tails.append(max(one.smoothed.k for one in found))
        return np.array(shifts), np.array(errors), np.array(tails)

    def _sensitivities(self, theta: Array, log_f: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """The sensitivity to a density at the draws, and its bootstrap error, (N, D) both."""
        s, n, d = theta.shape
        again = rng.multinomial(s, np.full(s, 1 / s), size=self.settings.bootstrap)
        counts = np.concatenate([np.ones((1, s)), again])
        found = np.array(
            [[sensitivity(theta[:, i, j], log_f[:, i], counts) for j in range(d)] for i in range(n)]
        )
        return found[..., 0], found[..., 1:].std(axis=-1, ddof=1)


def _likelihood(draws: Draws, arrays: Mapping[str, Array], log_p: Array) -> Array | None:
    """Log likelihoods at the draws, or what the answer makes of them, or None where neither is known."""
    if "log_likelihood" in arrays:
        log_l = np.asarray(arrays["log_likelihood"], dtype=float)
    elif draws.log_density is not None:
        log_l = np.asarray(draws.log_density, dtype=float) - log_p
    else:
        return None
    return np.where(np.isfinite(log_l), log_l, np.min(log_l, where=np.isfinite(log_l), initial=0.0))


def _conflict(arrays: Mapping[str, Array]) -> Array:
    """p-values of the observations (N,): of the density that the answers have, and of what lies at edges."""
    null, observed = (np.asarray(arrays[name]) for name in ("log_prior_null", "log_prior_mean"))
    found = []
    if np.ptp(null[np.isfinite(null)]) > _FLAT:
        found.append(monte_carlo_p(-observed, -null))
    edge, at_edge = (np.asarray(arrays[name]) for name in ("edge", "edge_null"))
    if edge.any() or at_edge.any():
        found.append(monte_carlo_p(edge, at_edge))
    return np.minimum(1.0, len(found) * np.min(found, axis=0)) if found else np.ones(len(observed))


def _worst(name: str, values: Array, errors: Array, draws: Draws) -> list[Metric]:
    """A metric per parameter, of the observation with the largest of values (N, D)."""
    rows, columns = values.argmax(axis=0), np.arange(values.shape[1])
    chosen = values[rows, columns], errors[rows, columns]
    return per_parameter(name, *chosen, list(draws.names), n=len(draws.draws))

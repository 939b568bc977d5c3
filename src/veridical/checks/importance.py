r"""Where the likelihood is known: what does weighting the answer by it change?

.. math:: w_l \propto p(x_o | T_l) \, p(T_l) / q(T_l)

turns draws T of the answer q into draws of the exact posterior of x_o, if q is not too narrow. Weights are
Pareto smoothed (see `pareto`); a tail index k below 0.7 says that averages may be trusted, *not* that q is
right: a shift of one standard deviation leaves it at 0.3. So q is judged by the reweighted posterior: where
its mean lies, and how much of it q's own 90 % interval holds. Too small a share of the draws that count, in
comparison with their number of parameters, says that something else differs.

This speaks of inference alone, never of whether simulator and prior are right.

Curves: `pareto_k`, `effective_share` (N,); `shift`, `coverage` (N, D); `levels` (Q,) with `quantiles` and
`reweighted_quantiles` (Q, N, D), the answer and the reweighted one.

References:
    | Pareto Smoothed Importance Sampling (Vehtari et al., 2024), https://arxiv.org/abs/1507.02646
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from veridical.checks.base import Check, CheckResult, Metric, finite_or_none
from veridical.checks.inputs import Array, Inputs, given, unlabelled
from veridical.errors import DataError, require_shape
from veridical.inference.pareto import USABLE, Smoothed, smoothed
from veridical.saved.posteriors import Draws
from veridical.sections import Section, Share

LEVEL = 0.9
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
ENOUGH = 200.0  # effective draws behind a reweighted answer that is believed
LOST = 0.02  # share of effective draws below which weights that fail speak against the answer
SHARE = 0.9  # per parameter, of a good answer


class ImportanceSettings(Section):
    """What does weighting the answer by the likelihood change, where that is known?"""

    least_coverage: Share = Field(
        default=0.8, description="Least share of the reweighted answer inside the answer's 90 % intervals."
    )


class Weighed(NamedTuple):
    """One answer against its reweighted self.

    Attributes:
        smoothed: The weights.
        shift: Mean of the reweighted answer less that of the answer, in sd of the latter; shape (D,).
        shift_stderr: Its standard error.
        ratio: sd of the reweighted answer over that of the answer, shape (D,).
        coverage: Part of the reweighted answer inside the answer's central 90 % interval, shape (D,).
        coverage_stderr: Its standard error.
    """

    smoothed: Smoothed
    shift: Array
    shift_stderr: Array
    ratio: Array
    coverage: Array
    coverage_stderr: Array


def weigh(draws: Array, log_ratios: Array) -> Weighed:
    """Compares draws (S, D) with themselves, weighted by exp of log ratios (S,)."""
    found = smoothed(log_ratios)
    w, mean, sd = found.weights[:, None], draws.mean(axis=0), draws.std(axis=0, ddof=1)
    z = (draws - mean) / sd
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    inside = (low <= draws) & (draws <= high)
    shift, coverage = (w * z).sum(axis=0), (w * inside).sum(axis=0)
    return Weighed(
        found,
        shift,
        np.sqrt((((z - shift) * w - z / len(z)) ** 2).sum(axis=0)),
        np.sqrt((w * (z - shift) ** 2).sum(axis=0)),
        coverage,
        np.sqrt((w**2 * (inside - coverage) ** 2).sum(axis=0)),
    )


def weighted_quantiles(draws: Array, weights: Array, levels: Sequence[float]) -> Array:
    """Returns quantiles (Q, D) of draws (S, D) with weights (S,) that add up to one."""
    order = np.argsort(draws, axis=0)
    below = weights[order].cumsum(axis=0)
    columns = np.arange(draws.shape[1])
    found = [order[np.minimum((below < q).sum(axis=0), len(draws) - 1), columns] for q in levels]
    return np.stack([draws[rows, columns] for rows in found])


class Importance(Check):
    """Weights the answer by a known likelihood."""

    name = "importance"
    needs = frozenset({"observed", "likelihood"})
    settings_class: ClassVar = ImportanceSettings
    settings: ImportanceSettings
    meanings: ClassVar = {
        "pareto_k": (
            "Tail index of the weights that turn the answer into the exact posterior, where the likelihood "
            "is known; above 0.7 they fail. Of the observation where it is largest."
        ),
        "effective_share": (
            "Share of the draws that count after this reweighting. 1: the answer is the exact posterior; of "
            "the observation where it is smallest."
        ),
        "reweighted_shift_sd": (
            "|mean of the reweighted answer - that of the answer| in standard deviations of the latter; of "
            "the observation where it is largest."
        ),
        "reweighted_sd_ratio": (
            "Standard deviation of the answer over that of the reweighted one; of the observation where it "
            "is farthest from 1."
        ),
        "reweighted_coverage": (
            "Part of the reweighted answer inside the answer's own interval of level `level`; of the "
            "observation where it is smallest."
        ),
    }

    def _judge(self, draws: Draws, rng: np.random.Generator, inputs: Inputs) -> CheckResult:
        arrays: Mapping[str, Array] = given(inputs.densities, "densities of the draws", self.name)
        theta = unlabelled(draws)
        if draws.log_density is None:
            return self._result(draws, [], notes=("The method gives no densities of its draws.",))
        log_p = [np.asarray(arrays[name], dtype=float) for name in ("log_likelihood", "log_prior")]
        for array in log_p:
            require_shape("log densities", array, *theta.shape[:2])
        log_w = log_p[0] + log_p[1] - np.asarray(draws.log_density, dtype=float)
        if np.isnan(log_w).any() or np.isposinf(log_w).any():
            raise DataError("log densities: expected numbers or -inf, got NaN or infinity.")
        if np.isneginf(log_w).all(axis=0).any():
            note = "The likelihood of some observation is zero at all draws of its answer."
            return self._result(draws, [], passed=False, notes=(note,))
        each = [weigh(theta[:, i], log_w[:, i]) for i in range(theta.shape[1])]
        reweighted = [
            weighted_quantiles(theta[:, i], one.smoothed.weights, QUANTILES) for i, one in enumerate(each)
        ]
        curves = {
            "pareto_k": np.array([one.smoothed.k for one in each]),
            "effective_share": np.array([one.smoothed.effective for one in each]) / len(theta),
            "shift": np.array([one.shift for one in each]),
            "coverage": np.array([one.coverage for one in each]),
            "levels": np.asarray(QUANTILES),
            "quantiles": np.quantile(theta, QUANTILES, axis=0),
            "reweighted_quantiles": np.stack(reweighted, axis=1),
        }
        outcomes = [self._outcome(one, len(theta)) for one in each]
        passed = False if False in outcomes else None if None in outcomes else True
        table = self._metrics(each, draws.names, len(theta))
        return self._result(draws, table, curves=curves, passed=passed)

    def _outcome(self, one: Weighed, s: int) -> bool | None:
        """Whether an answer is right; None where weights cannot tell."""
        effective, d = one.smoothed.effective, len(one.shift)
        if one.smoothed.k >= USABLE or effective < ENOUGH:
            return False if effective < LOST * s and one.smoothed.k >= USABLE else None
        if one.coverage.min() < self.settings.least_coverage:
            return False
        return True if (effective / s) ** (1 / d) >= SHARE else None

    def _metrics(self, each: Sequence[Weighed], names: Sequence[str], s: int) -> list[Metric]:
        heaviest = max(each, key=lambda one: one.smoothed.k).smoothed
        least = min(each, key=lambda one: one.smoothed.effective).smoothed
        share, tail = least.effective / s, min(0.2 * s, 3 * np.sqrt(s))
        spread = float(share**2 * np.std((s * least.weights) ** 2) / np.sqrt(s))  # of 1 / mean square
        k_error = float((1 + max(heaviest.k, 0.0)) / np.sqrt(tail))  # of the maximum likelihood estimate
        table = [
            Metric("pareto_k", heaviest.k, finite_or_none(k_error), s),
            Metric("effective_share", share, spread, s),
        ]
        for j, name in enumerate(names):
            moved = max(each, key=lambda one, j=j: abs(one.shift[j]))  # type: ignore[misc]
            scaled = max(each, key=lambda one, j=j: abs(np.log(one.ratio[j])))  # type: ignore[misc]
            held = min(each, key=lambda one, j=j: one.coverage[j])  # type: ignore[misc]
            ratio = 1 / float(scaled.ratio[j])
            found = {
                "reweighted_shift_sd": (abs(moved.shift[j]), moved.shift_stderr[j], None),
                "reweighted_sd_ratio": (ratio, ratio / np.sqrt(2 * scaled.smoothed.effective), None),
                "reweighted_coverage": (held.coverage[j], held.coverage_stderr[j], LEVEL),
            }
            table += [Metric(what, float(v), float(e), s, name, a) for what, (v, e, a) in found.items()]
        return table

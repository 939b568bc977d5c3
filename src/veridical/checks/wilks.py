r"""Frequentist inference from a learned likelihood or ratio, on data whose parameters are known.

The likelihood-ratio statistic of the true parameters and Wilks' sets, see `veridical.inference.wilks`, come
from log likelihoods on a grid. Wilks' theorem is one of large samples: where the task's exact likelihood is
there, its sets hold the truth as often as these data allow, and the learned ones are held to that. The test
is McNemar's, exact, on the data sets whose truth one of both sets holds and the other does not.

What it is handed, `surfaces`, is a mapping of arrays:

    truth                     (N, D)
    axis_0, axis_1, ...       (A_k,)             centres of equal cells of each parameter
    log_l                     (N, A_0, A_1, ...) up to a constant of each data set
    log_l_exact               likewise, where it is known

Curves: `levels`, `held`, `lower`, `upper` (K,); `statistic` (N,) of the truth; `held_exact` and
`statistic_exact` likewise.

References:
    | The large-sample distribution of the likelihood ratio for testing composite hypotheses (Wilks, 1938)
    | https://doi.org/10.1214/aoms/1177732360
    | Note on the sampling error of the difference between correlated proportions (McNemar, 1947)
    | https://doi.org/10.1007/BF02295996
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from veridical.checks import uniformity
from veridical.checks.base import (
    Check,
    CheckResult,
    Line,
    Metric,
    finite_or_none,
    mean_stderr,
    per_parameter,
    proportion_stderr,
)
from veridical.checks.inputs import Array, Inputs, given
from veridical.checks.uniformity import LEVELS
from veridical.errors import DataError
from veridical.inference.wilks import LikelihoodSurfaces, threshold
from veridical.saved.posteriors import Draws
from veridical.sections import Alpha, Count, Section

_NEAR = 20.0  # exact statistics of cells that count
_NULL_DRAWS = 9_999  # uniform samples behind the band

Level = Annotated[float, Field(gt=0, lt=1)]


class WilksSettings(Section):
    """Sets of parameters by the likelihood-ratio statistic of a learned likelihood or ratio."""

    observations: Count = Field(
        default=200, description="Data sets, at most, whose likelihoods are computed."
    )
    cells: Annotated[int, Field(ge=10, le=400)] = Field(
        default=30, description="Cells of the grid along each parameter, at least."
    )
    levels: Annotated[list[Level], Field(min_length=1)] = Field(
        default=[0.6827, 0.9, 0.95], description="Stated probabilities of the sets."
    )
    alpha: Alpha = Field(
        default=0.01, description="Level of the test against the exact likelihood, and of the band."
    )


def mcnemar_p(first: Array, second: Array) -> float:
    """Returns the exact two-sided p-value that two shares on the same data (N,) boolean are the same.

    >>> found = mcnemar_p(np.repeat([True, False], 50), np.repeat([False, True], 50))
    >>> float(f"{found:.3g}"), mcnemar_p(np.ones(9, bool), np.ones(9, bool))
    (1.0, 1.0)
    """
    from scipy.stats import binomtest

    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    if not only_first + only_second:
        return 1.0
    return float(binomtest(only_first, only_first + only_second).pvalue)


class Wilks(Check):
    """Whether Wilks' sets hold the truth as often, and are as small, as those of the exact likelihood."""

    name = "wilks"
    needs = frozenset({"surfaces"})
    on_all_budgets = True
    settings_class: ClassVar = WilksSettings
    settings: WilksSettings
    meanings: ClassVar = {
        "wilks_coverage": "Share of Wilks' sets by the learned likelihood that hold the truth.",
        "wilks_coverage_exact": "`wilks_coverage` of the exact likelihood's sets of the same data.",
        "wilks_difference": (
            "`wilks_coverage` less that of the exact likelihood, its error that of the paired difference."
        ),
        "wilks_area": "Mean share of the prior's range in Wilks' sets by the learned likelihood.",
        "wilks_area_exact": "`wilks_area` of the exact likelihood's sets.",
        "wilks_profile": "Share of the profile intervals of a parameter that hold the truth.",
        "wilks_p": (
            "p-value of the sets holding the truth as often as the exact likelihood's: McNemar's, the "
            "smallest of all levels times their number."
        ),
        "lrt_mse": (
            "Mean squared difference between the learned and the exact likelihood-ratio statistic of the "
            "true parameters."
        ),
        "lrt_mse_grid": "`lrt_mse` at all cells of the grid where the exact statistic is below 20.",
        "mle_shift": (
            "Mean absolute difference between the most likely parameters by the learned and by the exact "
            "likelihood, as a share of the prior's range."
        ),
    }
    shown: ClassVar = (
        Line("wilks_coverage", "truth in 95 % sets by the likelihood ratio", "95 %", "percent", 0.95),
        Line("lrt_mse", "squared error of the likelihood-ratio statistic", "0"),
        Line("wilks_p", "p-value against the exact likelihood's sets", form="p"),
    )

    def _judge(self, draws: Draws, rng: np.random.Generator, inputs: Inputs) -> CheckResult:
        arrays: Mapping[str, Array] = given(inputs.surfaces, "log likelihoods on a grid", self.name)
        axes = [arrays[f"axis_{k}"] for k in range(len(draws.names)) if f"axis_{k}" in arrays]
        if len(axes) < len(draws.names) or not {"truth", "log_l"} <= arrays.keys():
            raise DataError(f"check {self.name}: expected truth, axes and log_l, got {sorted(arrays)}.")
        truth = np.asarray(arrays["truth"], float)
        own = LikelihoodSurfaces.of(axes, arrays["log_l"])
        exact = LikelihoodSurfaces.of(axes, arrays["log_l_exact"]) if "log_l_exact" in arrays else None
        table = [*self._sets(own, truth, ""), *self._profiles(own, truth, draws.names)]
        curves, p_value = self._curves(own, truth, ""), None
        band = uniformity.band(len(truth), LEVELS, self.settings.alpha, _NULL_DRAWS)
        curves |= {"levels": band.grid, "lower": band.lower, "upper": band.upper}
        if exact is not None:
            table += [*self._sets(exact, truth, "_exact"), *_apart(own, exact, truth, draws.names)]
            found, p_value = self._against(own, exact, truth)
            table += found
            curves |= self._curves(exact, truth, "_exact")
        passed = None if p_value is None else p_value >= self.settings.alpha
        return self._result(draws, table, curves=curves, passed=passed, p_value=p_value)

    def _sets(self, found: LikelihoodSurfaces, truth: Array, which: str) -> Iterator[Metric]:
        """How often sets hold the truth, and how large they are."""
        n = len(truth)
        for level in self.settings.levels:
            covered, areas = found.covers(truth, level), found.areas(level)
            error = proportion_stderr(covered.sum(), n)
            yield Metric(f"wilks_coverage{which}", float(covered.mean()), error, n, level=level)
            error = finite_or_none(mean_stderr(areas))
            yield Metric(f"wilks_area{which}", float(areas.mean()), error, n, level=level)

    def _profiles(self, found: LikelihoodSurfaces, truth: Array, names: Sequence[str]) -> Iterator[Metric]:
        """How often profile intervals hold the truth."""
        n = len(truth)
        for level in self.settings.levels:
            lower, upper = np.moveaxis(found.intervals(level), -1, 0)
            inside = ((lower <= truth) & (truth <= upper)).sum(axis=0)
            yield from per_parameter(
                "wilks_profile", inside / n, proportion_stderr(inside, n), names, n=n, level=level
            )

    def _against(
        self, own: LikelihoodSurfaces, exact: LikelihoodSurfaces, truth: Array
    ) -> tuple[list[Metric], float]:
        """Differences of coverage at each level, and their common p-value."""
        n, table, p_values = len(truth), [], []
        for level in self.settings.levels:
            ours, theirs = own.covers(truth, level), exact.covers(truth, level)
            apart = ours.astype(float) - theirs
            error = np.sqrt(
                ((apart != 0).sum() + 1) / n**2
            )  # of the difference of discordant counts; never 0
            table.append(Metric("wilks_difference", float(apart.mean()), float(error), n, level=level))
            p_values.append(mcnemar_p(ours, theirs))
        p_value = min(1.0, len(p_values) * min(p_values))
        return [*table, Metric("wilks_p", p_value, None, n)], p_value

    def _curves(self, found: LikelihoodSurfaces, truth: Array, which: str) -> dict[str, Array]:
        """How often sets hold the truth at each level, and the statistics behind it."""
        statistic = found.statistic(truth)
        limits = [threshold(level, truth.shape[1]) for level in LEVELS]
        held = (statistic[:, None] <= limits).mean(axis=0)
        return {f"held{which}": held, f"statistic{which}": statistic}


def _apart(
    own: LikelihoodSurfaces, exact: LikelihoodSurfaces, truth: Array, names: Sequence[str]
) -> Iterator[Metric]:
    """How far statistics and estimates are from those of the exact likelihood."""
    n = len(truth)
    squares = (own.statistic(truth) - exact.statistic(truth)) ** 2
    yield Metric("lrt_mse", float(squares.mean()), finite_or_none(mean_stderr(squares)), n)
    near = exact.statistics < _NEAR
    gaps = np.where(near, (own.statistics - exact.statistics) ** 2, 0.0).reshape(n, -1)
    each, counts = gaps.sum(axis=1), near.reshape(n, -1).sum(axis=1)
    mean = each.sum() / counts.sum()  # of all cells; its error that of a ratio of sums over data sets
    error = finite_or_none(mean_stderr((each - mean * counts) / counts.mean()))
    yield Metric("lrt_mse_grid", float(mean), error, n)
    ranges = [len(axis) * (axis[1] - axis[0]) for axis in own.axes]
    shifts = np.abs(own.estimate - exact.estimate) / ranges
    yield from per_parameter("mle_shift", shifts.mean(axis=0), mean_stderr(shifts), names, n=n)

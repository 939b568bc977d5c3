r"""Expected coverage: how often credible regions of level a hold the truth.

A truth's *level* c is that of the smallest region that holds it: for highest-density regions the share of
draws with a larger density than the truth; for central intervals :math:`|2u - 1|` with u its fractional
rank. Then

.. math:: EC(a) = \mathrm{mean}_m 1\{c_m \leq a\}, \quad
   \int_0^1 (EC(a) - a) \, da = \tfrac12 - \mathrm{mean}(c), \quad
   \mathrm{ACAUC} = \mathrm{mean}(c) - \tfrac12 .

Levels c are randomised within ties and steps of 1 / (S + 1), hence exactly uniform under an exact posterior.
EC below the diagonal, a negative area and a positive ACAUC all mean over-confident.

Curves: `levels` (K,); `central` (D, K); `hpd` (K,) where there are log densities; `lower`, `upper` (K,), the
band that all of these curves stay within, at the family-wise level; `residual_central`, `residual_hpd`,
`residual_lower`, `residual_upper`, the same minus the nominal level.

References:
    | A Trust Crisis In Simulation-Based Inference? (Hermans et al., 2022), https://arxiv.org/abs/2110.06581
    | Truncated proposals for scalable and hassle-free SBI (Deistler et al., 2022), https://arxiv.org/abs/2210.04815
    | Addressing Misspecification in Simulation-based Inference through Data-driven Calibration
    | (Wehenkel et al., 2024), https://arxiv.org/abs/2405.08719
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from veridical.checks import uniformity
from veridical.checks.base import (
    Check,
    CheckResult,
    Line,
    Metric,
    bootstrap,
    finite_or_none,
    mean_stderr,
    per_parameter,
    proportion_stderr,
)
from veridical.checks.inputs import Array, Inputs, densities, labelled
from veridical.checks.uniformity import LEVELS, fractional_ranks
from veridical.saved.posteriors import Draws
from veridical.sections import Alpha, Repeats, Section

GAP_LEVELS = tuple(round(0.05 * i, 2) for i in range(1, 20))


class CoverageSettings(Section):
    """Expected coverage of highest-density regions and of central intervals."""

    alpha: Alpha = Field(default=0.05, description="Family-wise level of the band over all curves.")
    levels: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        default=[0.5, 0.8, 0.9, 0.95], min_length=1, description="Levels whose coverage is tabulated."
    )
    null_draws: Annotated[int, Field(ge=999)] = Field(
        default=9_999, description="Uniform samples behind the simultaneous band."
    )
    bootstrap: Repeats = Field(default=200, description="Resampled test sets behind the standard errors.")


def hpd_levels(log_density: Array, log_density_truth: Array, rng: np.random.Generator) -> Array:
    """Returns levels of the smallest highest-density regions that hold the truth, shape (N,).

    Arguments:
        log_density: Of the draws, shape (S, N); up to a constant per data set.
        log_density_truth: Of the truth, shape (N,); -inf gives the largest level.
        rng: Breaks ties.
    """
    return 1 - fractional_ranks(log_density, log_density_truth, rng)


def central_levels(draws: Array, truth: Array, rng: np.random.Generator) -> Array:
    """Returns levels of the smallest central intervals that hold the truth, shape (N, D)."""
    return np.abs(2 * fractional_ranks(draws, truth, rng) - 1)


def expected_coverage(levels_of_truth: Array, levels: Sequence[float] | Array) -> Array:
    """Returns EC at nominal levels (K,) from levels of the truth (N, C), shape (C, K)."""
    held = np.searchsorted(np.asarray(levels), levels_of_truth, side="left")
    k = len(levels)
    counts = np.stack([np.bincount(column, minlength=k + 1)[:k] for column in held.T])
    return counts.cumsum(axis=1) / len(levels_of_truth)


def acauc(levels_of_truth: Array) -> Array:
    """Returns ACAUC from levels of central intervals (N, ...): mean over N, minus one half."""
    return levels_of_truth.mean(axis=0) - 0.5


def coverage_gap(levels_of_truth: Array) -> Array:
    """Returns the mean of |EC(a) - a| over a = 0.05, 0.10, ..., 0.95 from levels (N, C), shape (C,)."""
    return np.abs(expected_coverage(levels_of_truth, GAP_LEVELS) - np.asarray(GAP_LEVELS)).mean(axis=1)


def expected_gap(n: int) -> float:
    r"""Returns the mean coverage gap of an exact posterior over n data sets.

    De Moivre: :math:`E|B/n - a| = 2 \frac{k}{n} (1 - a) P(B = k)` for B ~ Bin(n, a) and k = floor(n a) + 1.
    """
    from scipy.special import gammaln

    a = np.asarray(GAP_LEVELS)
    k = np.floor(n * a + 1e-9) + 1
    log_pmf = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) + k * np.log(a) + (n - k) * np.log1p(-a)
    return float(np.mean(2 * k / n * (1 - a) * np.exp(log_pmf)))


class Coverage(Check):
    """Measures expected coverage and tests whether all of its curves stay within a simultaneous band."""

    name = "coverage"
    needs = frozenset({"truth"})
    on_real = True
    settings_class: ClassVar = CoverageSettings
    settings: CoverageSettings
    meanings: ClassVar = {
        "acauc": (
            "Mean |2u - 1| - 1/2 over data sets, u the fractional rank of the truth among the draws: area "
            "between the diagonal and the coverage curve of central intervals. Above 0: too narrow; below 0:"
            " too wide; range [-0.5, 0.5]."
        ),
        "asked_together": (
            "1 where the answer to one data set depends on the others asked with it: counts over data sets "
            "are then not binomial."
        ),
        "coverage": "Share of central intervals of level `level` that hold the truth.",
        "coverage_gap": (
            "Mean of |coverage - a| of central intervals over the levels a = 0.05, 0.10, ..., 0.95."
        ),
        "coverage_p": (
            "p-value of all coverage curves staying on the diagonal, Bonferroni-corrected over curves."
        ),
        "hpd_area": (
            "Integral of (expected coverage - a) over levels a of highest-density regions. Below 0: "
            "over-confident."
        ),
        "hpd_coverage": "Share of highest-density regions of level `level` that hold the truth.",
        "hpd_coverage_gap": (
            "Mean of |coverage - a| of highest-density regions over a = 0.05, 0.10, ..., 0.95."
        ),
    }
    shown: ClassVar = (
        Line("coverage", "50 % intervals hold the truth in", "50 %", "percent", 0.5),
        Line("coverage", "90 % intervals hold the truth in", "90 %", "percent", 0.9),
        Line("hpd_coverage", "90 % joint regions hold the truth in", "90 %", "percent", 0.9),
        Line("coverage_gap", "coverage misses the stated probability by, on average", "near 0", "percent"),
        Line("acauc", "signed miss (above 0: too narrow, below 0: too wide)", "0"),
        Line("coverage_p", "p-value of the coverage test", form="p"),
    )

    def _judge(self, draws: Draws, rng: np.random.Generator, inputs: Inputs) -> CheckResult:
        theta, truth = labelled(draws, self.name)
        central = central_levels(theta, truth, rng)
        table = self._central(central, draws.names, rng)
        curves = {"levels": np.asarray(LEVELS), "central": expected_coverage(central, LEVELS)}
        log_q = densities(draws)
        judged = central
        if log_q is not None:
            hpd = hpd_levels(*log_q, rng)[:, None]
            table += self._hpd(hpd, rng)
            curves["hpd"] = expected_coverage(hpd, LEVELS)[0]
            judged = np.hstack([central, hpd])
        passed, p_value, band = self._test(judged)
        table.append(Metric("coverage_p", p_value, None, len(truth)))
        curves |= {"lower": band.lower, "upper": band.upper}
        residuals = {f"residual_{name}": curve - LEVELS for name, curve in curves.items() if name != "levels"}
        if draws.attrs.get("asked_together"):
            table.append(Metric("asked_together", 1.0, None, len(truth)))
        note = f"A calibrated posterior has a coverage gap of {expected_gap(len(truth)):.3f} on average."
        return self._result(
            draws, table, curves=curves | residuals, passed=passed, p_value=p_value, notes=(note,)
        )

    def _test(self, levels_of_truth: Array) -> tuple[bool, float, uniformity.Band]:
        """Whether all columns of levels (N, C) are uniform, Bonferroni's p-value, and the band."""
        (n, c), options = levels_of_truth.shape, self.settings
        counts = uniformity.counts_below(levels_of_truth, LEVELS)
        p = uniformity.p_value(uniformity.log_gamma(counts, n, LEVELS), n, LEVELS, options.null_draws)
        band = uniformity.band(n, LEVELS, options.alpha / c, options.null_draws)
        return bool(p.min() > options.alpha / c), float(min(1.0, c * p.min())), band

    def _central(self, central: Array, names: Sequence[str], rng: np.random.Generator) -> list[Metric]:
        n = len(central)
        gaps = bootstrap(lambda rows: coverage_gap(central[rows]), n, self.settings.bootstrap, rng)
        gap, area = coverage_gap(central), acauc(central)
        table = [
            *per_parameter("acauc", area, mean_stderr(central), names, n=n),
            Metric("acauc", float(area.mean()), finite_or_none(mean_stderr(central.mean(axis=1))), n),
            *per_parameter("coverage_gap", gap, gaps.std(axis=0, ddof=1), names, n=n),
            Metric("coverage_gap", float(gap.mean()), float(gaps.mean(axis=1).std(ddof=1)), n),
        ]
        for level in self.settings.levels:
            held = central <= level
            errors = proportion_stderr(held.sum(axis=0), n)
            table += per_parameter("coverage", held.mean(axis=0), errors, names, n=n, level=level)
            joint = max(mean_stderr(held.mean(axis=1)), proportion_stderr(held.sum(), held.size))
            table.append(Metric("coverage", float(held.mean()), finite_or_none(joint), n, level=level))
        return table

    def _hpd(self, hpd: Array, rng: np.random.Generator) -> list[Metric]:
        n = len(hpd)
        gaps = bootstrap(lambda rows: coverage_gap(hpd[rows]), n, self.settings.bootstrap, rng)
        table = [
            Metric("hpd_area", float(0.5 - hpd.mean()), finite_or_none(mean_stderr(hpd[:, 0])), n),
            Metric("hpd_coverage_gap", float(coverage_gap(hpd)[0]), float(gaps.std(ddof=1)), n),
        ]
        for level in self.settings.levels:
            held = int((hpd <= level).sum())
            table.append(Metric("hpd_coverage", held / n, proportion_stderr(held, n), n, level=level))
        return table

"""Simulation-based calibration: ranks of the truth among the draws.

Under an exact posterior the rank of each true parameter among its S draws is uniform on 0..S. The rank of the
truth's log density among those of the draws is uniform too; it sees wrong dependence between parameters. Both
are blind to a posterior that equals the prior: see `tarp`, contraction and LPP for that.

Curves: `grid` (K,); `ecdf` (D, K); `lower`, `upper` (K,), the band at the family-wise level; and, where there
are log densities, `ecdf_log_density`, `lower_log_density`, `upper_log_density` (K,).

References:
    | Validating Bayesian Inference Algorithms with Simulation-Based Calibration (Talts et al., 2018)
    | https://arxiv.org/abs/1804.06788
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from veridical.checks import uniformity
from veridical.checks.base import Check, CheckResult, Metric, bootstrap, per_parameter
from veridical.checks.inputs import Array, DrawsLike, Inputs, densities, labelled
from veridical.checks.uniformity import Band, Grid, fractional_ranks
from veridical.sections import Alpha, Repeats, Section


class SBCSettings(Section):
    """Simulation-based calibration: are the ranks of the truth among the draws uniform?"""

    alpha: Alpha = Field(default=0.05, description="Family-wise level of the test over all parameters.")
    null_draws: Annotated[int, Field(ge=999)] = Field(
        default=9_999, description="Uniform samples behind the null distribution of gamma."
    )
    grid_points: Annotated[int, Field(ge=10)] = Field(
        default=1_000,
        description="Most points at which the rank ECDF is compared; ranks beyond that are thinned.",
    )
    bootstrap: Repeats = Field(default=200, description="Resampled test sets behind the standard errors.")


class Uniformity(NamedTuple):
    """Whether the D columns of numbers are uniform.

    Attributes:
        log_gamma: log(gamma / gamma_bar) per column, below 0 where rejected at alpha; shape (D,).
        p: Monte Carlo p-values, shape (D,).
        family: log(min gamma / gamma_bar of alpha / D), below 0 where rejected at the family-wise level.
        family_p: Bonferroni's p-value over the columns.
        ecdf: Share of numbers below each grid point, shape (D, K).
        band: What the ECDFs of all columns stay within, at the family-wise level.
    """

    log_gamma: Array
    p: Array
    family: float
    family_p: float
    ecdf: Array
    band: Band


def ranks(draws: Array, truth: Array, rng: np.random.Generator) -> Array:
    """Returns ranks 0..S of the truth (N, D) among draws (S, N, D), ties broken at random, shape (N, D)."""
    u = fractional_ranks(draws, truth, rng)
    return np.minimum((u * (len(draws) + 1)).astype(int), len(draws))


def uniform(u: Array, grid: Grid, alpha: float, null_draws: int) -> Uniformity:
    """Tests whether each column of u (N, D) is uniform, and all of them at a family-wise level.

    Bonferroni's correction holds whatever the dependence between the columns; for independent ones it is
    exact up to terms of order alpha squared.
    """
    n, d = u.shape
    counts = uniformity.counts_below(u, grid)
    gamma = uniformity.log_gamma(counts, n, grid)
    p = uniformity.p_value(gamma, n, grid, null_draws)
    return Uniformity(
        log_gamma=gamma - uniformity.log_threshold(n, grid, alpha, null_draws),
        p=p,
        family=float(gamma.min() - uniformity.log_threshold(n, grid, alpha / d, null_draws)),
        family_p=float(min(1.0, d * p.min())),
        ecdf=counts / n,
        band=uniformity.band(n, grid, alpha / d, null_draws),
    )


class SBC(Check):
    """Tests ranks for uniformity, per parameter and over all parameters."""

    name = "sbc"
    needs = frozenset({"truth"})
    settings_class: ClassVar = SBCSettings
    settings: SBCSettings
    meanings: ClassVar = {
        "log_gamma": (
            "log(gamma / gamma_bar) of the rank ECDF; below 0 rejects uniform ranks: per parameter at 5 %, "
            "without a parameter for all of them at a family-wise 5 %. The parameter `log_density` stands "
            "for ranks of the density."
        ),
        "sbc_p": "p-value of uniform ranks; without a parameter, Bonferroni-corrected over parameters.",
    }

    def _judge(self, draws: DrawsLike, rng: np.random.Generator, inputs: Inputs) -> CheckResult:
        theta, truth = labelled(draws, self.name)
        table, found = self._test(fractional_ranks(theta, truth, rng), len(theta), draws.names, rng)
        curves = {"grid": found.band.grid, "ecdf": found.ecdf}
        curves |= {"lower": found.band.lower, "upper": found.band.upper}
        log_q = densities(draws)
        if log_q is not None:
            u = fractional_ranks(*log_q, rng)[:, None]
            rows, of_density = self._test(u, len(theta), ["log_density"], rng)
            table += [row for row in rows if row.parameter]
            curves["ecdf_log_density"] = of_density.ecdf[0]
            curves["lower_log_density"] = of_density.band.lower
            curves["upper_log_density"] = of_density.band.upper
        return self._result(draws, table, curves=curves, passed=found.family >= 0, p_value=found.family_p)

    def _test(
        self, u: Array, s: int, names: Sequence[str], rng: np.random.Generator
    ) -> tuple[list[Metric], Uniformity]:
        """Metrics per column of u (N, D) and of the family, and the test behind them."""
        options, n = self.settings, len(u)
        grid = uniformity.rank_grid(s, options.grid_points)
        found = uniform(u, grid, options.alpha, options.null_draws)
        again = bootstrap(
            lambda rows: uniformity.log_gamma(uniformity.counts_below(u[rows], grid), n, grid),
            n,
            options.bootstrap,
            rng,
        )
        errors, family_error = again.std(axis=0, ddof=1), again.min(axis=1).std(ddof=1)
        p_errors = np.sqrt(found.p * (1 - found.p) / options.null_draws)
        table = per_parameter("log_gamma", found.log_gamma, errors, names, n=n)
        table += per_parameter("sbc_p", found.p, p_errors, names, n=n)
        table.append(Metric("log_gamma", found.family, float(family_error), n))
        table.append(Metric("sbc_p", found.family_p, None, n))
        return table, found

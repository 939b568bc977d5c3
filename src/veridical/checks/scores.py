r"""Scores of draws and densities against the truth.

With draws :math:`T_{ml}` (draw l, data set m), truth :math:`\theta^*_m`, per parameter:

- LPP = mean over m of log q(truth | x); NLTP = -LPP. Densities of zero stay: they make it -inf;
  their share is stated.
- NRMSE = median over l of :math:`\sqrt{\mathrm{mean}_m (T_{ml} - \theta^*_m)^2}` / range of the truth. This
  is not the error of the posterior mean: a calibrated posterior has sqrt(2) times that.
- RMSE = root mean square error of the posterior mean, in the parameter's unit.
- Contraction = median over m of 1 - Var_l(T) / Var_m(truth), clipped to [0, 1].
- z-score = (posterior mean - truth) / posterior sd: median over m, and its standard deviation.
- Calibration error = median over 20 levels a in 0.005..0.995 of |share of central intervals that hold the
  truth - a|.

NRMSE, contraction, z-score and calibration error are defined as in BayesFlow 2.

Where the prior p is known, too, whether the data taught anything:

- Gain = mean over m of :math:`\log q(\theta^*_m | x_m) - \log p(\theta^*_m)`: an answer that is the prior
  has none, and one that is wrongly narrow less than none.
- Prior contraction = 1 - mean over m of Var_l(T) / Var(p): its denominator has no sampling error.
- Informed p: one-sided test that posterior means go with the truth (Fisher's z), per parameter.

Curves: `truth`, `median`, `mad`, `z_score`, `contraction` (n, D) of the first data sets, for recovery plots;
`log_density` at the truth (N,) where it is known, by which budgets are compared data set by data set.

References:
    | BayesFlow: Amortized Bayesian Workflows With Neural Networks (Radev et al., 2023)
    | https://arxiv.org/abs/2306.16015
    | Toward a principled Bayesian workflow in cognitive science (Schad et al., 2021)
    | https://arxiv.org/abs/1904.12765
"""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar, NamedTuple

import numpy as np
from pydantic import Field

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
from veridical.checks.coverage import central_levels
from veridical.checks.inputs import Array, Inputs, density_of_truth, labelled
from veridical.errors import DataError
from veridical.saved.posteriors import Draws
from veridical.sections import Count, Repeats, Section
from veridical.tasks.base import Prior

CALIBRATION_LEVELS = np.linspace(0.005, 0.995, 20)
LPP_QUANTILES = (0.05, 0.5)
_PRIOR_DRAWS = 20_000  # behind the variance of the prior


class ScoresSettings(Section):
    """Scores of draws and densities against the truth."""

    bootstrap: Repeats = Field(default=200, description="Resampled test sets behind the standard errors.")
    recovery_rows: Count = Field(
        default=300, description="Data sets kept for the plot of estimate against truth."
    )


class Moments(NamedTuple):
    """What the scores need of the draws of each data set; shapes (N, D) and, for `inside`, (20, N, D)."""

    truth: Array
    mean: Array
    variance: Array
    squared_error: Array
    inside: Array


def moments(draws: Array, truth: Array, discrete: Collection[int], rng: np.random.Generator) -> Moments:
    """Returns mean, variance (ddof 1), mean squared error of draws, and which intervals hold the truth.

    Arguments:
        draws: Shape (S, N, D).
        truth: Shape (N, D).
        discrete: Which parameters are: their intervals have ends that are randomised within ties.
        rng: Breaks those ties.
    """
    each = (
        central_levels(draws[:, :, j], truth[:, j], rng) <= CALIBRATION_LEVELS[:, None]
        if j in discrete
        else _inside(draws[:, :, j], truth[:, j])
        for j in range(truth.shape[1])
    )
    inside = np.stack(list(each), axis=-1)
    mean, variance = draws.mean(axis=0), draws.var(axis=0, ddof=1)
    population = variance * (len(draws) - 1) / len(draws)
    return Moments(truth, mean, variance, population + (mean - truth) ** 2, inside)


def nrmse(draws: Array, truth: Array) -> Array:
    """Returns the error of single draws over the range of the truth, shape (D,)."""
    per_draw = np.stack(
        [np.sqrt(((draws[:, :, j] - truth[:, j]) ** 2).mean(axis=1)) for j in range(truth.shape[1])], axis=-1
    )
    return np.median(per_draw, axis=0) / np.ptp(truth, axis=0)


def rmse(m: Moments) -> Array:
    """Returns the root mean square error of the posterior mean, shape (D,)."""
    return np.sqrt(((m.mean - m.truth) ** 2).mean(axis=0))


def contraction(m: Moments) -> Array:
    """Returns posterior contraction per data set, shape (N, D), against the variance of the truth."""
    return np.clip(1 - m.variance / m.truth.var(axis=0, ddof=1), 0, 1)


def z_score(m: Moments) -> Array:
    """Returns posterior z-scores per data set, shape (N, D).

    A posterior of zero width, as one that collapsed onto a bound, has an infinite one where it misses.
    """
    miss = m.mean - m.truth
    with np.errstate(divide="ignore", invalid="ignore"):
        value: Array = np.where(miss == 0, 0.0, miss / np.sqrt(m.variance))
    return value


def spread(z: Array) -> Array:
    """Returns the standard deviation of z-scores (N, D) over data sets, shape (D,); inf if one is."""
    finite = np.isfinite(z)
    sd = np.where(finite, z, 0.0).std(axis=0, ddof=1)
    return np.where(finite.all(axis=0), sd, np.inf)


def calibration_error(m: Moments) -> Array:
    """Returns the median over levels of the absolute miscoverage of central intervals, shape (D,)."""
    miss = np.abs(m.inside.mean(axis=1) - CALIBRATION_LEVELS[:, None])
    return np.median(miss, axis=0)


def learned_metrics(
    draws: Draws, m: Moments, log_q: Array | None, prior: Prior, rng: np.random.Generator
) -> list[Metric]:
    """Returns what the data taught beyond the prior: gain, contraction over its variance, correlations.

    Arguments:
        draws: The draws, for the names.
        m: Their moments.
        log_q: Log density of the truth (N,), if known.
        prior: The prior of the task.
        rng: Draws from the prior for its variance.
    """
    from scipy.special import ndtr

    n, names = len(m.truth), draws.names
    prior_variance = prior.sample(rng, _PRIOR_DRAWS).var(axis=0)
    shrink, its_error = 1 - m.variance.mean(axis=0) / prior_variance, mean_stderr(m.variance) / prior_variance
    table = per_parameter("prior_contraction", shrink, its_error, names, n=n)
    centred, truth = m.mean - m.mean.mean(axis=0), m.truth - m.truth.mean(axis=0)
    scale = np.sqrt((centred**2).sum(axis=0) * (truth**2).sum(axis=0))
    r = np.where(scale > 0, (centred * truth).sum(axis=0) / np.maximum(scale, np.finfo(float).tiny), 0.0)
    p = ndtr(-np.arctanh(np.clip(r, -1 + 1e-15, 1 - 1e-15)) * np.sqrt(max(n - 3, 0)))
    table += [Metric("informed_p", float(v), None, n, name) for v, name in zip(p, names, strict=True)]
    if log_q is not None:
        log_p = prior.log_prob(m.truth)
        inside = np.isfinite(log_p)
        gain = log_q[inside] - log_p[inside]
        if len(gain) > 1:
            error = float(mean_stderr(gain)) if np.isfinite(gain).all() else None
            table.append(Metric("gain", float(gain.mean()), error, len(gain)))
    return table


def log_score_metrics(log_density_truth: Array, repeats: int, rng: np.random.Generator) -> list[Metric]:
    """Returns LPP, NLTP, share of zeros and quantiles of the log density of the truth (N,); -inf stays.

    Quantiles are order statistics, so that they are finite wherever the density there is.
    """
    n = len(log_density_truth)
    lpp = float(np.mean(log_density_truth))
    zeros = int(np.isneginf(log_density_truth).sum())
    stderr = None if zeros or n < 2 else float(log_density_truth.std(ddof=1) / np.sqrt(n))
    extra = {"zero_densities": zeros} if zeros else {}
    table = [Metric("lpp", lpp, stderr, n, extra=extra), Metric("nltp", -lpp, stderr, n, extra=extra)]
    table.append(Metric("zero_density_share", zeros / n, proportion_stderr(zeros, n), n))
    for level in LPP_QUANTILES:
        table.append(_lpp_quantile(log_density_truth, level, repeats, rng))
    return table


class Scores(Check):
    """Scores draws and densities against the truth."""

    name = "scores"
    needs = frozenset({"truth"})
    on_real = True
    on_all_budgets = True
    settings_class: ClassVar = ScoresSettings
    settings: ScoresSettings
    meanings: ClassVar = {
        "calibration_error": (
            "Median over 20 levels a in 0.005..0.995 of |share of central intervals of level a that hold the"
            " truth - a|."
        ),
        "contraction": (
            "Median over data sets of 1 - posterior variance / variance of the true parameters, clipped to "
            "[0, 1]. 0: the data taught nothing; 1: they pin the parameter down."
        ),
        "gain": (
            "Mean of log posterior - log prior density at the true parameters: what the data taught (nats). "
            "An answer that is the prior has 0, one that is wrongly narrow less."
        ),
        "informed_p": (
            "One-sided p-value that posterior means go with the true parameters (correlation over data sets);"
            " large where the data say nothing of the parameter."
        ),
        "lpp": (
            "Mean log posterior density at the true parameters, in the parameters' units. Higher is better."
        ),
        "lpp_quantile": (
            "Quantile `level` over data sets of the log posterior density at the true parameters."
        ),
        "nltp": "-`lpp`. Lower is better.",
        "nrmse": (
            "Median over draws of the root mean square error of a single draw over data sets, divided by the"
            " range of the true parameters. A calibrated posterior has sqrt(2) times the error of its mean."
        ),
        "prior_contraction": (
            "1 - mean posterior variance / variance of the prior. Unlike `contraction` it does not depend on "
            "which true parameters the data sets happen to have."
        ),
        "rmse": "Root mean square error of the posterior mean over data sets, in the parameter's unit.",
        "z_score": "Median over data sets of (posterior mean - truth) / posterior standard deviation.",
        "z_score_sd": "Standard deviation of that z-score over data sets: 1 where the width is right.",
        "zero_density_share": (
            "Share of data sets whose true parameters have posterior density zero; any makes `lpp` -inf."
        ),
    }
    shown: ClassVar = (
        Line("contraction", "how far the data shrink the prior variance", "near 100 %", "percent"),
        Line("nrmse", "typical error of a draw, as a share of the range of true values", "small", "percent"),
        Line("nltp", "surprise at the true parameters (NLTP)", "low"),
    )

    def _judge(self, draws: Draws, rng: np.random.Generator, inputs: Inputs) -> CheckResult:
        theta, truth = labelled(draws, self.name)
        if len(theta) < 2 or len(truth) < 2 or not (np.ptp(truth, axis=0) > 0).all():
            raise DataError(
                f"check {self.name}: expected at least 2 draws and 2 data sets whose truths differ, "
                f"got {len(theta)} draws of {len(truth)} data sets."
            )
        discrete = [draws.names.index(name) for name in draws.support.discrete]
        m = moments(theta, truth, discrete, rng)
        if not np.delete((m.variance > 0).any(axis=0), discrete).all():
            raise DataError("draws: expected draws that differ, got a posterior of zero width everywhere.")
        table = self._estimates(draws, nrmse(theta, truth), m, rng)
        log_q = density_of_truth(draws)
        if log_q is not None:
            table += log_score_metrics(log_q, self.settings.bootstrap, rng)
        if inputs.prior is not None:
            table += learned_metrics(draws, m, log_q, inputs.prior, rng)
        at_truth = {} if log_q is None else {"log_density": log_q}
        return self._result(draws, table, curves={**self._recovery(theta, m), **at_truth})

    def _estimates(
        self, draws: Draws, single_draws: Array, m: Moments, rng: np.random.Generator
    ) -> list[Metric]:
        z = z_score(m)
        values = {
            "nrmse": single_draws,
            "rmse": rmse(m),
            "contraction": np.median(contraction(m), axis=0),
            "z_score": np.median(z, axis=0),
            "z_score_sd": spread(z),
            "calibration_error": calibration_error(m),
        }

        def again(rows: Array) -> Array:
            """The same statistics of resampled data sets, shape (6, D)."""
            truth, mean, variance, squared, inside = m
            part = Moments(truth[rows], mean[rows], variance[rows], squared[rows], inside[:, rows])
            with np.errstate(invalid="ignore", divide="ignore"):  # equal truths: no error can be stated
                error = np.sqrt(part.squared_error.mean(axis=0)) / np.ptp(part.truth, axis=0)
                shrink = contraction(part)
            middle = np.median(np.stack([shrink, z[rows]]), axis=1)
            return np.stack([error, rmse(part), *middle, spread(z[rows]), calibration_error(part)])

        n = len(m.truth)
        repeated = bootstrap(again, n, self.settings.bootstrap, rng)
        table: list[Metric] = []
        for i, (name, value) in enumerate(values.items()):
            with np.errstate(invalid="ignore"):  # infinite z-scores have no error
                errors = repeated[:, i].std(axis=0, ddof=1)
                overall = repeated[:, i].mean(axis=1).std(ddof=1)
            table += per_parameter(name, value, errors, draws.names, n=n)
            if name != "rmse":  # parameters have different units
                table.append(Metric(name, float(value.mean()), finite_or_none(overall), n))
        return table

    def _recovery(self, draws: Array, m: Moments) -> dict[str, Array]:
        rows = slice(self.settings.recovery_rows)
        median = np.median(draws[:, rows], axis=0)
        return {
            "truth": m.truth[rows],
            "median": median,
            "mad": np.median(np.abs(draws[:, rows] - median), axis=0),
            "z_score": z_score(m)[rows],
            "contraction": contraction(m)[rows],
        }


def _inside(draws: Array, truth: Array) -> Array:
    """Which central intervals of draws (S, N) hold the truth (N,), one row per level, shape (20, N)."""
    lower = (1 - CALIBRATION_LEVELS) / 2
    bounds = np.quantile(draws, np.stack([lower, 1 - lower]), axis=0)
    return (bounds[0] <= truth) & (truth <= bounds[1])


def _lpp_quantile(values: Array, level: float, repeats: int, rng: np.random.Generator) -> Metric:
    def quantile(rows: Array) -> float:
        return float(np.quantile(values[rows], level, method="inverted_cdf"))

    again = bootstrap(quantile, len(values), repeats, rng)
    error = float(again.std(ddof=1)) if np.isfinite(again).all() else None
    return Metric("lpp_quantile", quantile(np.arange(len(values))), error, len(values), level=level)

r"""Coverage studies: many pseudo-experiments with known truth, in batches, added up without holding them.

Estimates, for each true value, with deviation z = |value - truth| / sigma:

.. math:: c(z) = \mathrm{share}\{|\hat\kappa - \kappa| / \sigma < z\}, \quad
   \mathrm{ideal}(z) = \Phi(z) - \Phi(-z), \quad
   \mathrm{gap} = \mathrm{mean}_z |c - \mathrm{ideal}|, \; z = 0, 0.01, \ldots, 3

for sigma = `total` (both parts of the error, in quadrature), `statistical` alone, `likelihood_ratio`
(deviation by the shape of the likelihood) and `pointwise` (one event per experiment). An experiment whose
estimate or error is not a finite number counts as one that every interval misses.

Posteriors: coverage of central intervals per parameter from fractional ranks u, level |2u - 1|, and of
highest-density regions; area, log score.

Curves that the ideal level makes uniform are tested and banded as in `veridical.checks.uniformity` (gamma of
the binomial ECDF, simultaneous, Bonferroni over the curves of a family); beyond 10,000 experiments by
Kolmogorov-Smirnov and the Dvoretzky-Kiefer-Wolfowitz band :math:`\sqrt{\log(2/\alpha) / 2n}`, which on a grid
are conservative. All else is sums over batches: memory does not grow with the experiments.

Curves: of estimates `z`, `ideal`, `lower`, `upper` (301,), `true_values` (V,); `total`, `statistical`,
`likelihood_ratio` (V, 301), `pointwise` (301,); `residual_` of each but `z`, minus the ideal; the first
experiments as `example_value`, `example_statistical`, `example_total` (n, V). Of posteriors `levels`,
`lower`, `upper`, `hpd` (K,), `central` (D, K); `residual_` of each but `levels`, minus the level.

References:
    | Frequentist Uncertainties on Neural Density Ratios with w_i f_i Ensembles (Benevedes & Thaler, 2025)
    | https://arxiv.org/abs/2506.00113
    | Graphical Test for Discrete Uniformity and Its Applications (Säilynoja et al., 2022)
    | https://arxiv.org/abs/2103.10522
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import erf, log, sqrt
from typing import Any, NamedTuple

import numpy as np

from veridical import experiments
from veridical.checks import uniformity
from veridical.checks.base import CheckResult, Metric, finite_or_none, proportion_stderr
from veridical.checks.coverage import GAP_LEVELS
from veridical.checks.inputs import Array
from veridical.checks.uniformity import LEVELS, Grid
from veridical.errors import ShapeError
from veridical.shards import PathLike

NAME = "experiments"
Z = np.linspace(0, 3, 301)
IDEAL = np.array([erf(z / sqrt(2)) for z in Z])
STATED = {0.6827: 1.0, 0.9: 1.6448536269514722, 0.9545: 2.0}  # level: z
POSTERIOR_LEVELS = (0.5, 0.8, 0.9, 0.95)
EXAMPLES = 100

_AT_A_TIME = 64  # batches whose sums are held at once
_EXACT_BAND = 10_000  # experiments up to which the band is that of gamma


@dataclass(frozen=True)
class Options:
    """How experiments are judged.

    Attributes:
        alpha: Family-wise level of the bands.
        null_draws: Uniform samples behind a band.
        bootstrap: Resamplings behind the errors of the gaps.
        threads: Batches read at a time.
    """

    alpha: float = 0.05
    null_draws: int = 9_999
    bootstrap: int = 200
    threads: int = 1


class Moments(NamedTuple):
    """How many finite numbers, their sum, and the sum of their squares, one entry per column."""

    n: Array
    total: Array
    squares: Array

    @classmethod
    def of(cls, values: Array) -> Moments:
        """Returns the moments over the first axis, without what is not finite."""
        finite = np.isfinite(values)
        kept = np.where(finite, values, 0.0)
        return cls(finite.sum(axis=0), kept.sum(axis=0), (kept**2).sum(axis=0))

    @property
    def mean(self) -> Array:
        """Means; NaN where there is no number."""
        return np.where(self.n > 0, self.total / np.maximum(self.n, 1), np.nan)

    @property
    def variance(self) -> Array:
        """Variances (ddof 1); NaN below two numbers."""
        centred = np.maximum(self.squares - self.total**2 / np.maximum(self.n, 1), 0)
        return np.where(self.n > 1, centred / np.maximum(self.n - 1, 1), np.nan)

    @property
    def stderr(self) -> Array:
        """Standard errors of the means."""
        return np.sqrt(self.variance / np.maximum(self.n, 1))


Sums = dict[str, Any]


def aggregate(
    paths: Sequence[PathLike],
    rng: np.random.Generator,
    names: Sequence[str] = (),
    options: Options | None = None,
) -> CheckResult:
    """Returns the coverage of all experiments in some batches of one kind.

    Arguments:
        paths: The batches; their order decides nothing but the examples and the last bits of sums.
        rng: Resamples for the errors of the gaps.
        names: Names of the parameters: the D of posteriors, the one of estimates.
        options: How they are judged.

    Raises:
        ArtifactError: If batches are missing, damaged, or do not belong together.
        ShapeError: If there are other than D names.
    """
    options = options or Options()
    arrays = experiments.lazy(paths[:_AT_A_TIME])
    if "rank" in arrays:
        d = arrays["rank"].shape[1]
        if len(names) != d:
            raise ShapeError(f"names: expected one for each of {d} parameters, got {list(names)}.")
        return _posteriors(_added(paths, list(arrays), posterior_sums, options), names, rng, options)
    truth = np.asarray(arrays.pop("truth").compute(scheduler="synchronous"))
    examples = {name: array[:EXAMPLES] for name, array in arrays.items()}
    sums = _added(paths, list(arrays), estimate_sums, options, truth)
    return _estimates(sums, truth, examples, tuple(names), rng, options)


def _added(
    paths: Sequence[PathLike], names: Sequence[str], summed: Any, options: Options, *more: Any
) -> Sums:
    """The sums over all batches, some files at a time; each is read, summed and dropped in one thread."""
    import dask

    total: Any = None
    for first in range(0, len(paths), _AT_A_TIME):
        arrays = experiments.lazy(paths[first : first + _AT_A_TIME], like=paths[0])
        blocks = {name: arrays[name].to_delayed().ravel() for name in names}
        parts = [
            dask.delayed(summed)({name: block[i] for name, block in blocks.items()}, *more)
            for i in range(len(blocks[names[0]]))
        ]
        for part in dask.compute(*parts, scheduler="threads", num_workers=options.threads):
            total = part if total is None else _plus(total, part)
    found: Sums = total
    return found


def _plus(a: Any, b: Any) -> Any:
    """The sum of two nested records of numbers."""
    if isinstance(a, dict):
        return {key: _plus(a[key], b[key]) for key in a}
    if isinstance(a, Moments):
        return Moments(*map(np.add, a, b))
    return a + b


# ---- estimates ---------------------------------------------------------------------------------------


def deviations(arrays: Mapping[str, Array], truth: Array) -> dict[str, Array]:
    """Returns |value - truth| in standard errors, by kind of interval; infinite where it is not a number.

    Arguments:
        arrays: Those of a batch of estimates.
        truth: True values, shape (V,).

    Returns:
        Shapes (E, V); (E, 1) for `pointwise`.
    """
    off = np.abs(arrays["value"] - truth)
    found = {"statistical": arrays["statistical"], "total": np.hypot(arrays["statistical"], arrays["ratio"])}
    with np.errstate(divide="ignore", invalid="ignore"):
        z = {kind: np.where(sigma > 0, off / sigma, np.inf) for kind, sigma in found.items()}
    if "z_lr" in arrays:
        z["likelihood_ratio"] = np.abs(arrays["z_lr"])
    if "pull" in arrays:
        z["pointwise"] = np.abs(arrays["pull"])[:, None]
    return {kind: np.where(np.isnan(values), np.inf, values) for kind, values in z.items()}


def estimate_sums(arrays: Mapping[str, Array], truth: Array) -> Sums:
    """Returns what one batch of estimates adds to the sums."""
    z = deviations(arrays, truth)
    failed = ~np.isfinite(z["total"])
    off = np.where(failed, np.nan, arrays["value"] - truth)
    sigmas = {
        "statistical": arrays["statistical"],
        "ratio": arrays["ratio"],
        "total": np.hypot(arrays["statistical"], arrays["ratio"]),
    }
    return {
        "n": len(off),
        "failed": failed.sum(axis=0),
        "off": Moments.of(off),
        "sigma": {kind: Moments.of(np.where(failed, np.nan, sigma)) for kind, sigma in sigmas.items()},
        "cells": {kind: cells(values, Z) for kind, values in z.items()},
        "held": {
            kind: np.stack([(values < at).sum(axis=0) for at in STATED.values()])
            for kind, values in z.items()
        },
    }


def cells(values: Array, grid: Array) -> Array:
    """Returns how many of values (E, C) lie between grid points, above the last too, shape (C, K + 1)."""
    found = np.searchsorted(grid, values, side="right")
    k, c = len(grid), values.shape[1]
    flat = np.bincount((found + (k + 1) * np.arange(c)).ravel(), minlength=c * (k + 1))
    counts: Array = flat.reshape(c, k + 1)
    return counts


def curve(counts: Array) -> Array:
    """Returns the share of values below each grid point from cells (..., K + 1), shape (..., K)."""
    shares: Array = counts[..., :-1].cumsum(axis=-1) / counts.sum(axis=-1)[..., None]
    return shares


def gap(counts: Array, ideal: Array) -> Array:
    """Returns the mean over the grid of |curve - ideal| from cells (..., K + 1), shape (...)."""
    mean: Array = np.abs(curve(counts) - ideal).mean(axis=-1)
    return mean


def expected_gap_z(n: int) -> float:
    """Returns the mean `coverage_gap_z` of n experiments whose intervals are right, to leading order."""
    return float(np.mean(np.sqrt(2 / np.pi * IDEAL * (1 - IDEAL) / n)))


def resampled(counts: Array, repeats: int, rng: np.random.Generator) -> Array:
    """Returns cells of resampled experiments from cells (K + 1,), shape (repeats, K + 1)."""
    n = int(counts.sum())
    again: Array = rng.multinomial(n, counts / n, size=repeats)
    return again


def _estimates(
    sums: Sums,
    truth: Array,
    examples: Mapping[str, Any],
    names: tuple[str, ...],
    rng: np.random.Generator,
    options: Options,
) -> CheckResult:
    n = sums["n"]
    curves = {kind: curve(counts) for kind, counts in sums["cells"].items()}
    judged = sums["cells"]["total"][:, 1:-1].cumsum(axis=1) + sums["cells"]["total"][:, :1]
    passed, p_value, band = _test(judged, n, tuple(IDEAL[1:].tolist()), options)
    lower, upper = (np.concatenate([[0.0], edge]) for edge in (band.lower, band.upper))
    table = [
        *_gaps(sums["cells"], truth, rng, options),
        *_stated(sums["held"], n, truth),
        *_moments(sums, truth),
        Metric("experiments_p", p_value, None, n),
    ]
    drawn = curves | {"ideal": IDEAL, "lower": lower, "upper": upper}
    if "pointwise" in drawn:
        drawn["pointwise"] = drawn["pointwise"][0]
    residuals = {f"residual_{kind}": values - IDEAL for kind, values in drawn.items() if kind != "ideal"}
    note = f"Right intervals have a coverage gap of {expected_gap_z(n):.3f} on average over {n} experiments."
    return CheckResult(
        check=NAME,
        parameters=names,
        table=tuple(table),
        curves={"z": Z, "true_values": truth} | drawn | residuals | _examples(examples),
        passed=passed,
        p_value=p_value,
        settings=vars(options),
        notes=(note,),
    )


def _examples(arrays: Mapping[str, Any]) -> dict[str, Array]:
    """The first experiments, for a picture of their intervals."""
    import dask

    names = ("value", "statistical", "ratio")
    value, statistical, ratio = dask.compute(*(arrays[name] for name in names), scheduler="synchronous")
    return {
        "example_value": value,
        "example_statistical": statistical,
        "example_total": np.hypot(statistical, ratio),
    }


def _gaps(
    counts: Mapping[str, Array], truth: Array, rng: np.random.Generator, options: Options
) -> list[Metric]:
    """The gap per kind and true value, and its mean over these, whose error takes them as fully dependent."""
    table = []
    for kind, by_value in counts.items():
        values = gap(by_value, IDEAL)
        errors = np.array(
            [gap(resampled(one, options.bootstrap, rng), IDEAL).std(ddof=1) for one in by_value]
        )
        n = int(by_value[0].sum())
        if kind != "pointwise":
            table += [
                Metric("coverage_gap_z", float(v), float(e), n, extra=_where(kind, at))
                for v, e, at in zip(values, errors, truth, strict=True)
            ]
        table.append(
            Metric("coverage_gap_z", float(values.mean()), float(errors.mean()), n, extra=_where(kind))
        )
    return table


def _where(kind: str, true_value: Any = None) -> dict[str, Any]:
    """The columns that say which interval and which true value a number belongs to."""
    at = {} if true_value is None else {"true_value": float(true_value)}
    return {"interval": kind, **at}


def _stated(held: Mapping[str, Array], n: int, truth: Array) -> list[Metric]:
    """Coverage at one and two standard errors and at 90 %."""
    table = []
    for kind, counts in held.items():
        for level, by_value in zip(STATED, counts, strict=True):
            for k, at in zip(by_value, [None] if kind == "pointwise" else truth, strict=True):
                error = proportion_stderr(k, n)
                extra = _where(kind, at)
                table.append(Metric("experiment_coverage", float(k / n), error, n, level=level, extra=extra))
    return table


def _moments(sums: Sums, truth: Array) -> list[Metric]:
    """Bias and spread of the estimates, mean standard errors, share of failures."""
    n, off = sums["n"], sums["off"]
    table = []
    for i, at in enumerate(truth):
        extra, kept = {"true_value": float(at)}, int(off.n[i])
        failed = int(sums["failed"][i])
        error = proportion_stderr(failed, n)
        table.append(Metric("experiment_failed_share", failed / n, error, n, extra=extra))
        if kept < 2:
            continue
        spread = float(np.sqrt(off.variance[i]))
        table.append(Metric("experiment_bias", float(off.mean[i]), float(off.stderr[i]), kept, extra=extra))
        table.append(Metric("experiment_sd", spread, spread / sqrt(2 * (kept - 1)), kept, extra=extra))
        for kind, moments in sums["sigma"].items():
            value, error = float(moments.mean[i]), float(moments.stderr[i])
            where = _where(kind, at)
            table.append(Metric("experiment_sigma", value, error, kept, extra=where))
    return table


# ---- posteriors --------------------------------------------------------------------------------------


def posterior_sums(arrays: Mapping[str, Array]) -> Sums:
    """Returns what one batch of posteriors adds to the sums."""
    central = np.abs(2 * arrays["rank"] - 1)
    grid = np.asarray(LEVELS)
    sums = {
        "n": len(central),
        "central": cells(central, grid),
        "level": Moments.of(central),
        "overall": Moments.of(central.mean(axis=1, keepdims=True)),
        "log_q": Moments.of(arrays["log_q"][:, None]),
        "zeros": int(np.isneginf(arrays["log_q"]).sum()),
        "failed": int(np.isnan(arrays["log_q"]).sum()),
    }
    if "hpd" in arrays:
        hpd = arrays["hpd"][:, None]
        sums |= {"hpd": cells(hpd, grid), "hpd_level": Moments.of(hpd)}
    return sums


def _posteriors(sums: Sums, names: Sequence[str], rng: np.random.Generator, options: Options) -> CheckResult:
    n = sums["n"]
    counted = [sums["central"], sums["hpd"]] if "hpd" in sums else [sums["central"]]
    judged = np.concatenate(counted)[:, :-1].cumsum(axis=1)
    passed, p_value, band = _test(judged, n, LEVELS, options)
    curves = {"central": curve(sums["central"]), "lower": band.lower, "upper": band.upper}
    table = [
        *_areas(sums, names),
        *_coverages(sums["central"], "experiment_coverage", names, rng, options),
        *_log_score(sums),
        Metric("experiments_p", p_value, None, n),
    ]
    if "hpd" in sums:
        curves["hpd"] = curve(sums["hpd"])[0]
        area, error = 0.5 - sums["hpd_level"].mean[0], finite_or_none(sums["hpd_level"].stderr[0])
        table.append(Metric("experiment_hpd_area", float(area), error, n))
        table += _coverages(sums["hpd"], "experiment_hpd_coverage", ("",), rng, options)
    residuals = {f"residual_{name}": values - LEVELS for name, values in curves.items()}
    return CheckResult(
        check=NAME,
        parameters=tuple(names),
        table=tuple(table),
        curves={"levels": np.asarray(LEVELS)} | curves | residuals,
        passed=passed,
        p_value=p_value,
        settings=vars(options),
    )


def _areas(sums: Sums, names: Sequence[str]) -> list[Metric]:
    n, level, overall = sums["n"], sums["level"], sums["overall"]
    table = [
        Metric("experiment_acauc", float(m - 0.5), finite_or_none(e), n, name)
        for m, e, name in zip(level.mean, level.stderr, names, strict=True)
    ]
    mean, error = float(overall.mean[0] - 0.5), finite_or_none(overall.stderr[0])
    return [*table, Metric("experiment_acauc", mean, error, n)]


def _coverages(
    counts: Array, name: str, names: Sequence[str], rng: np.random.Generator, options: Options
) -> list[Metric]:
    """Gap and coverage at some levels per column; means over parameters with errors as if fully dependent."""
    n, shares = int(counts[0].sum()), curve(counts)
    at = [LEVELS.index(level) for level in GAP_LEVELS]
    ideal = np.asarray(GAP_LEVELS)
    gaps = np.abs(shares[:, at] - ideal).mean(axis=1)
    again = [curve(resampled(one, options.bootstrap, rng))[:, at] for one in counts]
    errors = np.array([np.abs(c - ideal).mean(axis=1).std(ddof=1) for c in again])
    rows: list[tuple[str, float | None, Array, Array]] = [(f"{name}_gap", None, gaps, errors)]
    for level in POSTERIOR_LEVELS:
        share = shares[:, LEVELS.index(level)]
        rows.append((name, level, share, proportion_stderr(share * n, n)))
    table = []
    for metric, stated, values, by_column in rows:
        if tuple(names) != ("",):
            table += [
                Metric(metric, float(v), float(e), n, parameter, stated)
                for v, e, parameter in zip(values, by_column, names, strict=True)
            ]
        table.append(Metric(metric, float(np.mean(values)), float(np.mean(by_column)), n, level=stated))
    return table


def _log_score(sums: Sums) -> list[Metric]:
    """Mean log density of the truth; -inf where one is, NaN (a failed experiment) left out and counted."""
    n, zeros, log_q = sums["n"], sums["zeros"], sums["log_q"]
    kept = n - sums["failed"]
    table = [
        Metric("experiment_failed_share", sums["failed"] / n, proportion_stderr(sums["failed"], n), n),
        Metric("experiment_zero_density_share", zeros / n, proportion_stderr(zeros, n), n),
    ]
    if kept:
        value = -np.inf if zeros else float(log_q.mean[0])
        error = None if zeros else finite_or_none(log_q.stderr[0])
        extra = {"zero_densities": zeros} if zeros else {}
        table.append(Metric("experiment_lpp", value, error, kept, extra=extra))
    return table


# ---- test and band -----------------------------------------------------------------------------------


def _test(counts: Array, n: int, grid: Grid, options: Options) -> tuple[bool, float, uniformity.Band]:
    """Whether counts below a grid (C, K) are those of uniform numbers, Bonferroni's p-value, and the band."""
    c = len(counts)
    alpha = options.alpha / c
    if n <= _EXACT_BAND:
        log_gamma = uniformity.log_gamma(counts, n, grid)
        p = uniformity.p_value(log_gamma, n, grid, options.null_draws)
        band = uniformity.band(n, grid, alpha, options.null_draws)
    else:
        from scipy.stats import kstwo

        at = np.asarray(grid)
        p = kstwo.sf(np.abs(counts / n - at).max(axis=1), n)
        width = sqrt(log(2 / alpha) / (2 * n))
        band = uniformity.Band(at, np.maximum(at - width, 0), np.minimum(at + width, 1))
    return bool(p.min() > alpha), float(min(1.0, c * p.min())), band

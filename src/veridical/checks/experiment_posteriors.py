"""Coverage and log score of posteriors, over pseudo-experiments with known truth.

Coverage of central intervals per parameter comes from fractional ranks u, whose level is |2u - 1|, and that
of highest-density regions from their levels; both also give areas, and densities at the truth a log score.

Most likely parameters of a method that finds them too are judged beside, a parameter as a true value is in
`veridical.checks.experiment_estimates`: their intervals by column `interval`, which posteriors have not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from veridical.checks import experiment_estimates
from veridical.checks.base import CheckResult, Metric, finite_or_none, proportion_stderr
from veridical.checks.coverage import GAP_LEVELS
from veridical.checks.experiment_estimates import estimate_sums
from veridical.checks.experiment_sums import (
    NAME,
    Groups,
    Moments,
    Options,
    Sums,
    added,
    cells,
    curve,
    judge,
    resampled,
)
from veridical.checks.inputs import Array
from veridical.checks.uniformity import LEVELS
from veridical.errors import ShapeError

POSTERIOR_LEVELS = (0.5, 0.8, 0.9, 0.95)


def posterior_sums(arrays: Mapping[str, Array]) -> Sums:
    """Returns what one batch of posteriors adds to the sums."""
    central = np.abs(2 * arrays["rank"] - 1)
    grid = np.asarray(LEVELS)
    sums = {
        "n": len(central),
        "central": cells(central, grid),
        "level": Moments.of(central),
        "overall": Moments.of(central.mean(axis=1, keepdims=True)),
    }
    if "log_q" in arrays:
        log_q = arrays["log_q"]
        zeros, failed = int(np.isneginf(log_q).sum()), int(np.isnan(log_q).sum())
        sums |= {"log_q": Moments.of(log_q[:, None]), "zeros": zeros, "failed": failed}
    if "estimate" in arrays:
        found = {name: arrays[name] for name in ("statistical", "ratio", "z_lr")}
        sums["estimates"] = estimate_sums({"value": arrays["estimate"], **found}, arrays["truth"])
    if "hpd" in arrays:
        hpd = arrays["hpd"][:, None]
        sums |= {"hpd": cells(hpd, grid), "hpd_level": Moments.of(hpd)}
    return sums


def coverage(
    groups: Groups, names: tuple[str, ...], rng: np.random.Generator, options: Options
) -> CheckResult:
    """Returns the coverage of the posteriors in all batches.

    Arguments:
        groups: All batches.
        names: Names of the D parameters.
        rng: Resamples for the errors of the gaps.
        options: How they are judged.

    Raises:
        ShapeError: If there are other than D names.
    """
    d = groups.first["rank"].shape[1]
    if len(names) != d:
        raise ShapeError(f"names: expected one for each of {d} parameters, got {list(names)}.")
    return _judged(added(groups, posterior_sums, options), names, rng, options)


def _judged(sums: Sums, names: tuple[str, ...], rng: np.random.Generator, options: Options) -> CheckResult:
    n = sums["n"]
    counted = [sums["central"], sums["hpd"]] if "hpd" in sums else [sums["central"]]
    judged = np.concatenate(counted)[:, :-1].cumsum(axis=1)
    passed, p_value, band = judge(judged, n, LEVELS, options)
    if "estimates" in sums:
        of_estimates = experiment_estimates.judged(sums["estimates"], options)[1]
        p_value = min(1.0, 2 * min(p_value, of_estimates))
        passed = p_value > options.alpha
    curves = {"central": curve(sums["central"]), "lower": band.lower, "upper": band.upper}
    table = [
        *_areas(sums, names),
        *_coverages(sums["central"], "experiment_coverage", names, rng, options),
        *(_log_score(sums) if "log_q" in sums else ()),
        *(_of_estimates(sums["estimates"], names, rng, options) if "estimates" in sums else ()),
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
        parameters=names,
        table=tuple(table),
        curves={"levels": np.asarray(LEVELS)} | curves | residuals,
        passed=passed,
        p_value=p_value,
        settings=vars(options),
    )


def _of_estimates(
    sums: Sums, names: Sequence[str], rng: np.random.Generator, options: Options
) -> list[Metric]:
    places = [experiment_estimates.Place(name) for name in names]
    return experiment_estimates.metrics(sums, places, rng, options)


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

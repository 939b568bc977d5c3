r"""Coverage of the intervals of estimates, over pseudo-experiments with known truth.

For each true value, with deviation z = |value - truth| / sigma:

.. math:: c(z) = \mathrm{share}\{|\hat\kappa - \kappa| / \sigma < z\}, \quad
   \mathrm{ideal}(z) = \Phi(z) - \Phi(-z), \quad
   \mathrm{gap} = \mathrm{mean}_z |c - \mathrm{ideal}|, \; z = 0, 0.01, \ldots, 3

for sigma = `total` (both parts of the error, in quadrature), `statistical` alone, `likelihood_ratio`
(deviation by the shape of the likelihood) and `pointwise` (one event per experiment). An experiment whose
estimate or error is not a finite number counts as one that every interval misses.

With their sign, the deviations by the total error are *pulls*, (value - truth) / sigma. Where the stated
error is right and the estimate unbiased and normal, they have mean 0 and standard deviation 1.

References:
    | Frequentist Uncertainties on Neural Density Ratios with w_i f_i Ensembles (Benevedes & Thaler, 2025)
    | https://arxiv.org/abs/2506.00113
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import erf, sqrt
from typing import Any, NamedTuple

import numpy as np

from veridical.checks.base import CheckResult, Metric, proportion_stderr
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
from veridical.checks.uniformity import Band

Z = np.linspace(0, 3, 301)
IDEAL = np.array([erf(z / sqrt(2)) for z in Z])
STATED = {0.6827: 1.0, 0.9: 1.6448536269514722, 0.9545: 2.0}  # level: z
EXAMPLES = 100
PULLS = np.linspace(-4, 4, 33)  # edges of the histogram of pulls


class Place(NamedTuple):
    """What a column of estimates belongs to: a true value, or a parameter.

    Attributes:
        parameter: The parameter; empty for that of a class task.
        extra: Further columns of the rows of its metrics.
    """

    parameter: str = ""
    extra: Mapping[str, Any] = {}

    def metric(
        self, name: str, value: float, error: float | None, n: int, level: float | None = None, **more: Any
    ) -> Metric:
        """Returns a metric of it."""
        return Metric(name, float(value), error, n, self.parameter, level, {**more, **self.extra})


def deviations(arrays: Mapping[str, Array], truth: Array) -> dict[str, Array]:
    """Returns |value - truth| in standard errors, by kind of interval; infinite where it is not a number.

    Arguments:
        arrays: Those of a batch of estimates.
        truth: True values, shape (V,), or those of each experiment, (E, V).

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


def pulls(arrays: Mapping[str, Array], truth: Array) -> Array:
    """Returns (value - truth) / total, shape (E, V); NaN where there is no answer, or no error is stated."""
    total = np.hypot(arrays["statistical"], arrays["ratio"])
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(total > 0, (arrays["value"] - truth) / total, np.nan)
    return np.where(np.isfinite(found), found, np.nan)


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
    pull = pulls(arrays, truth)
    alarmed = {"alarmed": (arrays["alarm"] > 0).sum(axis=0)} if "alarm" in arrays else {}
    return alarmed | {
        "n": len(off),
        "failed": failed.sum(axis=0),
        "off": Moments.of(off),
        "pull": Moments.of(pull),
        "pulls": cells(np.where(np.isnan(pull), np.inf, pull), PULLS),
        "sigma": {kind: Moments.of(np.where(failed, np.nan, sigma)) for kind, sigma in sigmas.items()},
        "cells": {kind: cells(values, Z) for kind, values in z.items()},
        "held": {
            kind: np.stack([(values < at).sum(axis=0) for at in STATED.values()])
            for kind, values in z.items()
        },
    }


def gap(counts: Array, ideal: Array) -> Array:
    """Returns the mean over the grid of |curve - ideal| from cells (..., K + 1), shape (...)."""
    return np.abs(curve(counts) - ideal).mean(axis=-1)


def expected_gap_z(n: int) -> float:
    """Returns the mean `coverage_gap_z` of n experiments whose intervals are right, to leading order."""
    return float(np.mean(np.sqrt(2 / np.pi * IDEAL * (1 - IDEAL) / n)))


def coverage(
    groups: Groups, names: tuple[str, ...], rng: np.random.Generator, options: Options
) -> CheckResult:
    """Returns the coverage of the estimates in all batches.

    Arguments:
        groups: All batches.
        names: Names of the parameters.
        rng: Resamples for the errors of the gaps.
        options: How they are judged.
    """
    truth = np.asarray(groups.first["truth"].compute(scheduler="synchronous"))
    sums = added(groups, estimate_sums, options, truth)
    n = sums["n"]
    passed, p_value, band = judged(sums, options)
    places = [Place(extra={"true_value": float(at)}) for at in truth]
    table = [*metrics(sums, places, rng, options), Metric("experiments_p", p_value, None, n)]
    note = f"Right intervals have a coverage gap of {expected_gap_z(n):.3f} on average over {n} experiments."
    return CheckResult(
        check=NAME,
        parameters=names,
        table=tuple(table),
        curves={"z": Z, "true_values": truth, "pull_edges": PULLS, "pull_counts": sums["pulls"]}
        | _curves(sums["cells"], band)
        | _examples(groups.first),
        passed=passed,
        p_value=p_value,
        settings=vars(options),
        notes=(note,),
    )


def judged(sums: Sums, options: Options) -> tuple[bool, float, Band]:
    """Returns whether intervals by the total error hold as they say, a p-value, and the band."""
    counts = sums["cells"]["total"]
    below = counts[:, 1:-1].cumsum(axis=1) + counts[:, :1]
    return judge(below, sums["n"], tuple(IDEAL[1:].tolist()), options)


def metrics(sums: Sums, places: Sequence[Place], rng: np.random.Generator, options: Options) -> list[Metric]:
    """Returns coverage, bias, spread and stated errors of each place (V of them)."""
    return [
        *_gaps(sums["cells"], places, rng, options),
        *_stated(sums["held"], sums["n"], places),
        *_moments(sums, places),
    ]


def _curves(counts: Mapping[str, Array], band: Band) -> dict[str, Array]:
    """Coverage of each kind of interval, the ideal and its band, and all of them minus the ideal."""
    lower, upper = (np.concatenate([[0.0], edge]) for edge in (band.lower, band.upper))
    drawn = {kind: curve(by_value) for kind, by_value in counts.items()}
    drawn |= {"ideal": IDEAL, "lower": lower, "upper": upper}
    if "pointwise" in drawn:
        drawn["pointwise"] = drawn["pointwise"][0]
    residuals = {f"residual_{kind}": values - IDEAL for kind, values in drawn.items() if kind != "ideal"}
    return drawn | residuals


def _examples(arrays: Mapping[str, Any]) -> dict[str, Array]:
    """The first experiments, for a picture of their intervals."""
    import dask

    names = ("value", "statistical", "ratio")
    value, statistical, ratio = dask.compute(
        *(arrays[name][:EXAMPLES] for name in names), scheduler="synchronous"
    )
    return {
        "example_value": value,
        "example_statistical": statistical,
        "example_total": np.hypot(statistical, ratio),
    }


def _gaps(
    counts: Mapping[str, Array], places: Sequence[Place], rng: np.random.Generator, options: Options
) -> list[Metric]:
    """The gap per kind and place, and its mean over these, whose error takes them as fully dependent."""
    table = []
    for kind, by_value in counts.items():
        values = gap(by_value, IDEAL)
        errors = np.array(
            [gap(resampled(one, options.bootstrap, rng), IDEAL).std(ddof=1) for one in by_value]
        )
        n = int(by_value[0].sum())
        if kind != "pointwise":
            table += [
                at.metric("coverage_gap_z", float(v), float(e), n, interval=kind)
                for v, e, at in zip(values, errors, places, strict=True)
            ]
        table.append(
            Place().metric("coverage_gap_z", float(values.mean()), float(errors.mean()), n, interval=kind)
        )
    return table


def _stated(held: Mapping[str, Array], n: int, places: Sequence[Place]) -> list[Metric]:
    """Coverage at one and two standard errors and at 90 %."""
    table = []
    for kind, counts in held.items():
        for level, by_value in zip(STATED, counts, strict=True):
            for k, at in zip(by_value, [Place()] if kind == "pointwise" else places, strict=True):
                error = proportion_stderr(k, n)
                table.append(at.metric("experiment_coverage", k / n, error, n, level=level, interval=kind))
    return table


def _moments(sums: Sums, places: Sequence[Place]) -> list[Metric]:
    """Bias and spread of the estimates, mean standard errors, share of failures."""
    n, off = sums["n"], sums["off"]
    table = []
    for i, at in enumerate(places):
        kept, failed = int(off.n[i]), int(sums["failed"][i])
        table.append(at.metric("experiment_failed_share", failed / n, proportion_stderr(failed, n), n))
        if "alarmed" in sums:
            k = int(sums["alarmed"][i])
            table.append(at.metric("experiment_alarm_share", k / n, proportion_stderr(k, n), n))
        if kept < 2:
            continue
        spread = float(np.sqrt(off.variance[i]))
        table.append(at.metric("experiment_bias", float(off.mean[i]), float(off.stderr[i]), kept))
        table.append(at.metric("experiment_sd", spread, spread / sqrt(2 * (kept - 1)), kept))
        table += _pull_moments(sums["pull"], i, at)
        for kind, moments in sums["sigma"].items():
            value, error = float(moments.mean[i]), float(moments.stderr[i])
            table.append(at.metric("experiment_sigma", value, error, kept, interval=kind))
    return table


def _pull_moments(pull: Moments, i: int, at: Place) -> list[Metric]:
    """Mean and standard deviation of the pulls at one place; none of fewer than two."""
    if (n := int(pull.n[i])) < 2:
        return []
    spread = float(np.sqrt(pull.variance[i]))
    return [
        at.metric("experiment_pull_mean", float(pull.mean[i]), float(pull.stderr[i]), n),
        at.metric("experiment_pull_sd", spread, spread / sqrt(2 * (n - 1)), n),
    ]

r"""Do data simulated from the posterior look like the observation?

For one observation x and replicates x' simulated at posterior draws (failed ones left out and counted):

- *Discrepancy*: :math:`T(x) = \sum_i z_i^2`, z the distance from the predictive median in two-piece standard
  deviations (from the 16, 50 and 84 % quantiles, so that skewed data are not mistaken for outliers). Median
  and widths come from one half of the replicates, the null from T of the other half: p = P(T(x') >= T(x)).
  Data used twice make p conservative: a small p speaks against the posterior or the simulator, a large one
  for neither.
- *Distance*: root mean square over coordinates of (x' - x) / s, s the spread of the prior predictive; median
  over replicates. The same for the prior predictive, as the scale to read it on.
- *Coverage*: share of the coordinates of x inside their predictive band of level a.

A small distance does not imply right parameters where the simulator is wrong. Missing numbers (NaN) are left
out: T is then the mean over those that are there, times P, and where none is predicted, none is judged.

Curves: `observed` (N, *x_shape); `quantiles` (Q,) with `bands` (Q, N, *x_shape) and, where there is a prior
predictive, `prior_bands` (Q, *x_shape).

References:
    | Bayesian Data Analysis, chapter 6 (Gelman et al., 2013)
    | Posterior Predictive Assessment of Model Fitness (Gelman, Meng & Stern, 1996)
"""

from __future__ import annotations

from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from veridical.checks import missing
from veridical.checks.base import (
    Check,
    CheckResult,
    Metric,
    bootstrap,
    finite_or_none,
    mean_stderr,
    monte_carlo_p,
    proportion_stderr,
)
from veridical.checks.inputs import Array, Inputs, given, require_finite
from veridical.errors import DataError, ShapeError, require_shape
from veridical.saved.posteriors import Draws
from veridical.sections import Alpha, Repeats, Section
from veridical.tasks.base import usable

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MIN_REPLICATES = 40
ROWS = 1000  # simulations at posterior draws in all, and
LEAST = 250  # for each observation


class PredictiveSettings(Section):
    """Do data simulated from the posterior look like the observation?"""

    alpha: Alpha = Field(default=0.01, description="Level of the posterior predictive p-value.")
    levels: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        default=[0.5, 0.9],
        min_length=1,
        description="Levels of the predictive bands whose coverage is tabulated.",
    )
    bootstrap: Repeats = Field(default=200, description="Resampled predictions behind the standard errors.")


def replicates(observations: int) -> int:
    """Returns at how many posterior draws of each observation data are simulated."""
    return max(LEAST, ROWS // observations)


def decidable(observations: int, held_out: int, alpha: float) -> bool:
    """Whether the smallest p-value of so many observations, with that null each, lies below a level."""
    return observations / (held_out + 1) < alpha


class Look(NamedTuple):
    """One observation against its replicates.

    Attributes:
        p: Posterior predictive p-value.
        null: Replicates behind it.
        covered: Share of coordinates inside the band of each level, shape (A,).
        covered_sd: Standard deviation of that share over replicates taken as observations, shape (A,).
        bands: Quantiles of the replicates, shape (Q, P).
        judged: Coordinates that are there, in x and in replicates.
    """

    p: float
    null: int
    covered: Array
    covered_sd: Array
    bands: Array
    judged: int


def discrepancy(x: Array, replicates: Array) -> Array:
    """Returns the sum of squared distances from the median in two-piece standard deviations.

    Arguments:
        x: Data, shape (..., P).
        replicates: What gives median and widths, shape (R, P).
    """
    low, median, high = missing.quantiles(replicates, [0.16, 0.5, 0.84])
    smallest = np.maximum(1e-6 * np.abs(median), 1e-12)
    spread = np.maximum(missing.deviation(replicates), smallest)
    below, above = (np.where(w > smallest, w, spread) for w in (median - low, high - median))
    z = (x - median) / np.where(x < median, below, above)
    return np.nan_to_num(missing.total(z**2), posinf=np.inf)


def look(x: Array, replicates: Array, levels: Array, rng: np.random.Generator) -> Look:
    """Compares one observation x (P,) with replicates (R, P) at the levels (A,)."""
    rows = rng.permutation(len(replicates))
    fitted, held_out = replicates[rows[::2]], replicates[rows[1::2]]
    p = monte_carlo_p(discrepancy(x, fitted), discrepancy(held_out, fitted))
    tails = (1 - levels) / 2
    lower, upper = missing.quantiles(replicates, tails), missing.quantiles(replicates, 1 - tails)
    shares = [_inside(replicates, lo, up) for lo, up in zip(lower, upper, strict=True)]
    return Look(
        p=p,
        null=len(held_out),
        covered=_inside(x, lower, upper),
        covered_sd=np.std(shares, axis=1, ddof=1),
        bands=missing.quantiles(replicates, QUANTILES),
        judged=int((~np.isnan(x + lower[0])).sum()),
    )


def _inside(x: Array, lower: Array, upper: Array) -> Array:
    """Shares of the numbers that are there in x (..., P) between bounds, of which the same are there."""
    inside = (lower <= x) & (x <= upper)
    return np.asarray(missing.mean(np.where(np.isnan(x + lower), np.nan, inside)))


def distances(x: Array, replicates: Array, prior: Array) -> Array:
    """Returns distances of replicates (R, P) from x (P,), standardised by the spread of the prior predictive.

    The spread is half the range between the 16 and 84 % quantiles of `prior` (R', P); coordinates without
    any spread are left out, and so are replicates with no number where x has one.
    """
    low, high = missing.quantiles(prior, [0.16, 0.84])
    spread = (high - low) / 2
    use = (spread > 0) & ~np.isnan(x)
    if not use.any():
        raise DataError("prior predictive: expected data that differ from one another, got no spread at all.")
    found = np.sqrt(missing.mean(((replicates[:, use] - x[use]) / spread[use]) ** 2))
    if np.isnan(found).all():
        raise DataError(
            "predictive: no simulation has a number where the data have one, so nothing is compared."
        )
    return np.asarray(found[~np.isnan(found)])


class Predictive(Check):
    """Compares observations with data simulated from their posterior."""

    name = "predictive"
    needs = frozenset({"observed", "predictive"})
    settings_class: ClassVar = PredictiveSettings
    settings: PredictiveSettings
    meanings: ClassVar = {
        "predictive_coverage": (
            "Share of the numbers of the data inside their predictive band of level `level`."
        ),
        "predictive_distance": (
            "Median over replicates of the root mean square difference between simulated and observed data, "
            "in units of the spread of the prior predictive."
        ),
        "predictive_invalid_share": "Share of the simulations at posterior draws that failed.",
        "predictive_p": (
            "Share of data simulated from the posterior that lie as far from the predictive median as the "
            "data do, corrected for the number of observations. The data are used twice: small speaks "
            "against, large for nothing."
        ),
        "prior_predictive_distance": (
            "`predictive_distance` of simulations from the prior: the scale to read that on."
        ),
    }

    def _judge(self, draws: Draws, rng: np.random.Generator, inputs: Inputs) -> CheckResult:
        x = np.asarray(given(draws.x, "the observed data", self.name), dtype=float)
        replicates = _replicates(given(inputs.predictive, "data simulated at the draws", self.name), x)
        require_finite("x", x[~usable(x, True)])
        valid = usable(replicates.reshape(-1, *x.shape[1:]), True).reshape(replicates.shape[:2])
        failed, total = int((~valid).sum()), valid.size
        table = [Metric("predictive_invalid_share", failed / total, proportion_stderr(failed, total), total)]
        counts = valid.sum(axis=0).tolist()
        if min(counts) < MIN_REPLICATES:
            note = f"{min(counts)} valid predictions are too few to judge; {MIN_REPLICATES} are needed."
            return self._result(draws, table, notes=(note,))
        flat = [replicates[valid[:, i], i].reshape(count, -1) for i, count in enumerate(counts)]
        levels = np.asarray(self.settings.levels)
        looks = [look(o.ravel(), r, levels, rng) for o, r in zip(x, flat, strict=True)]
        bands = np.stack([one.bands for one in looks], axis=1).reshape(-1, *x.shape)
        curves = {"observed": x, "quantiles": np.asarray(QUANTILES), "bands": bands}
        table += self._metrics(looks)
        if inputs.prior_predictive is not None:
            prior = _valid_rows(inputs.prior_predictive, x.shape[1:])
            curves["prior_bands"] = missing.quantiles(prior, QUANTILES).reshape(-1, *x.shape[1:])
            table += self._distances(x.reshape(len(x), -1), flat, prior, rng)
        return self._verdict(draws, table, curves, looks, failed)

    def _metrics(self, looks: list[Look]) -> list[Metric]:
        n, used, judged = len(looks), min(one.null for one in looks), sum(one.judged for one in looks)
        p = min(1.0, n * min(one.p for one in looks))
        table = [Metric("predictive_p", p, proportion_stderr(p * (used + 1) - 1, used), used)]
        for i, level in enumerate(self.settings.levels):
            share = float(np.mean([one.covered[i] for one in looks]))
            error = float(np.sqrt(np.sum([one.covered_sd[i] ** 2 for one in looks])) / n)
            table.append(Metric("predictive_coverage", share, error, judged, level=level))
        return table

    def _distances(self, x: Array, flat: list[Array], prior: Array, rng: np.random.Generator) -> list[Metric]:
        table = []
        for name in ("predictive_distance", "prior_predictive_distance"):
            medians, errors = [], []
            for observed, replicates in zip(x, flat, strict=True):
                d = distances(observed, replicates if name == "predictive_distance" else prior, prior)
                medians.append(np.median(d))
                errors.append(_median_stderr(d, self.settings.bootstrap, rng))
            between = mean_stderr(np.asarray(medians)) if len(medians) > 1 else 0.0
            error = max(float(between), float(np.sqrt(np.sum(np.square(errors))) / len(errors)))
            table.append(Metric(name, float(np.mean(medians)), finite_or_none(error), len(medians)))
        return table

    def _verdict(
        self, draws: Draws, table: list[Metric], curves: dict[str, Array], looks: list[Look], failed: int
    ) -> CheckResult:
        p = next(metric.value for metric in table if metric.name == "predictive_p")
        used, notes = min(one.null for one in looks), []
        told = decidable(len(looks), used, self.settings.alpha)
        if not told:
            notes.append(f"{used} held-out predictions cannot tell whether p < {self.settings.alpha:g}.")
        if failed:
            notes.append(f"{failed} simulations at posterior draws failed and are left out.")
        return self._result(
            draws,
            table,
            curves=curves,
            passed=p >= self.settings.alpha if told else None,
            p_value=p,
            notes=tuple(notes),
        )


def _replicates(predictive: Array, x: Array) -> Array:
    """Predictions of shape (S, N, *x_shape), whichever way they came."""
    predictive = np.asarray(predictive, dtype=float)
    if len(x) == 1 and predictive.shape[1:] == x.shape[1:]:
        return predictive[:, None]
    if predictive.shape[1:] != x.shape:
        wanted = ", ".join(map(str, x.shape))
        raise ShapeError(f"predictive: expected shape (any, {wanted}), got {predictive.shape}.")
    return predictive


def _valid_rows(prior: Array, shape: tuple[int, ...]) -> Array:
    """Prior predictive data without failed rows, shape (R, P)."""
    require_shape("prior predictive", prior, None, *shape)
    flat = np.asarray(prior, dtype=float).reshape(len(prior), -1)
    return flat[usable(flat, True)]


def _median_stderr(values: Array, repeats: int, rng: np.random.Generator) -> float:
    def median(rows: Array) -> float:
        return float(np.median(values[rows]))

    return float(bootstrap(median, len(values), repeats, rng).std(ddof=1))

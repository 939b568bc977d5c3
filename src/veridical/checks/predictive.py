r"""Could the simulator, at the answer, have made the observation?

- *Test*: at K draws of the answer R replicates each are simulated, and a battery of statistics of the
  observation is compared with theirs (`battery`). With an exact answer the p-value at one draw is exactly
  uniform, for a draw of the answer and the observation are exchangeable with parameters and data; averaging
  over many draws is not, for it uses the data twice. The K p-values are combined by Cauchy's rule. Of several
  observations the averages of their statistics (a fault that all share) and each one's own (a wild one) are
  tested, at half the level each.
- *Culprit*: what has to be taken out of data and replicates for them to look alike (`culprit`).
- *Detectable*: the shift of a statistic, in its predictive standard deviations, that this test would have
  found with probability 0.9. What the parameters absorb shifts none.
- *Distance*: root mean square over coordinates of (x' - x) / s, s the spread of the prior predictive; median
  over replicates at many draws. The same for the prior predictive, as the scale to read it on.
- *Coverage*: share of the coordinates of x inside their predictive band of level a.

A misfit speaks of the simulator only where the answer is right: at wrong parameters right simulators misfit.
Missing numbers (NaN) are left out, and where none is predicted, none is judged.

Curves: `observed` (N, *x_shape); `quantiles` (Q,) with `bands` (Q, N, *x_shape) and, where there is a prior
predictive, `prior_bands` (Q, *x_shape); `named` (N, *x_shape), 1 at the values that the culprit names;
`member_p` (N,).

References:
    | Bayesian goodness-of-fit tests by sampled posterior values: Johnson, 2007; Gosselin, 2011
    | Posterior Predictive Assessment of Model Fitness (Gelman, Meng & Stern, 1996)
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, NamedTuple

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
    proportion_stderr,
)
from veridical.checks.inputs import Array, Inputs, given, require_finite
from veridical.checks.misfit import Misfit, compare
from veridical.errors import DataError, require_shape
from veridical.saved.posteriors import Draws
from veridical.saved.predictions import Predictions
from veridical.sections import Alpha, Repeats, Section
from veridical.tasks.base import usable

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MIN_REPLICATES = 40
MAX_MEMBERS = 100  # observations whose own p-values are tabulated


class PredictiveSettings(Section):
    """Could the simulator, at the answer, have made the observation?"""

    alpha: Alpha = Field(default=0.03, description="Level of the predictive p-value.")
    draws: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Draws of the answer at which each observation is replicated; none: 3 for one "
        "observation, 2 for two, 1 for more.",
    )
    replicates: Annotated[int, Field(ge=MIN_REPLICATES)] = Field(
        default=400, description="Data sets simulated at each of these draws; 700 for series of 200 values."
    )
    bands: Annotated[int, Field(ge=MIN_REPLICATES)] = Field(
        default=200, description="Draws at which one data set each is simulated, for bands and distances."
    )
    levels: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        default=[0.5, 0.9],
        min_length=1,
        description="Levels of the predictive bands whose coverage is tabulated.",
    )
    bootstrap: Repeats = Field(default=200, description="Resampled predictions behind the standard errors.")


def draws_for(observations: int) -> int:
    """Returns at how many draws each observation is replicated: 3 for one, 2 for two, 1 for more."""
    return max(1, 4 - observations)


def decidable(observations: int, replicates: int, alpha: float) -> bool:
    """Whether the smallest p-value of so many observations, with that many replicates, reaches a level."""
    return least_replicates(observations, alpha) <= replicates


def least_replicates(observations: int, alpha: float) -> int:
    """Returns with how many replicates at each draw the p-value of so many observations can reach a level."""
    return math.ceil(round((1 if observations == 1 else 2) / alpha, 9)) - 1


class Look(NamedTuple):
    """One observation against the bands of its predictions.

    Attributes:
        covered: Share of coordinates inside the band of each level, shape (A,).
        covered_sd: Standard deviation of that share over predictions taken as observations, shape (A,).
        bands: Quantiles of the predictions, shape (Q, P).
        judged: Coordinates that are there, in x and in predictions.
    """

    covered: Array
    covered_sd: Array
    bands: Array
    judged: int


def look(x: Array, predictions: Array, levels: Array) -> Look:
    """Compares an observation x (P,) with predictions (S, P) at the levels (A,)."""
    tails = (1 - levels) / 2
    lower, upper = missing.quantiles(predictions, tails), missing.quantiles(predictions, 1 - tails)
    there = ~np.isnan(x)
    shares = [
        _inside(predictions[:, there], lo, up)
        for lo, up in zip(lower[:, there], upper[:, there], strict=True)
    ]
    return Look(
        covered=_inside(x, lower, upper),
        covered_sd=np.nanstd(shares, axis=1, ddof=1),
        bands=missing.quantiles(predictions, QUANTILES),
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
    """Compares observations with data simulated at draws of their answer."""

    name = "predictive"
    needs = frozenset({"observed", "predictive"})
    settings_class: ClassVar = PredictiveSettings
    settings: PredictiveSettings
    meanings: ClassVar = {
        "predictive_coverage": (
            "Share of the numbers of the data inside their predictive band of level `level`."
        ),
        "predictive_detectable": (
            "Shift of any one statistic of one observation, in its predictive standard deviations, that "
            "`predictive_p` would have found at its `level` with probability 0.9."
        ),
        "predictive_detectable_shared": (
            "The same, for each of several observations, where all are shifted alike."
        ),
        "predictive_distance": (
            "Median over replicates of the root mean square difference between simulated and observed data, "
            "in units of the spread of the prior predictive."
        ),
        "predictive_invalid_share": "Share of the simulations at posterior draws that failed.",
        "predictive_maximum": (
            "Largest of the standardised statistics of the data; `culprit` says what explains it, where "
            "`predictive_p` is at most its level."
        ),
        "predictive_member_p": (
            "`predictive_p` of one of several observations, corrected for their number: small for a wild one."
        ),
        "predictive_p": (
            "Share of replicates, simulated at one draw of the answer, whose largest standardised statistic "
            "reaches that of the data; several draws, observations and their averages combined. Uniform if "
            "simulator and answer are right. `level` is that of the check."
        ),
        "predictive_set_p": (
            "`predictive_p` of the averages over several observations: small for a fault that all share."
        ),
        "prior_predictive_distance": (
            "`predictive_distance` of simulations from the prior: the scale to read that on."
        ),
    }

    def _judge(self, draws: Draws, rng: np.random.Generator, inputs: Inputs) -> CheckResult:
        x = np.asarray(given(draws.x, "the observed data", self.name), dtype=float)
        found: Predictions = given(inputs.predictive, "data simulated at the draws", self.name)
        require_shape("predictions", found.x, None, *x.shape)
        require_finite("x", x[~np.isnan(x)])
        if not usable(x, True).all():
            raise DataError("x: expected numbers, got an observation of which every value is missing.")
        valid, tested = (_succeeded(of, x.ndim) for of in (found.x, found.replicates))
        failed, total = (int(s) for s in ((~valid).sum() + (~tested).sum(), valid.size + tested.size))
        table = [Metric("predictive_invalid_share", failed / total, proportion_stderr(failed, total), total)]
        fewest = [int(of.sum(axis=-2).min(initial=total)) for of in (valid, tested)] if tested.size else [0]
        if min(fewest) < MIN_REPLICATES:
            note = f"{min(fewest)} valid predictions are too few to judge; {MIN_REPLICATES} are needed."
            return self._result(draws, table, notes=(note,))
        misfit = compare(x, tested, found, self.settings.alpha)
        flat = [found.x[valid[:, i], i].reshape(int(valid[:, i].sum()), -1) for i in range(len(x))]
        levels = np.asarray(self.settings.levels)
        looks = [look(o.ravel(), r, levels) for o, r in zip(x, flat, strict=True)]
        bands = np.stack([one.bands for one in looks], axis=1).reshape(-1, *x.shape)
        curves = {"observed": x, "quantiles": np.asarray(QUANTILES), "bands": bands}
        curves |= {"named": misfit.named.astype(int), "member_p": misfit.member_p}
        table += self._metrics(misfit, len(x)) + self._coverage(looks)
        if inputs.prior_predictive is not None:
            prior = _valid_rows(inputs.prior_predictive, x.shape[1:])
            curves["prior_bands"] = missing.quantiles(prior, QUANTILES).reshape(-1, *x.shape[1:])
            table += self._distances(x.reshape(len(x), -1), flat, prior, rng)
        return self._verdict(draws, table, curves, misfit, failed)

    def _metrics(self, misfit: Misfit, n: int) -> list[Metric]:
        used, alpha = misfit.replicates, self.settings.alpha

        def p_value(name: str, p: float, **more: Any) -> Metric:
            return Metric(name, p, proportion_stderr(p * (used + 1) - 1, used), used, **more)

        culprit = {"culprit": misfit.culprit} if misfit.culprit else {}
        error = finite_or_none(mean_stderr(misfit.maximum))
        table = [
            p_value("predictive_p", misfit.p, level=alpha),
            Metric("predictive_maximum", float(misfit.maximum.mean()), error, used, extra=culprit),
            Metric("predictive_detectable", *misfit.detectable[0], used, level=alpha),
        ]
        if n > 1:
            shared = Metric("predictive_detectable_shared", *misfit.detectable[1], used, level=alpha)
            table += [shared, p_value("predictive_set_p", misfit.set_p)]
            each = enumerate(misfit.member_p[:MAX_MEMBERS].tolist())
            table += [p_value("predictive_member_p", p, extra={"observation": i}) for i, p in each]
        return table

    def _coverage(self, looks: list[Look]) -> list[Metric]:
        table, n, judged = [], len(looks), sum(one.judged for one in looks)
        for i, level in enumerate(self.settings.levels):
            share = float(np.nanmean([one.covered[i] for one in looks])) if judged else float("nan")
            error = float(np.sqrt(np.sum([one.covered_sd[i] ** 2 for one in looks])) / n)
            table.append(Metric("predictive_coverage", share, finite_or_none(error), judged, level=level))
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
        self, draws: Draws, table: list[Metric], curves: dict[str, Array], misfit: Misfit, failed: int
    ) -> CheckResult:
        p, used, alpha, notes = misfit.p, misfit.replicates, self.settings.alpha, []
        told = decidable(len(misfit.member_p), used, alpha)
        if not told:
            notes.append(f"{used} replicates cannot tell whether p <= {alpha:g}.")
        if misfit.culprit:
            notes.append(f"What the simulations lack: {misfit.culprit}.")
        if failed:
            notes.append(f"{failed} simulations at posterior draws failed and are left out.")
        passed = p > alpha if told else None
        return self._result(draws, table, curves=curves, passed=passed, p_value=p, notes=tuple(notes))


def _succeeded(predictions: Array, ndim: int) -> Array:
    """Which predictions (..., *x_shape), whose x has `ndim` dimensions with that of its rows, are data."""
    of_row = predictions.shape[predictions.ndim + 1 - ndim :]
    return usable(predictions.reshape(-1, *of_row), True).reshape(predictions.shape[: 1 - ndim])


def _valid_rows(prior: Array, shape: tuple[int, ...]) -> Array:
    """Prior predictive data without failed rows, shape (R, P)."""
    require_shape("prior predictive", prior, None, *shape)
    flat = np.asarray(prior, dtype=float).reshape(len(prior), -1)
    return flat[usable(flat, True)]


def _median_stderr(values: Array, repeats: int, rng: np.random.Generator) -> float:
    def median(rows: Array) -> float:
        return float(np.median(values[rows]))

    return float(bootstrap(median, len(values), repeats, rng).std(ddof=1))

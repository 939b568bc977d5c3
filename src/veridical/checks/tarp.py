r"""Coverage of balls around random points (TARP).

Parameters are scaled to [0, 1] by the range of the truth. For a centre :math:`\rho_m` per data set,

.. math:: f_m = \mathrm{mean}_l 1\{ |T_{ml} - \rho_m| < |\theta^*_m - \rho_m| \}, \quad
   ECP(a) = \mathrm{mean}_m 1\{f_m \leq a\}, \quad
   ATC = \int_{1/2}^1 (ECP(a) - a) \, da = \tfrac58 - \mathrm{mean}_m \max(f_m, \tfrac12) .

Under an exact posterior f is uniform on (0, 1), the range used throughout. A positive ATC means too wide, a
negative one too narrow or biased. Centres that do not depend on x cannot tell a posterior from the prior. By
default the centre of a data set is therefore the mean truth of those among *earlier* data sets, in a random
order, whose x is most alike. A centre then never depends on its own truth nor on a later one, so that all f
are independent, not only uniform one by one, and the Kolmogorov-Smirnov test has its level.

Curves: `levels`, `ecp`, `lower`, `upper` (K,).

References:
    | Sampling-Based Accuracy Testing of Posterior Estimators for General Inference (Lemos et al., 2023)
    | https://arxiv.org/abs/2302.03026
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from veridical.checks import missing, uniformity
from veridical.checks.base import Check, CheckResult, Line, Metric, finite_or_none, mean_stderr
from veridical.checks.coverage import expected_coverage
from veridical.checks.inputs import Array, Inputs, given, labelled, require_finite
from veridical.checks.uniformity import LEVELS, fractional_ranks
from veridical.errors import DataError, require_shape
from veridical.saved.posteriors import Draws
from veridical.sections import Alpha, Count, Section
from veridical.tasks.base import usable


class TARPSettings(Section):
    """Coverage of balls around random points (TARP)."""

    alpha: Alpha = Field(default=0.05, description="Level of the Kolmogorov-Smirnov test and of the band.")
    references: Literal["neighbours", "uniform"] = Field(
        default="neighbours",
        description="Centres of the balls: `neighbours` follow the data, mean truth of other data sets with "
        "similar x; `uniform` ones cannot see a posterior that ignores the data.",
    )
    neighbours: Count = Field(default=5, description="Data sets behind one centre.")
    null_draws: Annotated[int, Field(ge=999)] = Field(
        default=9_999, description="Uniform samples behind the simultaneous band."
    )


def credibilities(draws: Array, truth: Array, references: Array, rng: np.random.Generator) -> Array:
    """Returns f, the share of draws that lie closer to the reference than the truth does, shape (N,).

    Arguments:
        draws: Shape (S, N, D).
        truth: Shape (N, D).
        references: Centres of the balls, shape (N, D), in the units of the parameters.
        rng: Breaks ties.

    Raises:
        DataError: If a parameter has the same truth in all data sets.
    """
    require_shape("references", references, *truth.shape)
    width = np.ptp(truth, axis=0)
    if not (width > 0).all():
        raise DataError(f"truth: expected values that differ between data sets, got ranges {width.tolist()}.")
    of_draws, of_truth = np.zeros(draws.shape[:2]), np.zeros(len(truth))
    for j in range(truth.shape[1]):  # by parameter, to spare memory
        of_draws += ((draws[:, :, j] - references[:, j]) / width[j]) ** 2
        of_truth += ((truth[:, j] - references[:, j]) / width[j]) ** 2
    return fractional_ranks(of_draws, of_truth, rng)


def atc(f: Array) -> float:
    """Returns ATC from f (N,): positive for a posterior that is too wide, negative for one too narrow."""
    return float(5 / 8 - np.maximum(f, 0.5).mean())


def uniform_references(truth: Array, rng: np.random.Generator) -> Array:
    """Returns centres uniform in the bounding box of the truth (N, D), shape (N, D)."""
    lower, upper = truth.min(axis=0), truth.max(axis=0)
    return lower + rng.random(truth.shape) * (upper - lower)


def neighbour_references(x: Array, truth: Array, neighbours: int, rng: np.random.Generator) -> Array:
    """Returns centres that follow the data: mean truth of the nearest earlier data sets in a random order.

    Nearness is the Euclidean distance between normal scores of the coordinates of x, which no monotone change
    of units alters, of those that are there in both (missing ones are NaN). The first data set has no
    predecessor and gets a uniform centre.

    Arguments:
        x: Data, shape (N, ...).
        truth: Shape (N, D).
        neighbours: How many data sets to average over; fewer where there are not as many.
        rng: Orders the data sets.
    """
    from scipy.special import ndtri
    from scipy.stats import rankdata

    n = len(truth)
    flat = np.asarray(x, dtype=float).reshape(n, -1)
    scores = ndtri(rankdata(flat, axis=0, nan_policy="omit") / ((~np.isnan(flat)).sum(axis=0) + 1))
    references, order = uniform_references(truth, rng), rng.permutation(n)
    scores, ordered = scores[order], truth[order]
    for position in range(1, n):
        k = min(neighbours, position)
        distances = missing.total((scores[:position] - scores[position]) ** 2)  # NaN comes last
        nearest = np.argpartition(distances, k - 1)[:k]
        references[order[position]] = ordered[nearest].mean(axis=0)
    return references


class TARP(Check):
    """Tests whether balls around random points hold the truth as often as the draws say."""

    name = "tarp"
    needs = frozenset({"truth"})
    settings_class: ClassVar = TARPSettings
    settings: TARPSettings
    meanings: ClassVar = {
        "tarp_atc": (
            "Area between TARP's coverage curve and the diagonal above level 1/2. Above 0: too wide; below "
            "0: too narrow or biased."
        ),
        "tarp_p": "Kolmogorov-Smirnov p-value of TARP's credibility levels being uniform.",
    }
    shown: ClassVar = (Line("tarp_p", "p-value of the TARP test", form="p"),)

    def _judge(self, draws: Draws, rng: np.random.Generator, inputs: Inputs) -> CheckResult:
        from scipy.stats import kstest

        theta, truth = labelled(draws, self.name)
        f = credibilities(theta, truth, self._references(draws, truth, rng), rng)
        p_value = float(kstest(f, "uniform").pvalue)
        error = finite_or_none(mean_stderr(np.maximum(f, 0.5)))
        table = [Metric("tarp_atc", atc(f), error, len(f)), Metric("tarp_p", p_value, None, len(f))]
        band = uniformity.band(len(f), LEVELS, self.settings.alpha, self.settings.null_draws)
        return self._result(
            draws,
            table,
            curves={
                "levels": band.grid,
                "ecp": expected_coverage(f[:, None], LEVELS)[0],
                "lower": band.lower,
                "upper": band.upper,
            },
            passed=p_value >= self.settings.alpha,
            p_value=p_value,
        )

    def _references(self, draws: Draws, truth: Array, rng: np.random.Generator) -> Array:
        if self.settings.references == "uniform":
            return uniform_references(truth, rng)
        data = draws.x if draws.x is not None else draws.summary
        data = np.asarray(given(data, "x or summaries of the data (or references: uniform)", self.name))
        if len(data) != len(truth):
            raise DataError(f"check {self.name}: expected x of {len(truth)} data sets, got {len(data)}.")
        require_finite("x", data[~usable(data, True)])
        return neighbour_references(data, truth, self.settings.neighbours, rng)

r"""Distance between a method and the exact posterior of the task, on data whose parameters are known.

With p the exact posterior and q that of the method:

- NLTP gap = mean over data sets of log p(truth | x) - log q(truth | x): how many nats the method loses, an
  unbiased estimate of the mean Kullback-Leibler divergence from p to q where the truths come from the prior;
  paired, so that its error is far below that of either score.
- C2ST = 1/2 + TV/2, the accuracy of the optimal classifier, where both densities stand on a grid (D <= 2):
  :math:`TV = \tfrac12 (\sum_c |p_c - q_c| + 1 - \sum_c q_c)`, the part of q outside the grid counted as lost.
  Elsewhere the accuracy of a trained classifier, and its null from two halves of the exact draws.
- Sliced Wasserstein distance of order 2 between draws, in standard deviations of the exact posterior per
  parameter, and its null; two Gaussians of covariance 1 at distance m are :math:`m / \sqrt D` apart.

What it is handed, `exact`, is a mapping of arrays:

    log_p_truth, log_q_truth  (N,)       normalised log densities of the truth; log_q may be -inf
    log_p_grid, log_q_grid    (G, C)     on the cells of a grid per data set; q normalised, p up to a factor
    cell_volume               () or (C,) or (G, C)
    draws_exact, draws        (S, G, D)  draws of both for the same G data sets

with the grid, the draws, or both.

Curves: `nltp_gaps` (N,); on a grid `c2st` and `grid_mass` (G,), the part of q that the grid holds; from draws
`c2st` unless there is a grid, and `wasserstein` (G,).

References:
    | Revisiting Classifier Two-Sample Tests (Lopez-Paz & Oquab, 2017), https://arxiv.org/abs/1610.06545
    | Sliced and Radon Wasserstein Barycenters of Measures (Bonneel et al., 2015)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from veridical.checks.base import Check, CheckResult, Metric, finite_or_none, mean_stderr
from veridical.checks.inputs import Array, Inputs, given, require_finite
from veridical.checks.two_sample import c2st
from veridical.errors import DataError, require_shape
from veridical.saved.posteriors import Draws
from veridical.sections import Count, Section

TRUTH = ("log_p_truth", "log_q_truth")
GRID = ("log_p_grid", "log_q_grid", "cell_volume")
DRAWS = ("draws_exact", "draws")

_MASS = 0.98  # of q that a grid should hold
_PROJECTIONS = 100
_CLASSIFIER = {"folds": 5, "max_iterations": 500, "patience": 20}


class ExactSettings(Section):
    """Distance from the exact posterior of the task."""

    observations: Count = Field(
        default=20, description="Data sets whose draws are compared, where the posterior is known by draws."
    )
    draws: Annotated[int, Field(ge=40)] = Field(
        default=1_000, description="Draws of each side and data set that are compared, likewise."
    )


class Densities(NamedTuple):
    """Both posteriors on a grid per data set, normalised to cells; and what part of q the grid holds."""

    p: Array
    q: Array
    mass: Array


def require_arrays(arrays: Mapping[str, Array]) -> None:
    """Raises DataError unless the arrays are those of the module's description."""
    missing = [name for name in TRUTH if name not in arrays]
    for group in (GRID, DRAWS):
        if any(name in arrays for name in group):
            missing += [name for name in group if name not in arrays]
    if not missing and not any(name in arrays for name in (*GRID, *DRAWS)):
        missing = [f"{', '.join(GRID)} or {' and '.join(DRAWS)}"]
    if missing:
        raise DataError(f"exact: expected {', '.join(missing)}, got {sorted(arrays)}.")


def on_grid(log_p: Array, log_q: Array, volume: Array | float) -> Densities:
    """Returns the probabilities of the cells of a grid, shapes (G, C).

    Arguments:
        log_p: Exact log density up to a constant, shape (G, C).
        log_q: Normalised log density, same shape. Where the grid holds more than all of it, as coarse cells
            can, it is normalised to the grid.
        volume: Volume of the cells, to be broadcast.
    """
    from scipy.special import logsumexp

    log_volume = np.log(np.broadcast_to(volume, log_p.shape))
    log_p, log_q = log_p + log_volume, log_q + log_volume
    mass = np.exp(logsumexp(log_q, axis=1))
    q = np.exp(log_q - np.log(np.maximum(mass, 1))[:, None])
    return Densities(np.exp(log_p - logsumexp(log_p, axis=1, keepdims=True)), q, mass)


def optimal_accuracy(found: Densities) -> Array:
    """Returns 1/2 + TV/2 per data set, shape (G,)."""
    outside = np.maximum(1 - found.q.sum(axis=1), 0)
    return 0.5 + 0.25 * (np.abs(found.p - found.q).sum(axis=1) + outside)


def sliced_wasserstein(
    draws: Array, exact: Array, rng: np.random.Generator, projections: int = _PROJECTIONS
) -> float:
    r"""Returns the sliced Wasserstein distance of order 2 of draws (S, D) and (R, D).

    .. math:: SW_2^2 = E_u \int_0^1 (F^{-1}_{u, 1}(t) - F^{-1}_{u, 2}(t))^2 dt, \quad |u| = 1

    Arguments:
        draws: Of the method.
        exact: Of the exact posterior; its standard deviations are the unit of each parameter.
        rng: Draws the directions u.
        projections: How many; the only one for D = 1.
    """
    d, sd = draws.shape[1], exact.std(axis=0, ddof=1)
    sd = np.where(sd > 0, sd, 1.0)  # of a discrete parameter that is known for certain
    directions = np.ones((1, 1)) if d == 1 else rng.normal(size=(d, projections))
    directions = directions / np.linalg.norm(directions, axis=0)
    n = max(len(draws), len(exact))
    sides = [_quantiles(side / sd @ directions, n) for side in (draws, exact)]
    return float(np.sqrt(((sides[0] - sides[1]) ** 2).mean()))


def _quantiles(values: Array, n: int) -> Array:
    """Evenly spread quantiles of each column: sorted values, repeated or thinned to n of them."""
    ordered = np.sort(values, axis=0)
    if len(ordered) == n:
        return ordered
    return ordered[((np.arange(n) + 0.5) * len(ordered) / n).astype(int)]


class Exact(Check):
    """Compares a method with the exact posterior of the task; has no threshold of its own."""

    name = "exact"
    needs = frozenset({"exact"})
    on_real = True
    on_all_budgets = True
    settings_class: ClassVar = ExactSettings
    settings: ExactSettings
    meanings: ClassVar = {
        "nltp_gap": (
            "Mean of log p - log q at the true parameters, p the exact posterior: nats lost against it, "
            "paired by data set. 0 is best."
        ),
        "wasserstein": (
            "Sliced Wasserstein distance of order 2 between draws of the method and of the exact posterior, "
            "each parameter in standard deviations of the exact one; mean over data sets."
        ),
        "wasserstein_null": (
            "`wasserstein` between two halves of the exact draws: what no difference looks like."
        ),
    }

    def _judge(self, draws: Draws, rng: np.random.Generator, inputs: Inputs) -> CheckResult:
        arrays: Mapping[str, Array] = given(inputs.exact, "the exact posterior of the task", self.name)
        require_arrays(arrays)
        gaps = self._gaps(arrays)
        table, curves, notes = self._nltp(gaps), {"nltp_gaps": gaps}, []
        if GRID[0] in arrays:
            found = self._grid(arrays)
            accuracy = optimal_accuracy(found)
            table.append(_mean("c2st", accuracy))
            curves |= {"c2st": accuracy, "grid_mass": found.mass}
            if (lost := int((found.mass < _MASS).sum())) > 0:
                notes.append(
                    f"The grid holds less than {_MASS:.0%} of the method's posterior for {lost} of "
                    f"{len(accuracy)} data sets; the rest counts as lost."
                )
        if DRAWS[0] in arrays:
            rows, own = self._draws(arrays, rng, classify=GRID[0] not in arrays)
            table += rows
            curves |= own
        return self._result(draws, table, curves=curves, notes=tuple(notes))

    def _gaps(self, arrays: Mapping[str, Array]) -> Array:
        """Differences log p - log q at the truths, shape (N,); +inf where the method excludes the truth."""
        log_p, log_q = (np.asarray(arrays[name], dtype=float) for name in TRUTH)
        require_shape("log_p_truth", log_p, None)
        require_shape("log_q_truth", log_q, len(log_p))
        require_finite("log_p_truth", log_p)
        require_finite("log_q_truth", log_q, allow=-np.inf)
        return log_p - log_q

    def _nltp(self, gaps: Array) -> list[Metric]:
        zeros = int(np.isposinf(gaps).sum())
        error = None if zeros else finite_or_none(mean_stderr(gaps))
        extra = {"zero_densities": zeros} if zeros else {}
        return [Metric("nltp_gap", float(gaps.mean()), error, len(gaps), extra=extra)]

    def _grid(self, arrays: Mapping[str, Array]) -> Densities:
        log_p, log_q, volume = (np.asarray(arrays[name], dtype=float) for name in GRID)
        require_shape("log_p_grid", log_p, None, None)
        require_shape("log_q_grid", log_q, *log_p.shape)
        require_finite("log_p_grid", log_p, allow=-np.inf)
        require_finite("log_q_grid", log_q, allow=-np.inf)
        if np.isneginf(log_p).all(axis=1).any():
            raise DataError("log_p_grid: expected some density for every data set, got one with none.")
        return on_grid(log_p, log_q, volume)

    def _draws(
        self, arrays: Mapping[str, Array], rng: np.random.Generator, classify: bool
    ) -> tuple[list[Metric], dict[str, Array]]:
        """Wasserstein distance and, where asked for, C2ST from draws, with their nulls."""
        exact, draws = (np.asarray(arrays[name], dtype=float) for name in DRAWS)
        require_shape("draws_exact", exact, None, None, None)
        require_shape("draws", draws, None, *exact.shape[1:])
        require_finite("draws_exact", exact)
        require_finite("draws", draws)
        if min(len(draws), len(exact) // 2) < 20:
            raise DataError(
                f"check {self.name}: expected at least 20 draws and 40 of the exact posterior, got "
                f"{len(draws)} and {len(exact)}."
            )
        n, half = self.settings.draws, len(exact) // 2
        found: dict[str, list[float]] = {}
        for i in range(min(exact.shape[1], self.settings.observations)):
            pairs = {"": (draws[:n, i], exact[:n, i]), "_null": (exact[:half, i][:n], exact[half:, i][:n])}
            for kind, (q, p) in pairs.items():
                found.setdefault(f"wasserstein{kind}", []).append(sliced_wasserstein(q, p, rng))
                if classify:
                    accuracy = float(c2st(p, q, rng, **_CLASSIFIER).mean())
                    found.setdefault(f"c2st{kind}", []).append(accuracy)
        table = [_mean(name, np.array(values)) for name, values in sorted(found.items())]
        return table, {name: np.array(v) for name, v in found.items() if not name.endswith("_null")}


def _mean(name: str, values: Array) -> Metric:
    """The mean of a number per data set, with its error."""
    return Metric(name, float(values.mean()), finite_or_none(mean_stderr(values)), len(values))

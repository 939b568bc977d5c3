"""What a check is handed, and that it is what the check expects.

Shapes: S draws, N data sets, D parameters, K summaries; `draws` (S, N, D), `truth` (N, D), `log_density`
(S, N).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veridical.errors import DataError, ShapeError, require_shape
from veridical.saved.posteriors import Draws
from veridical.saved.predictions import Predictions
from veridical.tasks.base import Prior

Array = NDArray[Any]


@dataclass(frozen=True)
class Inputs:
    """What a check is handed beside the draws it judges.

    Attributes:
        reference: Draws of an exact sampler on the same data.
        predictive: Data simulated at the draws.
        prior_predictive: Data simulated at draws of the prior, shape (R, *x_shape).
        null: Draws of the same method on simulated test sets.
        exact: The exact posterior of the task beside that of the method, see `veridical.checks.exact`.
        nearby: Parameters around the answer and draws given data simulated there, see
            `veridical.checks.nearby`.
        densities: The task's own densities at the draws, see `veridical.stages.densities`.
        surfaces: Log likelihoods on a grid of parameters, see `veridical.checks.wilks`.
        prior: The prior of the task.
        labelled: Draws of the same method on labelled real data.
        axes: Name, coordinates and unit of each dimension of x; none where they are not known.
    """

    reference: Draws | None = None
    predictive: Predictions | None = None
    prior_predictive: Array | None = None
    null: Draws | None = None
    exact: Mapping[str, Array] | None = None
    nearby: Mapping[str, Array] | None = None
    densities: Mapping[str, Array] | None = None
    surfaces: Mapping[str, Array] | None = None
    prior: Prior | None = None
    labelled: Draws | None = None
    axes: Sequence[Mapping[str, Any]] = ()


def given(value: Any, what: str, check: str) -> Any:
    """Returns `value`, or says that a check lacks it.

    Raises:
        DataError: If it is None.
    """
    if value is None:
        raise DataError(f"check {check}: expected {what}, got none; leave this check out for such data.")
    return value


def require_finite(name: str, array: Array, *, allow: float | None = None) -> None:
    """Raises DataError unless all numbers are finite, or equal to `allow`."""
    bad = ~np.isfinite(array)
    if allow is not None:
        bad &= array != allow
    if bad.any():
        also = "" if allow is None else f" or {allow}"
        raise DataError(
            f"{name}: expected finite numbers{also}, got {int(bad.sum())} of {bad.size} that are not; "
            "leave failed rows out before the check."
        )


def summaries(draws: Draws, check: str) -> Array:
    """Returns learned summaries (N, K), checked.

    Raises:
        DataError: If there are none, or a number is not finite.
        ShapeError: If there is not one row for each data set.
    """
    found = np.asarray(given(draws.summary, "learned summaries of the data", check), dtype=float)
    require_shape("summary", found, draws.draws.shape[1], None)
    require_finite("summary", found)
    return found


def sharing(draws: Draws, rows: Array, simulated: Draws) -> Array:
    """Returns which simulated data sets have the parameters of some of the judged ones, boolean (M,).

    Data sets of other fidelities share their parameters with simulated ones, and would be told from them too
    rarely.

    Arguments:
        draws: Of the data judged.
        rows: Which of them are judged.
        simulated: Of the simulated data sets.
    """
    if draws.truth is not None and simulated.truth is not None:
        of, against = np.asarray(draws.truth)[rows], np.asarray(simulated.truth)
        if of.shape[1:] == against.shape[1:]:
            return np.asarray((against[:, None] == of).all(axis=-1).any(axis=1))
    return np.zeros(simulated.draws.shape[1], dtype=bool)


def labelled(draws: Draws, check: str) -> tuple[Array, Array]:
    """Returns draws (S, N, D) and truth (N, D), checked.

    Raises:
        DataError: If there is no truth, or a number is not finite.
        ShapeError: If shapes disagree.
    """
    theta = unlabelled(draws)
    truth = np.asarray(given(draws.truth, "true parameters", check), dtype=float)
    require_shape("truth", truth, *theta.shape[1:])
    require_finite("truth", truth)
    return theta, truth


def unlabelled(draws: Draws) -> Array:
    """Returns draws (S, N, D), checked."""
    theta = np.asarray(draws.draws, dtype=float)
    require_shape("draws", theta, None, None, len(draws.names))
    if 0 in theta.shape:
        raise ShapeError(f"draws: expected draws, data sets and parameters, got shape {theta.shape}.")
    require_finite("draws", theta)
    return theta


def density_of_truth(draws: Draws) -> Array | None:
    """Returns log densities of the truth (N,), or None where they are missing.

    Raises:
        DataError: If one is NaN or +inf; -inf is a density of zero and stays.
        ShapeError: If there is not one per data set.
    """
    if draws.log_density_truth is None:
        return None
    log_q = np.asarray(draws.log_density_truth, dtype=float)
    require_shape("log_density_truth", log_q, draws.draws.shape[1])
    require_finite("log_density_truth", log_q, allow=-np.inf)
    return log_q


def densities(draws: Draws) -> tuple[Array, Array] | None:
    """Returns log densities of draws (S, N) and of the truth (N,), or None where either is missing.

    Raises:
        DataError: As `density_of_truth`.
        ShapeError: If shapes disagree with the draws.
    """
    of_truth = density_of_truth(draws)
    if draws.log_density is None or of_truth is None:
        return None
    of_draws = np.asarray(draws.log_density, dtype=float)
    require_shape("log_density", of_draws, *draws.draws.shape[:2])
    require_finite("log_density", of_draws, allow=-np.inf)
    return with_ties(draws.draws, draws.truth, of_draws, of_truth), of_truth


def with_ties(draws: Array, truth: Array | None, of_draws: Array, of_truth: Array) -> Array:
    """Returns log densities of draws (S, N), where draws equal the truth to the bit those of the truth (N,).

    So are ties of discrete parameters seen as such, in whatever precision the densities came.

    Arguments:
        draws: Shape (S, N, D).
        truth: Shape (N, D).
        of_draws: Log densities, shape (S, N).
        of_truth: Log densities, shape (N,).
    """
    if truth is None or not (draws == truth).any():
        return of_draws
    return np.where((draws == truth).all(axis=-1), of_truth, of_draws)

"""Where real data lie in the cloud of prior predictions, value by value."""

from __future__ import annotations

from typing import Any

import numpy as np

from veridical.checks import missing
from veridical.errors import SimulationError, require_shape
from veridical.tasks.base import Array, usable

RANGE = (0.005, 0.995)
LEVELS = (0.005, 0.05, 0.25, 0.5, 0.75, 0.95, 0.995)


def look(x: Array, prior_x: Array) -> dict[str, Any]:
    """Returns where observations lie in the prior predictive, value by value.

    A value is inside if it lies between the 0.5 and 99.5 % quantiles of the simulated ones, which 99 % of the
    values of a well-specified observation do. This looks at each value by itself: values that are
    all inside can still be far out together. Missing values (NaN) are left out.

    Arguments:
        x: Observations, shape (N, *x_shape).
        prior_x: Simulations from the prior, shape (M, *x_shape); rows that failed are left out.

    Returns:
        `inside_share` (one number), `inside_shares` (N), `quantiles` (N, *x_shape): the share of simulated
        values below each observed one; `levels` and `bands` (levels, *x_shape): quantiles of the simulated
        values; `n_simulated`; and `missing`, a sentence where other values are missing than in simulations.

    Raises:
        ShapeError: If the shapes of the rows differ.
        SimulationError: If no simulation is finite.
    """
    x, prior_x = np.asarray(x, dtype=float), np.asarray(prior_x, dtype=float)
    require_shape("observations", x, None, *prior_x.shape[1:])
    valid = usable(prior_x, True)
    if not valid.any():
        raise SimulationError(
            f"prior predictive: none of {len(prior_x)} simulations is finite; see the probe of this fidelity."
        )
    cloud = np.sort(prior_x[valid], axis=0)
    lower, upper = missing.quantiles(cloud, RANGE)
    held = np.where(np.isnan(x), np.nan, (x >= lower) & (x <= upper))
    inside, told = missing.mean(held.reshape(len(x), -1)), missing.unlike(x, prior_x[valid])
    return {
        "inside_share": float(inside.mean()),
        "inside_shares": inside.tolist(),
        "quantiles": _listed(_mid_ranks(x, cloud).round(4)),
        "levels": list(LEVELS),
        "bands": _listed(missing.quantiles(cloud, LEVELS)),
        "n_simulated": int(valid.sum()),
        **({"missing": told} if told else {}),
    }


def _listed(values: Array) -> list[Any]:
    """Numbers as nested lists, None for those that are missing."""
    plain = values.astype(object)
    plain[np.isnan(values)] = None
    return list(plain.tolist())


def _mid_ranks(x: Array, cloud: Array) -> Array:
    """Shares of the sorted cloud (M, ...) below each value of x (N, ...), ties counted by half.

    Missing values stand at the end of the cloud and count for nothing; those of x have none.
    """
    flat, sorted_values = x.reshape(len(x), -1), cloud.reshape(len(cloud), -1)
    there = (~np.isnan(sorted_values)).sum(axis=0)
    ranks = [
        np.searchsorted(values, observed, "left") + np.searchsorted(values, observed, "right")
        for values, observed in zip(sorted_values.T, flat.T, strict=True)
    ]
    shares = np.stack(ranks, axis=1) / np.where(there > 0, 2 * there, np.nan)
    return np.where(np.isnan(x), np.nan, shares.reshape(x.shape))

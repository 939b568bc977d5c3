"""Where real data lie in the cloud of prior predictions, value by value."""

from __future__ import annotations

from typing import Any

import numpy as np

from veridical.errors import SimulationError, require_shape
from veridical.tasks.base import Array

RANGE = (0.005, 0.995)
LEVELS = (0.005, 0.05, 0.25, 0.5, 0.75, 0.95, 0.995)


def look(x: Array, prior_x: Array) -> dict[str, Any]:
    """Returns where observations lie in the prior predictive, value by value.

    A value is inside if it lies between the 0.5 and 99.5 % quantiles of the simulated ones, which 99 % of the
    values of a well-specified observation do. This looks at each value by itself: values that are
    all inside can still be far out together.

    Arguments:
        x: Observations, shape (N, *x_shape).
        prior_x: Simulations from the prior, shape (M, *x_shape); rows that are not finite are left out.

    Returns:
        `inside_share` (one number), `inside_shares` (N), `quantiles` (N, *x_shape): the share of simulated
        values below each observed one; `levels` and `bands` (levels, *x_shape): quantiles of the simulated
        values; `n_simulated`.

    Raises:
        ShapeError: If the shapes of the rows differ.
        SimulationError: If no simulation is finite.
    """
    x, prior_x = np.asarray(x, dtype=float), np.asarray(prior_x, dtype=float)
    require_shape("observations", x, None, *prior_x.shape[1:])
    finite = np.isfinite(prior_x).reshape(len(prior_x), -1).all(axis=1)
    if not finite.any():
        raise SimulationError(
            f"prior predictive: none of {len(prior_x)} simulations is finite; see the probe of this fidelity."
        )
    cloud = np.sort(prior_x[finite], axis=0)
    lower, upper = np.quantile(cloud, RANGE, axis=0)
    inside = ((x >= lower) & (x <= upper)).reshape(len(x), -1).mean(axis=1)
    return {
        "inside_share": float(inside.mean()),
        "inside_shares": inside.tolist(),
        "quantiles": _mid_ranks(x, cloud).round(4).tolist(),
        "levels": list(LEVELS),
        "bands": np.quantile(cloud, LEVELS, axis=0).tolist(),
        "n_simulated": int(finite.sum()),
    }


def _mid_ranks(x: Array, cloud: Array) -> Array:
    """Shares of the sorted cloud (M, ...) below each value of x (N, ...), ties counted by half."""
    flat, sorted_values = x.reshape(len(x), -1), cloud.reshape(len(cloud), -1)
    ranks = [
        np.searchsorted(values, observed, "left") + np.searchsorted(values, observed, "right")
        for values, observed in zip(sorted_values.T, flat.T, strict=True)
    ]
    return np.stack(ranks, axis=1).reshape(x.shape) / (2 * len(cloud))

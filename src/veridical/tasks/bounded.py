"""One parameter within bounds a, b: u = log(theta - a) - log(b - theta), with the terms of finite bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def unbounded(values: Array, lower: Any, upper: Any, least: float = -np.inf) -> tuple[Array, Array]:
    """Returns u and du/dtheta (...) of values (...) within bounds, each a number or (...).

    Distances from the bounds count as `least` where they are smaller.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        below, above = np.maximum(values - lower, least), np.maximum(upper - values, least)
        has_lower, has_upper = _is_there(lower), _is_there(upper)
        if not has_lower and not has_upper:
            return values, np.ones_like(values)
        u = (
            np.zeros_like(below)
            + (np.log(below) if has_lower else 0.0)
            - (np.log(above) if has_upper else 0.0)
        )
        return u, 1 / below + 1 / above


def bounded(u: Array, lower: Any, upper: Any) -> Array:
    """Returns values (...), strictly inside the bounds, of u (...)."""
    has_lower, has_upper = _is_there(lower), _is_there(upper)
    if not has_lower and not has_upper:
        return u
    with np.errstate(over="ignore"):
        if not has_upper:
            values = lower + np.exp(u)
        elif not has_lower:
            values = upper - np.exp(-u)
        else:
            share = np.exp(-np.abs(u))
            step = (upper - lower) * share / (1 + share)
            values = np.where(u < 0, lower + step, upper - step)
    return np.clip(values, *innermost(lower, upper))


def innermost(lower: Any, upper: Any) -> tuple[Any, Any]:
    """Returns the closest numbers inside the bounds whose distance to them has a finite inverse."""
    tiny = np.finfo(float).tiny
    return (
        np.maximum(np.nextafter(lower, np.inf), lower + tiny),
        np.minimum(np.nextafter(upper, -np.inf), upper - tiny),
    )


def _is_there(bound: Any) -> bool:
    """Whether a bound is a number or a formula rather than infinite."""
    return bool(np.ndim(bound) or np.isfinite(bound))

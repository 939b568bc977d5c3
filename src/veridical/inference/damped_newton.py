r"""Minima of smooth functions that need not be convex, by Newton steps with damping; numpy.

With eigenvalues :math:`\lambda_i` and eigenvectors of the Hessian, a step goes along each of these by
:math:`-g_i / (|\lambda_i| + \mu)`: away from saddles and maxima, where plain Newton steps would go to them.
The damping mu grows until the function falls by enough and the step is no longer than a radius, and shrinks
afterwards. Infinite values are walls.

References:
    | Identifying and attacking the saddle point problem in high-dimensional non-convex optimization
    | (Dauphin, Pascanu, Gulcehre, Cho, Ganguli, Bengio, 2014)
    | https://arxiv.org/abs/1406.2572
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from veridical.errors import DataError
from veridical.tasks.base import Array

TOLERANCE = 1e-8  # of the squared Newton decrement before the last step
MAX_STEPS = 200
MAX_DAMPINGS = 60
ARMIJO = 1e-4
LEAST_DAMPING = 1e-8  # relative to the largest eigenvalue
FLAT = 1e-12  # least eigenvalue that steps divide by, likewise


@dataclass(frozen=True)
class Minimum:
    """Where a function is least.

    Attributes:
        at: The point, shape (P,).
        value: The function there.
        gradient: Its gradient, shape (P,).
        hessian: Its Hessian, positive definite, shape (P, P).
        steps: Newton steps.
    """

    at: Array
    value: float
    gradient: Array
    hessian: Array
    steps: int


def minimise(
    value: Callable[[Array], float],
    derivatives: Callable[[Array], tuple[Array, Array]],
    start: Array,
    radius: float = 1.0,
) -> Minimum:
    """Returns a minimum that steps from `start` lead to.

    Arguments:
        value: The function of a point (P,); may be infinite.
        derivatives: Its gradient (P,) and Hessian (P, P) where it is finite.
        start: Where the function is finite, shape (P,).
        radius: Length of the longest step.

    Raises:
        DataError: If there is none: the function is infinite at the start, falls for ever, or is flat.
    """
    at, now, damping = np.asarray(start, float), value(np.asarray(start, float)), 0.0
    if not np.isfinite(now):
        raise DataError("fit: the objective is not finite where the search begins; begin elsewhere.")
    for steps in range(MAX_STEPS):
        gradient, hessian = derivatives(at)
        values, axes = np.linalg.eigh(hessian)
        along = axes.T @ gradient
        if values[0] > 0 and float(along**2 @ (1 / values)) < TOLERANCE:
            at = at - axes @ (along / values)
            return _checked(Minimum(at, value(at), *derivatives(at), steps + 1))
        at, now, damping = _step(value, at, now, (values, axes, along), damping, radius)
    raise DataError(
        f"fit: no minimum in {MAX_STEPS} Newton steps (eigenvalues of the Hessian from {values[0]:.3g} to "
        f"{values[-1]:.3g}); a larger ridge holds what the data leave open."
    )


def _checked(found: Minimum) -> Minimum:
    least = float(np.linalg.eigvalsh(found.hessian)[0])
    if not (np.isfinite(found.value) and least > 0):
        raise DataError(
            f"fit: the minimum is no minimum (value {found.value:.6g}, least eigenvalue {least:.3g}); a "
            "larger ridge holds what the data leave open."
        )
    return found


def _step(
    value: Callable[[Array], float],
    at: Array,
    now: float,
    spectrum: tuple[Array, Array, Array],
    damping: float,
    radius: float,
) -> tuple[Array, float, float]:
    """A step that lowers the function by enough: where it leads, the function there, the next damping."""
    values, axes, along = spectrum
    largest = float(np.abs(values).max())
    for _ in range(MAX_DAMPINGS):
        step = along / np.maximum(np.abs(values) + damping, FLAT * largest)
        if np.linalg.norm(step) <= radius:
            new = at - axes @ step
            found = value(new)
            if found <= now - ARMIJO * float(along @ step):
                return new, found, damping / 10 if damping > LEAST_DAMPING * largest else 0.0
        damping = max(4 * damping, LEAST_DAMPING * largest)
    raise DataError(
        "fit: no step lowers the objective, though its gradient is not zero; log ratios at some event are "
        "too large."
    )

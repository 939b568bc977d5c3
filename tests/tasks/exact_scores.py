"""What exact scores keep to: they are slopes of the likelihood, and obey both identities of Bartlett."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Array = np.ndarray


def slopes(log_p: Callable[[Array], Array], theta: Array, step: float = 1e-3) -> Array:
    """Central differences of order four of log densities (N,) at theta (N, D), shape (N, D)."""
    found = np.empty(theta.shape)
    for k in range(theta.shape[1]):
        move = step * np.eye(theta.shape[1])[k]
        near, far = (log_p(theta + m * move) - log_p(theta - m * move) for m in (1, 2))
        found[:, k] = (8 * near - far) / (12 * step)
    return found


def relative_error(score: Array, slope: Array) -> float:
    """The largest difference, relative to the root mean square of the score of its parameter."""
    return float((np.abs(slope - score) / np.sqrt((score**2).mean(axis=0))).max())


def require_bartlett(score: Callable[[Array], Array], theta: Array, step: float = 1e-3) -> None:
    """Of data at one theta (N, D): a mean of zero, and a covariance that is minus the mean Hessian."""
    at = score(theta)
    hessian = np.empty((*at.shape, at.shape[1]))
    for k in range(at.shape[1]):
        move = step * np.eye(at.shape[1])[k]
        hessian[:, k] = (score(theta + move) - score(theta - move)) / (2 * step)
    for terms in (at, (at[:, :, None] * at[:, None] + hessian).reshape(len(at), -1)):
        error = terms.std(axis=0) / np.sqrt(len(at))
        assert (np.abs(terms.mean(axis=0)) < 4.5 * error).all(), (terms.mean(axis=0), error)

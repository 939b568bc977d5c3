"""Pairs of a normal mean and data, with distorted ratios of which one combination is exact."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from veridical.inference.pair_weights import Pairs
from veridical.tasks.base import Array

EXACT = np.array([0.0, 1, 1, 8]) / 10  # weights of `members` that make the exact log ratio


def log_ratio(theta: Array, x: Array) -> Array:
    """log p(x | theta) / p(x) where theta is N(0, 1) and x is N(theta, 1), in D dimensions."""
    d = x.shape[-1]
    return -((x - theta) ** 2).sum(-1) / 2 + (x**2).sum(-1) / 4 + d * np.log(2) / 2


def members(theta: Array, x: Array) -> Array:
    """1 and three distorted log ratios at theta and x (..., D), shape (..., 4)."""
    t, u, exact = theta[..., 0], theta[..., -1], log_ratio(theta, x)
    off = [0.3 * np.sin(t + x[..., 0]), 0.25 * u]
    off.append(-sum(off) / 8)
    return np.stack([np.ones_like(t), *(exact + each for each in off)], axis=-1)


def drawn(rng: np.random.Generator, n: int, d: int = 1, elements: int = 1) -> tuple[Array, Array]:
    """Parameters (n, d) and data (n, elements, d) of them."""
    theta = rng.standard_normal((n, d))
    return theta, theta[:, None] + rng.standard_normal((n, elements, d))


def pairs(theta: Array, x: Array, of: Callable[[Array, Array], Array] = members, shuffles: int = 5) -> Pairs:
    """Functions at the pairs of theta (N, D) and x (N, R, D) and at others."""
    joint, *others = (of(np.roll(theta, k, axis=0)[:, None] + 0 * x, x) for k in range(shuffles + 1))
    return Pairs(joint, np.stack(others))


def summed(x: Array) -> Callable[[Array], Array]:
    """The members summed over observations (n, D), at parameters (B, D)."""
    return lambda z: members(np.broadcast_to(z[:, None], (len(z), *x.shape)), x).sum(axis=1)

r"""Posteriors up to a constant, in coordinates without bounds, and where walkers may start in them.

A prior and a likelihood make the target

.. math:: p(\theta(z)) \, L(\theta(z))^{b} \, |d\theta / dz|, \qquad 0 \le b \le 1 ,

of one observation or of several side by side. Starts come from prior draws by a sequential Monte Carlo
sampler: the power b of the likelihood is raised as far as the importance weights keep an effective size of
twice the number of walkers, the pool is resampled, the walkers move at that power, and the second half of
their path is the pool for the next rise. The weights give each mode its share; starts from the prior would
leave walkers in minor modes for thousands of steps.

Exact references end at b = 1/2, which is wider than the posterior, in general by the square root of two or
more, and go on for long. Many short chains side by side end at b = 1: between modes that no move joins their
walkers keep the shares that the weights gave them.

References:
    | Sequential Monte Carlo samplers (Del Moral, Doucet and Jasra, 2006)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from veridical.errors import ConvergenceError
from veridical.inference.convergence import bulk_ess, rank_rhat
from veridical.networks.transforms import ParameterTransform
from veridical.tasks.base import Array, Prior

START_POWER = 0.5
LEVEL_STEPS = 30
Move = Callable[[Array, Array, int, Array], Array]  # see `walkers.Walkers.warmed`


class Coordinates(Protocol):
    """Parameters to and from numbers without bounds."""

    def to_parameters(self, z: Array) -> Array:
        """Returns theta (..., D) of z (..., K)."""
        ...

    def to_unconstrained(self, theta: Array) -> Array:
        """Returns z (..., K) of theta (..., D)."""
        ...

    def log_jacobian(self, z: Array) -> Array:
        r"""Returns :math:`\log |d\theta / dz|` at z (..., K), shape (...)."""
        ...


@dataclass(frozen=True)
class Transformed:
    """The coordinates of a `ParameterTransform`, which knows of constraints: D parameters for K numbers."""

    transform: ParameterTransform

    def to_parameters(self, z: Array) -> Array:
        """Returns theta (..., D) of z (..., K)."""
        return self.transform.inverse(z)

    def to_unconstrained(self, theta: Array) -> Array:
        """Returns z (..., K) of theta (..., D)."""
        return self.transform.forward(theta)[0]

    def log_jacobian(self, z: Array) -> Array:
        r"""Returns :math:`\log |d\theta / dz|` at z (..., K), shape (...)."""
        return -self.transform.forward(self.transform.inverse(z))[1]


@dataclass(frozen=True)
class Target:
    """The log density of z under tempered posteriors; -inf where it is zero or undefined.

    Attributes:
        space: Leads from z to parameters.
        prior: The prior.
        log_likelihood: Of z (B, K), each for one of several rows (B,), up to a constant of each row; (B,).
    """

    space: Coordinates
    prior: Prior
    log_likelihood: Callable[[Array, Array], Array]

    def log_prior(self, z: Array) -> Array:
        """Returns the log prior density of z (B, K) in unconstrained coordinates, shape (B,)."""
        theta = self.space.to_parameters(z)
        with np.errstate(divide="ignore", invalid="ignore"):
            log_p = self.prior.log_prob(theta) + self.space.log_jacobian(z)
        return np.where(np.isfinite(log_p), log_p, -np.inf)

    def likelihood(self, z: Array, rows: Array) -> Array:
        """Returns the log likelihood of z (R, W, K), each for its row (R,), shape (R, W)."""
        log_p = self.log_likelihood(z.reshape(-1, z.shape[-1]), np.repeat(rows, z.shape[1]))
        return np.where(np.isnan(log_p), -np.inf, log_p).reshape(z.shape[:2])

    def tempered(self, z: Array, powers: Array, rows: Array) -> Array:
        """Returns log prior + power (R,) * log likelihood of z (R, W, K), shape (R, W)."""
        flat, each = z.reshape(-1, z.shape[-1]), z.shape[1]
        log_p = self.log_prior(flat)
        inside = np.isfinite(log_p)
        if inside.any():
            found = self.log_likelihood(flat[inside], np.repeat(rows, each)[inside])
            log_p[inside] += np.repeat(powers, each)[inside] * np.where(np.isnan(found), -np.inf, found)
        return log_p.reshape(z.shape[:2])


def starts(
    target: Target,
    pool: Array,
    walkers: int,
    move: Move,
    rngs: Sequence[np.random.Generator],
    *,
    power: float = START_POWER,
    level_steps: int = LEVEL_STEPS,
) -> Array:
    """Returns as many draws z (R, W, K) of the tempered posteriors as there are walkers.

    Arguments:
        target: The posteriors.
        pool: Prior draws for each row, shape (R, P, K).
        walkers: W.
        move: Moves walkers at given powers.
        rngs: Decide what is picked, one for each row.
        power: Of the likelihood, at which they end.
        level_steps: Moves at each power up to that.

    Raises:
        ConvergenceError: If the likelihood of a row vanishes at all of its prior draws.
    """
    rows, powers = np.arange(len(pool)), np.zeros(len(pool))
    out: Array = np.empty((len(pool), walkers, pool.shape[-1]))
    log_p = target.likelihood(pool, rows)
    if not np.isfinite(log_p).any(axis=1).all():
        raise ConvergenceError(
            f"none of {pool.shape[1]} prior draws has a positive likelihood for an observation; raise "
            "`prior_draws`, or see whether it fits the task."
        )
    while len(rows):
        z = np.empty((len(rows), walkers, pool.shape[-1]))
        for i, row in enumerate(rows.tolist()):
            rise = largest_power(log_p[i], power - powers[row], 2 * walkers)
            powers[row] += rise
            z[i] = pool[i][picked(rise * (log_p[i] - log_p[i].max()), walkers, rngs[row])]
        path = move(z, powers[rows], level_steps, rows)
        out[rows] = path[-1]
        going = powers[rows] < power
        rows = rows[going]
        if len(rows):
            pool = path[level_steps // 2 :, going].swapaxes(0, 1).reshape(len(rows), -1, z.shape[-1])
            log_p = target.likelihood(pool, rows)
    return out


def picked(log_weights: Array, n: int, rng: np.random.Generator) -> Array:
    """Returns n numbers of rows, picked with these weights (P,), with repetition."""
    weights = np.exp(log_weights)
    return rng.choice(len(weights), size=n, p=weights / weights.sum())


def largest_power(log_p: Array, most: float, size: float) -> float:
    """Returns the largest power <= most at which the weights p**power keep the effective size."""
    shifted = log_p[np.isfinite(log_p)] - log_p.max()
    size = min(size, 0.5 * len(shifted))

    def effective(power: float) -> float:
        weights = np.exp(power * shifted)
        return weights.sum() ** 2 / (weights**2).sum()

    if effective(most) >= size:
        return most
    low, high = 0.0, most
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if effective(middle) >= size else (low, middle)
    return high


def gathered(chains: Array, draws: int) -> Array:
    """Returns evenly spaced steps of all walkers (E, T, W, ...) as at most so many draws (S, ...).

    Any stretch of them mixes all ensembles.
    """
    ensembles, steps, walkers, *rest = chains.shape
    kept = np.linspace(steps - 1, 0, min(steps, -(-draws // (ensembles * walkers)))).astype(int)[::-1]
    return np.moveaxis(chains[:, kept], 0, 2).reshape(-1, *rest)[:draws]


def convergence(chains: Array) -> tuple[Array, Array]:
    """Returns R-hat across independent ensembles, and their effective size, of chains (E, T, W, D); (D,)."""
    columns = np.moveaxis(chains, -1, 0)
    rhat = [rank_rhat(column.reshape(len(column), -1)) for column in columns]
    return np.array(rhat), np.array([bulk_ess(column) for column in columns])

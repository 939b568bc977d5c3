r"""Hamiltonian Monte Carlo for many posteriors at once, with gradients.

Each row is a posterior with C chains, in coordinates z without bounds. A move follows Hamilton's equations by
leapfrog steps of

.. math:: m \mathrel{+}= \tfrac12 \epsilon F^T \nabla \log p(z), \quad z \mathrel{+}= \epsilon F m, \quad
    m \mathrel{+}= \tfrac12 \epsilon F^T \nabla \log p(z), \qquad m \sim N(0, 1),

and is accepted by Metropolis' rule. :math:`F F^T` is the covariance of all chains of a row while these warm
up (a dense mass matrix: variances alone do not make soft directions of mixtures round); the step
:math:`\epsilon` is brought to an acceptance of 0.8. Both stay as they are once draws are kept. The number of
steps runs evenly through all up to the largest, so that some move is long enough and no orbit closes.

Packages that have this for many posteriors at once need JAX, which is heavier than all that this one needs;
emcee knows no gradients, of which each costs as little here as a density.

Everything random comes from a generator of each row, and the arithmetic of a row does not depend on how many
there are.

References:
    | MCMC using Hamiltonian dynamics (Neal, 2011)
    | Stan Reference Manual: Hamiltonian Monte Carlo, for the stages of the warm-up
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from veridical.tasks.base import Array

ACCEPTED = 0.8  # share of moves that steps are brought to
FIRST = 0.02  # step at the beginning
STAGES = (0.15, 0.15, 0.2, 0.3, 0.2)  # shares of the warm-up; all but the last end with a new covariance
GOLDEN = (5**0.5 - 1) / 2
_BLOCK = 10  # moves whose random numbers are drawn at a time


class Target(Protocol):
    """The log densities of R posteriors, up to constants."""

    def log_density(self, z: Array, rows: Array) -> Array:
        """Returns log densities (R', C) at z (R', C, D), of the posteriors with these numbers (R',)."""

    def gradient(self, z: Array, rows: Array) -> Array:
        """Returns their gradients, shape (R', C, D)."""


@dataclass
class Chains:
    """Chains that move.

    Attributes:
        target: The posteriors.
        rngs: Decide all, one for each row.
        z: Where they stand, shape (R, C, D).
        leaps: Most leapfrog steps of a move.
        steps: Logarithms of the lengths of these in each row, shape (R,).
        factors: F of each row, shape (R, D, D).
    """

    target: Target
    rngs: Sequence[np.random.Generator]
    z: Array
    leaps: int
    steps: Array
    factors: Array

    @classmethod
    def of(cls, target: Target, z: Array, rngs: Sequence[np.random.Generator], leaps: int) -> Chains:
        """Returns chains that start at z (R, C, D), with nothing learned."""
        factors = np.broadcast_to(np.eye(z.shape[-1]), (len(z), z.shape[-1], z.shape[-1]))
        return cls(target, rngs, z.copy(), leaps, np.full(len(z), np.log(FIRST)), factors)

    def warm(self, moves: int) -> None:
        """Moves all chains so many times and learns steps and factors."""
        for stage, share in enumerate(STAGES, 1):
            path, _ = self.move(np.arange(len(self.z)), max(4, round(share * moves)), learning=True)
            if stage < len(STAGES):
                late = path[len(path) // 3 :].swapaxes(0, 1).reshape(len(self.z), -1, self.z.shape[-1])
                old, self.factors = self.factors, _factors(late)
                self.steps += 0.5 * np.log(_variance(old) / _variance(self.factors))

    def move(self, rows: Array, moves: int, *, learning: bool = False) -> tuple[Array, Array]:
        """Moves the chains of some rows; returns z after each move (T, R', C, D) and acceptances (R',)."""
        z = self.z[rows]
        log_p, slope = self.target.log_density(z, rows), self.target.gradient(z, rows)
        path, accepted, learned = np.empty((moves, *z.shape)), np.zeros(len(z)), np.zeros(len(z))
        for t in range(moves):
            if t % _BLOCK == 0:
                normal, uniform = self._noise(rows)
            momentum, (length, chance) = normal[:, t % _BLOCK], np.moveaxis(uniform[:, t % _BLOCK], -1, 0)
            leap = (np.exp(self.steps[rows])[:, None] * (0.8 + 0.4 * length))[..., None]
            tried, pushed, ended = self._path(z, slope, momentum, leap, rows, self._number(t))
            with np.errstate(all="ignore"):
                log_tried = self.target.log_density(tried, rows)
                gain = log_tried - log_p + 0.5 * ((momentum**2).sum(-1) - (ended**2).sum(-1))
            gain = np.where(np.isfinite(gain), gain, -np.inf)
            good = np.log(chance) < gain
            z = np.where(good[..., None], tried, z)
            slope = np.where(good[..., None], pushed, slope)
            log_p, path[t] = np.where(good, log_tried, log_p), z
            share = np.exp(np.minimum(gain, 0.0)).mean(axis=1)
            accepted += share / moves
            if learning:
                self.steps[rows] += (share - ACCEPTED) / np.sqrt(1 + t / 10)
                learned += self.steps[rows] * (t >= moves // 2)
        if learning:
            self.steps[rows] = learned / (moves - moves // 2)
        self.z[rows] = z
        return path, accepted

    def _number(self, t: int) -> int:
        """Leapfrog steps of one of the moves: all numbers up to the largest, evenly."""
        return 1 + int(self.leaps * (GOLDEN * (t + 1) % 1))

    def _path(
        self, z: Array, slope: Array, momentum: Array, leap: Array, rows: Array, number: int
    ) -> tuple[Array, Array, Array]:
        """Where a move ends, the gradient there, and the momentum."""
        factors = self.factors[rows]
        transposed = np.ascontiguousarray(factors.swapaxes(1, 2))
        with np.errstate(all="ignore"):  # a path that breaks out is refused
            momentum = momentum + 0.5 * leap * (slope @ factors)
            for step in range(number):
                z = z + leap * (momentum @ transposed)
                slope = self.target.gradient(z, rows)
                momentum = momentum + (0.5 if step == number - 1 else 1.0) * leap * (slope @ factors)
        return z, slope, momentum

    def _noise(self, rows: Array) -> tuple[Array, Array]:
        """Normal (R', block, C, D) and uniform (R', block, C, 2) numbers."""
        chains, size = self.z.shape[1:]
        rngs = [self.rngs[row] for row in rows.tolist()]
        normal = np.stack([rng.standard_normal((_BLOCK, chains, size)) for rng in rngs])
        return normal, np.stack([rng.random((_BLOCK, chains, 2)) for rng in rngs])


def sample(
    target: Target,
    z: Array,
    rngs: Sequence[np.random.Generator],
    *,
    moves: int,
    leaps: int = 12,
    unsettled: Callable[[Array], Array] = lambda _: np.empty(0, int),
    doublings: int = 0,
) -> tuple[Array, Array]:
    """Returns chains z (R, C, T, D) and the share of moves that were accepted (R,).

    Arguments:
        target: The posteriors.
        z: Where chains begin, far apart, shape (R, C, D).
        rngs: Decide all, one for each row.
        moves: T; as many before them warm up and are dropped.
        leaps: Most leapfrog steps of a move.
        unsettled: Tells of chains (R, C, T, D) the numbers of those that have to be longer. They go on from
            where they stand for twice as many moves as before, of which T are kept in place of the others.
        doublings: How often that is done, at most.
    """
    chains = Chains.of(target, z, rngs, leaps)
    chains.warm(moves)
    path, accepted = chains.move(np.arange(len(z)), moves)
    path = np.moveaxis(path, 0, 2)
    for doubling in range(1, doublings + 1):
        rows, every = unsettled(path), 2**doubling
        if len(rows) == 0:
            break
        longer, accepted[rows] = chains.move(rows, every * moves)
        path[rows] = np.moveaxis(longer[every - 1 :: every], 0, 2)
    return path, accepted


def _factors(z: Array) -> Array:
    """Cholesky factors (R, D, D) of the covariances of draws z (R, N, D), pulled towards their diagonals."""
    n, d = z.shape[1:]
    centred = z - z.mean(axis=1, keepdims=True)
    covariance = centred.swapaxes(1, 2) @ centred / (n - 1)
    kept = n / (n + 0.5 * d)
    diagonal = np.einsum("rii->ri", covariance)[:, :, None] * np.eye(d)
    return np.linalg.cholesky(kept * covariance + (1 - kept) * diagonal + 1e-6 * np.eye(d))


def _variance(factors: Array) -> Array:
    """Mean of the variances of the coordinates, shape (R,)."""
    return np.asarray((factors**2).sum(axis=(1, 2)) / factors.shape[1])

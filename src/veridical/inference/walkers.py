r"""Markov chains of many posteriors at once: ensembles of walkers that move by differential evolution.

Each row is an ensemble of W walkers in unconstrained coordinates z. Its two halves move in turn, each walker
by a difference of two of the other half,

.. math:: z_i' = z_i + \gamma \, (z_j - z_k) + \epsilon , \qquad
    \gamma = \frac{2.38}{\sqrt{2K}} \, u, \quad u \sim U(0.4, 1.2) ,

with gamma = 1 in every tenth move (between modes) and a jitter of a thousandth of the spread of the other
half. Given that half the proposal is symmetric, so that Metropolis' rule keeps the target. While chains warm
up, the length of each row's moves is brought to an acceptance of 0.25; it stays afterwards.

One call of the target serves a half of all rows. Everything random comes from a generator of each row: what a
row does depends neither on the others nor on how many there are.

References:
    | A Markov Chain Monte Carlo version of the genetic algorithm Differential Evolution (ter Braak, 2006)
    | emcee: The MCMC Hammer (Foreman-Mackey et al., 2013), for the two halves
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from veridical.inference import tempering
from veridical.inference.tempering import Target
from veridical.tasks.base import Array

WHOLE = 10  # one move in so many is by the whole difference
_BLOCK = 10  # moves whose random numbers are drawn at a time
_LEVEL = 10  # moves at each power of the likelihood before the whole one
_TARGET = 0.25  # acceptance that the length of moves is brought to
_JITTER = 1e-3  # of the spread of the other half


@dataclass
class Walkers:
    """Ensembles that move.

    Attributes:
        target: The posteriors.
        rngs: Decide all, one for each row.
        lengths: Of the moves of each row, in units of that for a normal, shape (R,).
    """

    target: Target
    rngs: Sequence[np.random.Generator]
    lengths: Array

    @classmethod
    def of(cls, target: Target, rngs: Sequence[np.random.Generator]) -> Walkers:
        """Returns ensembles at the start."""
        return cls(target, rngs, np.ones(len(rngs)))

    def warmed(self, z: Array, powers: Array, steps: int, rows: Array) -> Array:
        """As `moved`, while lengths are being learned."""
        return self.moved(z, powers, steps, rows, learning=True)[0]

    def moved(
        self, z: Array, powers: Array, steps: int, rows: Array, *, learning: bool = False
    ) -> tuple[Array, Array]:
        """Returns the path of walkers and the share of moves that were accepted.

        Arguments:
            z: Where they stand, shape (R, W, K); W is even.
            powers: Of the likelihood, shape (R,).
            steps: How often each is moved.
            rows: Numbers of the rows, shape (R,).
            learning: Whether lengths change.

        Returns:
            z after each step (steps, R, W, K), and shares (R,).
        """
        z = z.copy()
        half, k = z.shape[1] // 2, z.shape[2]
        log_p = self.target.tempered(z, powers, rows)
        path, accepted = np.empty((steps, *z.shape)), np.zeros(len(z))
        rngs = [self.rngs[row] for row in rows.tolist()]
        for step in range(steps):
            if step % _BLOCK == 0:
                uniform = np.stack([rng.random((_BLOCK, 2 * half, 4)) for rng in rngs])
                normal = np.stack([rng.standard_normal((_BLOCK, 2 * half, k)) for rng in rngs])
            whole = step % WHOLE == WHOLE - 1
            for own, other in ((slice(half), slice(half, None)), (slice(half, None), slice(half))):
                u, e = uniform[:, step % _BLOCK, own], normal[:, step % _BLOCK, own]
                length = np.ones(u.shape[:2]) if whole else self._lengths(rows, u[..., 2], k)
                tried = z[:, own] + _differences(z[:, other], u, length, e)
                log_tried = self.target.tempered(tried, powers, rows)
                with np.errstate(invalid="ignore"):
                    good = np.log(u[..., 3]) < log_tried - log_p[:, own]
                z[:, own][good], log_p[:, own][good] = tried[good], log_tried[good]
                accepted += good.mean(axis=1) / (2 * steps)
                if learning and not whole:
                    self.lengths[rows] *= np.exp(0.2 * (good.mean(axis=1) - _TARGET))
            path[step] = z
        return path, accepted

    def _lengths(self, rows: Array, u: Array, k: int) -> Array:
        return np.asarray(self.lengths[rows][:, None] * 2.38 / np.sqrt(2 * k) * (0.4 + 0.8 * u))


def _differences(others: Array, u: Array, length: Array, normal: Array) -> Array:
    """Moves (R, W/2, K) by differences of the other half and a jitter."""
    half = others.shape[1]
    one = (u[..., 0] * half).astype(int)
    two = (one + 1 + (u[..., 1] * (half - 1)).astype(int)) % half
    difference = np.take_along_axis(others, one[..., None], 1) - np.take_along_axis(others, two[..., None], 1)
    return length[..., None] * difference + _JITTER * others.std(axis=1, keepdims=True) * normal


def sample(
    target: Target,
    pool: Array,
    rngs: Sequence[np.random.Generator],
    *,
    walkers: int,
    warm_up: int,
    steps: int,
    unsettled: Callable[[Array], Array] = lambda _: np.empty(0, int),
    doublings: int = 0,
) -> tuple[Array, Array]:
    """Returns chains of ensembles z (R, T, W, K) and the share of moves that were accepted (R,).

    Arguments:
        target: The posteriors.
        pool: Prior draws for each ensemble, shape (R, P, K), from which the starts are made.
        rngs: Decide all, one for each ensemble.
        walkers: W, even.
        warm_up: Steps that are dropped.
        steps: Steps that are kept, T.
        unsettled: Tells of chains (R, T, W, K) the numbers of those that have to be longer. They go on from
            where they stand for twice as many steps as before, of which T are kept in place of the others.
        doublings: How often that is done, at most.
    """
    ensembles, rows, powers = Walkers.of(target, rngs), np.arange(len(pool)), np.ones(len(pool))
    z = tempering.starts(target, pool, walkers, ensembles.warmed, rngs, power=1.0, level_steps=_LEVEL)
    z = ensembles.warmed(z, powers, warm_up, rows)[-1]
    path, accepted = ensembles.moved(z, powers, steps, rows)
    for doubling in range(1, doublings + 1):
        rows, every = unsettled(path.swapaxes(0, 1)), 2**doubling
        if len(rows) == 0:
            break
        longer, accepted[rows] = ensembles.moved(path[-1, rows], powers[rows], every * steps, rows)
        path[:, rows] = longer[every - 1 :: every]
    return path.swapaxes(0, 1), accepted

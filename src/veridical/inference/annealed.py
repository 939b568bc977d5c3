r"""Annealed draws of numbers whose prior is standard normal and whose likelihood has a gradient, row by row.

The target of a row is :math:`N(u; 0, I) \, L(u)`. A population of particles starts in the prior; a power b of
L rises from 0 to 1 as far as the weights :math:`L^{\Delta b}` keep a share of the effective size, by default
half; particles are resampled and moved by Hamiltonian Monte Carlo at the new power, with the spread of the
particles as scales of each coordinate and a step length brought to an acceptance of 0.75 row by row. A target
that is a thin sheet wants the course `THOROUGH`: small rises, more and longer moves.

Everything random comes from a generator of each row: a row depends neither on the others nor on their number.
Independent populations for one target tell by R-hat whether they have found the same.

References:
    | Sequential Monte Carlo samplers (Del Moral, Doucet and Jasra, 2006)
    | MCMC using Hamiltonian dynamics (Neal, 2011)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from veridical.errors import DataError
from veridical.inference.weighted import resampled
from veridical.tasks.base import Array

Gradient = Callable[[Array, Array], tuple[Array, Array]]

ACCEPTED, LEARNING = 0.75, 0.7  # share of moves that steps are brought to, and how fast
SCALES = (0.02, 1.0)  # of a coordinate, least and most
ASTRAY = 1e3  # farther than this no path that is accepted goes
LEAST = 1e-12  # rise of a power
FIRST = 0.4  # leap in units of those


@dataclass(frozen=True)
class Course:
    """How slowly populations go from the prior to the target.

    Attributes:
        kept: Share of the effective size that a rise of the power keeps.
        moves: Moves at each power.
        final: Further ones in the end.
        leaps: Leaps of a move.
    """

    kept: float = 0.5
    moves: int = 2
    final: int = 4
    leaps: int = 5


QUICK, THOROUGH = Course(), Course(kept=0.85, moves=4, final=8, leaps=8)


@dataclass
class Particles:
    """Populations at their powers.

    Attributes:
        u: Where they stand, shape (R, P, K).
        log_l: Their log likelihoods, shape (R, P).
        slope: Gradients of these, shape (R, P, K).
        leap: Length of a leap of each row, shape (R,).
    """

    u: Array
    log_l: Array
    slope: Array
    leap: Array


def sample(
    likelihood: Gradient,
    numbers: int,
    particles: int,
    rngs: Sequence[np.random.Generator],
    course: Course = QUICK,
) -> Array:
    """Returns populations u (R, P, K).

    Arguments:
        likelihood: Log likelihoods (B,) of u (B, K), each of the row with its number (B,), and their
            gradients (B, K).
        numbers: K.
        particles: P.
        rngs: Decide all, one for each row.
        course: How slowly they go.

    Raises:
        DataError: If all members of a population begin where there is no density.
    """
    u = np.stack([rng.standard_normal((particles, numbers)) for rng in rngs])
    state = Particles(u, *_evaluated(likelihood, u, np.arange(len(u))), np.full(len(u), FIRST))
    if (lost := ~np.isfinite(state.log_l).any(axis=1)).any():
        raise DataError(
            f"x: {int(lost.sum())} of {len(u)} populations find no place of any density to start from; leave "
            "out observations that no error explains."
        )
    powers, rows = np.zeros(len(u)), np.arange(len(u))
    while len(rows):
        rises = _rises(state.log_l[rows], 1 - powers[rows], course.kept)
        for row, rise in zip(rows.tolist(), rises.tolist(), strict=True):
            weights = np.exp(rise * (state.log_l[row] - state.log_l[row].max()))
            powers[row] = min(1.0, powers[row] + max(rise, LEAST))
            picked = resampled(weights, particles, rngs[row])
            for part in (state.u, state.log_l, state.slope):
                part[row] = part[row][picked]
        last = powers[rows] >= 1
        for own, moves in ((rows[~last], course.moves), (rows[last], course.moves + course.final)):
            for _ in range(moves if len(own) else 0):
                _move(likelihood, state, powers, own, rngs, course.leaps)
        rows = rows[~last]
    return state.u


def _rises(log_l: Array, most: Array, kept: float) -> Array:
    """The largest powers (R,), at most `most`, at which weights of log_l (R, P) keep their share."""
    shifted = log_l - log_l.max(axis=1, keepdims=True)
    size = kept * np.isfinite(shifted).sum(axis=1)

    def enough(power: Array) -> Array:
        weights = np.exp(power[:, None] * shifted)
        return np.asarray(weights.sum(axis=1) ** 2 >= size * (weights**2).sum(axis=1))

    low, high, whole = np.zeros_like(most), most, enough(most)
    for _ in range(40):
        middle = 0.5 * (low + high)
        good = enough(middle)
        low, high = np.where(good, middle, low), np.where(good, high, middle)
    return np.where(whole, most, low)


def _evaluated(likelihood: Gradient, u: Array, rows: Array) -> tuple[Array, Array]:
    """Log likelihoods (R, P) and gradients (R, P, K) of u (R, P, K); -inf, without slope, where undefined."""
    flat = u.reshape(-1, u.shape[-1])
    log_l, slope = likelihood(flat, np.repeat(rows, u.shape[1]))
    good = np.isfinite(log_l) & np.isfinite(slope).all(axis=1)
    log_l, slope = np.where(good, log_l, -np.inf), np.where(good[:, None], slope, 0.0)
    return log_l.reshape(u.shape[:2]), slope.reshape(u.shape)


def _move(
    likelihood: Gradient,
    state: Particles,
    powers: Array,
    rows: Array,
    rngs: Sequence[np.random.Generator],
    leaps: int,
) -> None:
    """Moves the particles of some rows once."""
    u, log_l, slope = state.u[rows], state.log_l[rows], state.slope[rows]
    power = powers[rows][:, None, None]
    scale = np.clip(u.std(axis=1, keepdims=True), *SCALES)
    momentum = np.stack([rngs[row].standard_normal(u.shape[1:]) for row in rows])
    length = np.stack([rngs[row].uniform(0.8, 1.2, (u.shape[1], 1)) for row in rows])
    leap = state.leap[rows][:, None, None] * length * scale
    before = _energy(u, log_l, momentum, power)
    at, log_at, push = u, log_l, slope
    momentum = momentum + 0.5 * leap * (power * push - at)
    for step in range(leaps):
        at = np.clip(at + leap * momentum, -ASTRAY, ASTRAY)
        log_at, push = _evaluated(likelihood, at, rows)
        momentum = momentum + (0.5 if step == leaps - 1 else 1.0) * leap * (power * push - at)
    gain = _energy(at, log_at, momentum, power) - before
    chance = np.stack([rngs[row].random(u.shape[1]) for row in rows])
    good = np.log(chance) < np.where(np.isnan(gain), -np.inf, gain)
    state.u[rows] = np.where(good[..., None], at, u)
    state.log_l[rows], state.slope[rows] = (
        np.where(good, log_at, log_l),
        np.where(good[..., None], push, slope),
    )
    state.leap[rows] *= np.exp(LEARNING * (good.mean(axis=1) - ACCEPTED))


def _energy(u: Array, log_l: Array, momentum: Array, power: Array) -> Array:
    """The logarithm of the joint density of places and momenta, (R, P)."""
    with np.errstate(invalid="ignore", over="ignore"):
        return power[..., 0] * log_l - 0.5 * (u**2 + momentum**2).sum(axis=-1)

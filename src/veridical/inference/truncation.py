r"""The prior truncated to where one answer puts mass, as rounds of simulations sample it.

With an answer q to an observation :math:`x_o`, its region is
:math:`\{\theta : \log q(\theta \mid x_o) > \tau\}`, where :math:`\tau` is the :math:`\epsilon`-quantile of
log q over own draws, so that all but the share :math:`\epsilon` of the answer lies in it. The next
simulations are made at

.. math:: p_{r+1}(\theta) \propto p(\theta) \prod_{s \le r} 1[\log q_s(\theta \mid x_o) > \tau_s] .

Regions are intersected, so that inside the newest one the rows of every round follow the prior: they may be
pooled without weights. The share of the pool that lies in a new region tells its prior mass.

Where the region holds more than `ENOUGH` of the prior, rows come from the prior by rejection, which is exact.
Elsewhere they come by Markov chains in unconstrained coordinates, a few rows of a walker. Walkers start from
draws of q and move by differential evolution between two halves; every tenth move jumps a whole difference
(between modes). Importance resampling from q starves there: some tens of draws in thousands count.

References:
    | Truncated proposals for scalable and hassle-free simulation-based inference
    | (Deistler, Goncalves and Macke, 2022), https://arxiv.org/abs/2210.04815
    | A Markov Chain Monte Carlo version of the genetic algorithm Differential Evolution (ter Braak, 2006)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from veridical.errors import ConvergenceError
from veridical.networks.transforms import ParameterTransform
from veridical.tasks.base import Array, Prior

ENOUGH = 0.01  # of the prior, from which on rejection is as cheap as chains
PILOT = 20_000  # prior draws that tell which; also drawn at a time
MOVES = 150  # of each walker before its first row; 60 do for one mode, several take more
BETWEEN = 30  # moves between two rows of a walker
LEAST_WALKERS = 200  # whose differences span the region, however few rows are wanted
MOST_WALKERS = 2000
_TARGET = 0.25  # acceptance that the length of moves is brought to, in the first half of those before
_JITTER = 1e-3  # of a standard deviation of the starts


@dataclass(frozen=True)
class Region:
    """Where an answer to one observation has a density above a threshold.

    Attributes:
        log_q: Its log density, theta (N, D) to (N,).
        threshold: The threshold, tau.
    """

    log_q: Callable[[Array], Array]
    threshold: float

    def holds(self, theta: Array) -> Array:
        """Whether theta (N, D) lies in it, shape (N,)."""
        return np.asarray(self.log_q(theta) > self.threshold)


def holds(regions: Sequence[Region], theta: Array) -> Array:
    """Whether theta (N, D) lies in all regions, shape (N,); the last one is asked first."""
    found = np.ones(len(theta), bool)
    for region in reversed(regions):
        if not found.any():
            break
        found[found] = region.holds(theta[found])
    return found


@dataclass(frozen=True)
class Within:
    """A prior whose density is zero outside of regions; its draws are still those of the whole."""

    prior: Prior
    regions: Sequence[Region]

    def sample(self, rng: np.random.Generator, n: int) -> Array:
        """Returns n draws of the whole prior, shape (n, D)."""
        return self.prior.sample(rng, n)

    def log_prob(self, theta: Array) -> Array:
        """Returns log densities (N,) of theta (N, D), not normalised to the regions."""
        log_p = np.array(self.prior.log_prob(theta))
        inside = np.isfinite(log_p)
        inside[inside] = holds(self.regions, theta[inside])
        return np.where(inside, log_p, -np.inf)


class Proposed(NamedTuple):
    """Rows of the truncated prior: `theta` (N, D), the share of `acceptance`, and whether by `chains`."""

    theta: Array
    acceptance: float
    chains: bool


@dataclass(frozen=True)
class TruncatedPrior:
    """A prior cut to the intersection of regions.

    Attributes:
        prior: The prior.
        transform: Removes the bounds and constraints of its parameters.
        regions: The regions, the newest last.
    """

    prior: Prior
    transform: ParameterTransform
    regions: Sequence[Region]

    def sample(self, n: int, draws: Array, rng: np.random.Generator) -> Proposed:
        """Returns n rows, by rejection where that is cheap, else by chains.

        Arguments:
            n: Rows.
            draws: Of the newest answer (S, D), from which chains start.
            rng: Decides all.

        Raises:
            ConvergenceError: If none of the draws lies in the regions.
        """
        pilot = self._of_prior(rng)
        if len(pilot) <= ENOUGH * PILOT:
            return self.by_chains(n, draws, rng)
        kept, tried = [pilot], PILOT
        while sum(map(len, kept)) < n:
            kept.append(self._of_prior(rng))
            tried += PILOT
        theta = np.concatenate(kept)
        return Proposed(theta[:n], len(theta) / tried, chains=False)

    def _of_prior(self, rng: np.random.Generator) -> Array:
        theta = self.prior.sample(rng, PILOT)
        return theta[holds(self.regions, theta)]

    def by_chains(self, n: int, draws: Array, rng: np.random.Generator) -> Proposed:
        """Returns n rows by Markov chains, nearly independent; see `sample`."""
        starts = draws[holds(self.regions, draws)]
        if not len(starts):
            raise ConvergenceError(
                f"regions: none of {len(draws)} draws of the newest answer lies in those of all rounds; the "
                "answer contradicts earlier ones. Give the rounds more rows, or a smaller epsilon."
            )
        walkers = min(max(n, LEAST_WALKERS), MOST_WALKERS)
        order = np.concatenate([rng.permutation(len(starts)) for _ in range(-(-walkers // len(starts)))])
        theta = starts[order[:walkers]]
        space = ParameterTransform.fit(theta, self.transform.bounds, self.transform.support)
        z, acceptance = self._moved(space, space.forward(theta)[0], -(-n // walkers), rng)
        return Proposed(space.inverse(z)[:n], acceptance, chains=True)

    def _moved(
        self, space: ParameterTransform, z: Array, times: int, rng: np.random.Generator
    ) -> tuple[Array, float]:
        """Moves walkers z (W, K); returns where they are at several times, and the acceptance by then."""
        log_p = self._log_prior(space, z)
        halves = np.array_split(rng.permutation(len(z)), 2)
        length, accepted, rows = 2.38 / np.sqrt(2 * z.shape[1]), [], []
        for move in range(MOVES + (times - 1) * BETWEEN):
            whole = move % 10 == 9
            for own, other in (halves, halves[::-1]):
                far = np.ones((len(own), 1)) if whole else length * rng.uniform(0.4, 1.2, (len(own), 1))
                one = rng.integers(len(other), size=len(own))
                two = (one + rng.integers(1, len(other), size=len(own))) % len(other)
                step = far * (z[other[one]] - z[other[two]])
                tried = z[own] + step + _JITTER * rng.standard_normal(step.shape)
                log_p_tried = self._log_prior(space, tried)
                good = np.log(rng.uniform(size=len(own))) < log_p_tried - log_p[own]
                good[good] = holds(self.regions, space.inverse(tried[good]))
                z[own[good]], log_p[own[good]] = tried[good], log_p_tried[good]
                if whole:
                    continue
                if move < MOVES // 2:
                    length *= np.exp(0.2 * (good.mean() - _TARGET))
                else:
                    accepted.append(good.mean())
            if move + 1 >= MOVES and (move + 1 - MOVES) % BETWEEN == 0:
                rows.append(z.copy())
        return np.concatenate(rows), float(np.mean(accepted))

    def _log_prior(self, space: ParameterTransform, z: Array) -> Array:
        """The log prior density of z (W, K) in the coordinates of the chains, shape (W,)."""
        theta = space.inverse(z)
        with np.errstate(divide="ignore", invalid="ignore"):
            log_p = self.prior.log_prob(theta) - space.forward(theta)[1]
        return np.where(np.isfinite(log_p), log_p, -np.inf)


def prior_mass(shares: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """Returns the prior mass of nested regions and its standard error.

    Arguments:
        shares: For each region, how many rows of the prior cut to the one before lie in it, and of how many;
            none counts as a half.
    """
    parts = [(max(inside, 0.5) / rows, rows) for inside, rows in shares]
    mass = float(np.prod([part for part, _ in parts]))
    return mass, mass * float(np.sqrt(sum((1 - part) / (part * rows) for part, rows in parts)))

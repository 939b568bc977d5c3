"""Jets as sets of constituents: share of the transverse momentum, rapidity and azimuth around the centre."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from veridical.errors import TaskError
from veridical.tasks.base import Array, Dimension
from veridical.tasks.biased_classes import BiasedClasses

FEATURES = ("z", "y", "phi")
LEVELS = ("parton", "hadron")


class Constituents(NamedTuple):
    """Parts of n jets, side by side.

    Attributes:
        jet: Number of the jet, rising, shape (P,).
        pt: Transverse momentum in GeV, shape (P,).
        at: Rapidity and azimuth around the jet's direction, shape (P, 2).
    """

    jet: Array
    pt: Array
    at: Array


def jet_dimensions(particles: int) -> tuple[Dimension, Dimension]:
    """Returns the axes of jets with at most so many constituents."""
    return (
        Dimension("particle", tuple(range(particles)), kind="exchangeable", missing=True),
        Dimension("feature", FEATURES, kind="vector"),
    )


def as_sets(parts: Constituents, n: int, particles: int) -> Array:
    """Returns n jets as sets (n, particles, 3): shares of what is kept, and where it lies around its centre.

    Constituents come hardest first; entries behind the last are NaN, and so is a jet without any.
    """
    order = np.lexsort((-parts.pt, parts.jet))
    jet, pt, at = parts.jet[order], parts.pt[order], parts.at[order]
    place = np.arange(len(jet)) - np.searchsorted(jet, jet)
    kept = place < particles
    jet, pt, at, place = jet[kept], pt[kept], at[kept], place[kept]
    total = np.bincount(jet, pt, n)
    share = pt / total[jet]
    centre = np.stack([np.bincount(jet, share * at[:, i], n) for i in (0, 1)], axis=1)
    sets = np.full((n, particles, len(FEATURES)), np.nan)
    sets[jet, place, 0] = share
    sets[jet, place, 1:] = at - centre[jet]
    return sets


class JetClasses(BiasedClasses):
    """Quark and gluon jets as sets of constituents, by nature's tune and by others.

    Attributes:
        level: What a jet is made of: `hadron`, or `parton`, which costs less and says less.
        tune: That of nature.
        tunes: Those of the simulators.
    """

    classes = ("quark", "gluon")
    level: str
    tune: Any
    tunes: Sequence[Any]

    def require_level(self, level: str) -> str:
        """Returns the level, if jets are made of it; raises TaskError otherwise."""
        if level not in LEVELS:
            raise TaskError(f"task {self.name}: expected a level of {', '.join(LEVELS)}, got {level!r}.")
        return level

    def draw(self, n: int, rng: np.random.Generator, cls: str) -> Array:
        """Returns n of nature's jets of one class, shape (n, particles, 3)."""
        self.require_class(cls)
        return self._jets(n, rng, cls, self.tune)

    def draw_simulated(self, n: int, rng: np.random.Generator, cls: str, simulator: int) -> Array:
        """Returns n jets of one class of a tune, shape (n, particles, 3)."""
        self.require_class(cls, simulator)
        return self._jets(n, rng, cls, self.tunes[simulator])

    def _jets(self, n: int, rng: np.random.Generator, cls: str, tune: Any) -> Array:
        raise NotImplementedError(f"{type(self).__name__} has no _jets().")

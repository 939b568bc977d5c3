"""Jets as sets of constituents: share of the transverse momentum, rapidity and azimuth around the centre."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from veridical.tasks.base import Array, Dimension

FEATURES = ("z", "y", "phi")


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

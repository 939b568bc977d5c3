"""Fixed functions in place of networks, on the cells of the Gaussian classes: toys cost milliseconds."""

from __future__ import annotations

import numpy as np
from scipy import stats

from veridical.inference.ratio_weights import Events
from veridical.tasks.gaussian_classes import GaussianClasses

CELL = 0.005


def in_span(x: np.ndarray) -> np.ndarray:
    """Five functions that span 0.2 x."""
    return np.stack(
        [np.ones_like(x), 0.2 * x + 0.3 * np.sin(x), 0.2 * x - 0.3 * np.sin(x), x**2, np.tanh(x)], 1
    )


def line(x: np.ndarray) -> np.ndarray:
    """Three functions that span x and a curve."""
    return np.stack([np.ones_like(x), x, x**2 - 1], 1)


def out_of_span(x: np.ndarray) -> np.ndarray:
    """Three functions that do not span x."""
    return np.stack([np.ones_like(x), np.tanh(x), np.tanh(2 * x) ** 2], 1)


def many(x: np.ndarray) -> np.ndarray:
    """Eight functions that span x, more than are needed."""
    waves = [wave(k * x / 2) for k in range(1, 4) for wave in (np.sin, np.cos)]
    return np.stack([np.ones_like(x), 0.2 * x, *waves], 1)


BASES = {f.__name__: f for f in (in_span, line, out_of_span, many)}


def events(x: np.ndarray, basis: str = "in_span") -> Events:
    """The functions of a basis at events x (N, 1), distinct ones only."""
    distinct, counts = np.unique(x, return_counts=True)
    return Events.of(BASES[basis](distinct), counts)


def draw(rng: np.random.Generator, n: int, fraction: float, separation: float = 0.1) -> np.ndarray:
    """n events of which each is signal with probability `fraction`."""
    task = GaussianClasses(separation, CELL)
    first = rng.binomial(n, fraction)
    return np.concatenate([task.draw(first, rng, "signal"), task.draw(n - first, rng, "background")])


def pair(
    rng: np.random.Generator, n: int, m: int, basis: str = "in_span", separation: float = 0.1
) -> tuple[Events, Events]:
    """n events of the signal, m of the background."""
    signal, background = draw(rng, n, 1, separation), draw(rng, m, 0, separation)
    return events(signal, basis), events(background, basis)


def expected(n: float, fraction: float, basis: str = "in_span", separation: float = 0.1) -> Events:
    """All cells with the numbers of events that are expected there."""
    x = 0.02 * np.arange(-300, 301)
    edges = np.append(x - 0.01, 6.01)
    signal, background = (np.diff(stats.norm.cdf(edges, mean)) for mean in (separation, -separation))
    return Events.of(BASES[basis](x), n * (fraction * signal + (1 - fraction) * background))

"""Wrong simulators of a peak on a falling background in a plane of two masses, with exact log ratios.

The plane is made of cells and events fall on their centres: densities are exact sums, and fits take
milliseconds. Six templates of each class span all Gaussians and all log-bilinear spectra.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from veridical.inference.adapted import Objective, Templates

CELLS = 28
CENTRES = 90 + (np.arange(CELLS) + 0.5) * 70 / CELLS
T = (CENTRES - 125) / 15
T1, T2 = (axis.ravel() for axis in np.meshgrid(T, T, indexing="ij"))


def normalised(log_density: np.ndarray) -> np.ndarray:
    return log_density - np.logaddexp.reduce(log_density)


def peak(m1: float, m2: float, s1: float, s2: float, rho: float) -> np.ndarray:
    z1, z2 = ((125 + 15 * t - m) / s for t, m, s in ((T1, m1, s1), (T2, m2, s2)))
    return normalised(-0.5 * (z1**2 - 2 * rho * z1 * z2 + z2**2) / (1 - rho**2))


def spectrum(a: float, b: float, c: float) -> np.ndarray:
    return normalised(-a * T1 - b * T2 + c * T1 * T2)


SIGNAL, BACKGROUND = peak(127, 126, 13, 12.5, 0.08), spectrum(0.50, 0.50, 0.03)


@dataclass
class Plane:
    """Log densities of K templates of each class over all cells, shapes (cells, K)."""

    signal: np.ndarray
    background: np.ndarray
    target: tuple[np.ndarray, np.ndarray] = (SIGNAL, BACKGROUND)

    @classmethod
    def wrong(cls, rng: np.random.Generator, k: int = 6) -> Plane:
        """Templates of k simulators with shifted scales, widths and slopes."""
        peaks, spectra = [], []
        for _ in range(k):
            scale = 1 + 0.03 * rng.normal() + 0.015 * rng.normal(size=2)
            width = 12 * np.exp(0.15 * rng.normal() + 0.08 * rng.normal(size=2))
            peaks.append(peak(*(125 * scale), *width, 0.12 * rng.normal()))
            spectra.append(
                spectrum(*(np.array([0.55, 0.45]) + 0.12 * rng.normal(size=2)), 0.06 * rng.normal())
            )
        return cls(np.stack(peaks, 1), np.stack(spectra, 1))

    @property
    def log_pool(self) -> np.ndarray:
        both = np.concatenate([self.signal, self.background], 1)
        return np.logaddexp.reduce(both, axis=1) - np.log(both.shape[1])

    def templates(self, counts: np.ndarray) -> Templates:
        """Their log ratios to the pool at the cells that hold events."""
        kept, pool = counts > 0, self.log_pool[:, None]
        return Templates.of((self.signal - pool)[kept], (self.background - pool)[kept], counts[kept])

    def mixture(self, kappa: float) -> np.ndarray:
        return kappa * np.exp(self.target[0]) + (1 - kappa) * np.exp(self.target[1])

    def counts(self, rng: np.random.Generator, n: int, kappa: float | None = None) -> np.ndarray:
        """Events of the target with a fraction of signal, or of the pool, in each cell."""
        p = np.exp(self.log_pool) if kappa is None else self.mixture(kappa)
        return rng.multinomial(n, p / p.sum()).astype(float)

    def objective(
        self,
        rng: np.random.Generator,
        n: int = 11_000,
        kappa: float = 1 / 11,
        times: int = 4,
        ridge: float = 1.0,
    ) -> Objective:
        """A toy: n events, with `times` as many of the reference and of the penalty sample."""
        samples = [self.counts(rng, n, kappa), *(self.counts(rng, times * n) for _ in range(2))]
        return Objective(*map(self.templates, samples), ridge=(ridge, ridge))

    def expected(self, n: float, kappa: float, times: float = 4, ridge: float = 1.0) -> Objective:
        """The same with all cells holding the numbers of events that are expected there."""
        pool = self.templates(times * n * np.exp(self.log_pool))
        return Objective(self.templates(n * self.mixture(kappa)), pool, pool, ridge=(ridge, ridge))

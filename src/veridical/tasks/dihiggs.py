r"""Two Higgs bosons that decay to four jets, a background, and detectors with a wrong energy scale.

A stand-in for full simulations. Signal: the transverse momentum of a boson is gamma distributed (shape 3,
scale 55 GeV), the other flies back to back with a momentum that differs by 12 %; each of mass 125 GeV
decays to two b quarks, isotropic in its rest frame. Background: three jets with transverse momenta of
density :math:`p^{-\gamma}` above 28 GeV at random azimuths, and a fourth that balances them.

The detector takes a neutrino's share of a fifth of the jets, smears their momenta by :math:`\sigma / p = r
\, (0.8^2 / p + 0.05^2)^{1/2}`, and corrects the energy scale of what it measures, q, by

.. math:: p = q \sqrt{(a - b |\eta|)^2 / q + c} .

Nature has a = 2.5 GeV^(1/2), b = 0.15 and c = 1, and q is such that its jets are then right; r = 1 and
gamma = 4.2. Simulators draw a ~ N(2.5, 0.35), b ~ N(0.15, 0.1), c ~ N(1, 0.04), r ~ N(1, 0.05) and gamma ~
N(4.2, 0.15).

Events have four jets above 30 GeV with :math:`|\eta| < 2.5`, of mass 4.8 GeV and 8 % of their momentum. Of
the three ways to pair them counts the one whose masses lie closest to 125 GeV; m_1 is the mass of the pair
with the larger transverse momentum. Both lie between `low` and `high`. No density is known.

References:
    | Many Wrongs Make a Right: Leveraging Biased Simulations Towards Unbiased Parameter Inference
    | (Alvarez, Benevedes, Szewc, Thaler, 2026), whose simulated events these stand in for
    | https://arxiv.org/abs/2604.02219
    | DELPHES 3 (de Favereau et al., 2014), the formula of the energy scale
    | https://arxiv.org/abs/1307.6346
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from veridical.errors import TaskError
from veridical.tasks.base import Array, Dimension
from veridical.tasks.biased_classes import BiasedClasses, accepted

HIGGS, B_QUARK = 125.0, 4.8
LEAST_PT, FARTHEST = 30.0, 2.5
_JET_MASS = 0.08
_PAIRINGS = (((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2)))
_SPREAD = {"a": 0.35, "b": 0.1, "c": 0.04, "resolution": 0.05, "slope": 0.15}


@dataclass(frozen=True)
class Detector:
    """The energy scale, the resolution r and the slope gamma of a simulator, or of nature."""

    a: float = 2.5
    b: float = 0.15
    c: float = 1.0
    resolution: float = 1.0
    slope: float = 4.2

    def corrected(self, raw: Array, eta: Array) -> Array:
        """Returns transverse momenta in GeV from those that are measured, of their shape."""
        return np.asarray(np.sqrt((self.a - self.b * np.abs(eta)) ** 2 * raw + self.c * raw**2))

    def raw(self, pt: Array, eta: Array) -> Array:
        """Returns what is measured where the correction gives pt, of its shape."""
        square = (self.a - self.b * np.abs(eta)) ** 2
        return np.asarray((np.sqrt(square**2 + 4 * self.c * pt**2) - square) / (2 * self.c))


NATURE = Detector()


class Jets(NamedTuple):
    """Transverse momenta in GeV, pseudorapidities and azimuths of four jets of n events, (n, 4) each."""

    pt: Array
    eta: Array
    phi: Array


class DiHiggs(BiasedClasses):
    """Signal and background events, the masses of two pairs of jets in GeV.

    Arguments:
        low: Least mass of either pair, in GeV.
        high: Largest mass of either pair, in GeV.
        simulators: K, the number of detectors beside nature's.
        family: Which draw of detectors these are.
    """

    name = "dihiggs"
    classes = ("signal", "background")
    dimensions = (Dimension("mass", ("m_1", "m_2"), "GeV", kind="vector"),)
    x_unit = "GeV"

    def __init__(self, low: float = 110.0, high: float = 140.0, simulators: int = 6, family: int = 0) -> None:
        self.require_family(simulators, family)
        if not 0 <= low < high:
            raise TaskError(f"task {self.name}: expected 0 <= low < high in GeV, got {low} and {high}.")
        self.low, self.high = low, high
        self.detectors = tuple(self._detector(k) for k in range(simulators))

    def draw(self, n: int, rng: np.random.Generator, cls: str) -> Array:
        """Returns n of nature's events of one class in the window, shape (n, 2)."""
        self.require_class(cls)
        return self._in_window(n, rng, cls, NATURE)

    def draw_simulated(self, n: int, rng: np.random.Generator, cls: str, simulator: int) -> Array:
        """Returns n events of one class in the window of a simulator, shape (n, 2)."""
        self.require_class(cls, simulator)
        return self._in_window(n, rng, cls, self.detectors[simulator])

    def selected(self, n: int, rng: np.random.Generator, cls: str, simulator: int | None = None) -> Array:
        """Returns the masses of those of n events with four jets, in the window or not, at most (n, 2)."""
        self.require_class(cls, simulator)
        return events(n, rng, cls, NATURE if simulator is None else self.detectors[simulator])

    def _in_window(self, n: int, rng: np.random.Generator, cls: str, detector: Detector) -> Array:
        def propose(size: int) -> Array:
            x = events(size, rng, cls, detector)
            return x[((x >= self.low) & (x <= self.high)).all(axis=1)]

        return accepted(self.name, n, propose)

    def _detector(self, k: int) -> Detector:
        g = self.generator(k).standard_normal(len(_SPREAD))
        drawn = {
            name: getattr(NATURE, name) + sd * z for (name, sd), z in zip(_SPREAD.items(), g, strict=True)
        }
        drawn["resolution"], drawn["slope"] = max(0.5, drawn["resolution"]), max(2.0, drawn["slope"])
        return Detector(**{name: float(value) for name, value in drawn.items()})


def events(n: int, rng: np.random.Generator, cls: str, detector: Detector) -> Array:
    """Returns the masses in GeV of those of n events with four jets that a detector sees, at most (n, 2)."""
    true = signal_jets(n, rng) if cls == DiHiggs.classes[0] else background_jets(n, rng, detector.slope)
    pt = seen(true, rng, detector)
    kept = ((pt > LEAST_PT) & (np.abs(true.eta) < FARTHEST)).all(axis=1)
    return masses(Jets(pt[kept], true.eta[kept], true.phi[kept]))


def signal_jets(n: int, rng: np.random.Generator) -> Jets:
    """Returns the four b quarks of n pairs of bosons; the first two come from the first one."""
    pt, phi = rng.gamma(3.0, 55.0, n), rng.uniform(-np.pi, np.pi, n)
    other = pt * np.abs(1 + 0.12 * rng.standard_normal(n))
    middle, apart = 0.9 * rng.standard_normal(n), 0.8 * rng.standard_normal(n)
    first = decay(pt, middle + apart, phi, rng)
    second = decay(other, middle - apart, phi + np.pi, rng)
    return Jets(*(np.concatenate(pair, axis=1) for pair in zip(first, second, strict=True)))


def decay(pt: Array, rapidity: Array, phi: Array, rng: np.random.Generator) -> Jets:
    """Returns two b quarks of each of n bosons, isotropic where the boson is at rest, shapes (n, 2)."""
    across = np.hypot(HIGGS, pt)
    energy = across * np.cosh(rapidity)
    momentum = np.stack([pt * np.cos(phi), pt * np.sin(phi), across * np.sinh(rapidity)], axis=1)
    cosine, turn = rng.uniform(-1, 1, len(pt)), rng.uniform(-np.pi, np.pi, len(pt))
    sine = np.sqrt(1 - cosine**2)
    at_rest = np.stack([sine * np.cos(turn), sine * np.sin(turn), cosine], axis=1)
    at_rest *= np.sqrt(0.25 * HIGGS**2 - B_QUARK**2)
    along = (momentum * at_rest).sum(axis=1) / (energy + HIGGS)
    quarks = np.stack(
        [sign * at_rest + momentum * ((0.5 * HIGGS + sign * along) / HIGGS)[:, None] for sign in (1, -1)],
        axis=1,
    )
    return _jets(quarks)


def background_jets(n: int, rng: np.random.Generator, slope: float) -> Jets:
    """Returns three jets of n events from a power law, and a fourth that balances them."""
    pt = 28.0 * (1 - rng.random((n, 3))) ** (-1 / (slope - 1))
    phi = rng.uniform(-np.pi, np.pi, (n, 3))
    eta = 1.1 * rng.standard_normal((n, 1)) + 0.9 * rng.standard_normal((n, 4))
    sides = [-(pt * side(phi)).sum(axis=1) for side in (np.cos, np.sin)]
    x, y = (side + 12.0 * rng.standard_normal(n) for side in sides)
    return Jets(
        np.column_stack([pt, np.maximum(np.hypot(x, y), 1e-3)]), eta, np.column_stack([phi, np.arctan2(y, x)])
    )


def seen(true: Jets, rng: np.random.Generator, detector: Detector) -> Array:
    """Returns the transverse momenta in GeV that a detector gives to jets, (n, 4)."""
    shape = true.pt.shape
    loss = np.where(rng.random(shape) < 0.2, 0.6 * rng.beta(1.2, 3.0, shape), 0.0)
    pt = true.pt * (1 - loss)
    spread = detector.resolution * np.sqrt(0.8**2 / pt + 0.05**2)
    pt = pt * np.maximum(1 + spread * rng.standard_normal(shape), 0.01)
    return detector.corrected(NATURE.raw(pt, true.eta), true.eta)


def masses(jets: Jets) -> Array:
    """Returns the masses in GeV of the two pairs of jets that are closest to two bosons, shape (n, 2)."""
    momenta = np.stack(
        [jets.pt * np.cos(jets.phi), jets.pt * np.sin(jets.phi), jets.pt * np.sinh(jets.eta)], axis=-1
    )
    energy = np.sqrt((momenta**2).sum(axis=-1) + (B_QUARK + _JET_MASS * jets.pt) ** 2)
    mass, across = (np.empty((len(energy), 3, 2)) for _ in range(2))
    for i, pairing in enumerate(_PAIRINGS):
        for j, pair in enumerate(pairing):
            total = momenta[:, pair].sum(axis=1)
            square = energy[:, pair].sum(axis=1) ** 2 - (total**2).sum(axis=1)
            mass[:, i, j] = np.sqrt(np.maximum(square, 0))
            across[:, i, j] = np.hypot(total[:, 0], total[:, 1])
    rows = np.arange(len(mass))
    best = ((mass - HIGGS) ** 2).sum(axis=2).argmin(axis=1)
    mass, across = mass[rows, best], across[rows, best]
    return np.where((across[:, 0] >= across[:, 1])[:, None], mass, mass[:, ::-1])


def _jets(momenta: Array) -> Jets:
    """Momenta (n, J, 3) as jets (n, J)."""
    pt = np.maximum(np.hypot(momenta[..., 0], momenta[..., 1]), 1e-9)
    return Jets(pt, np.arcsinh(momenta[..., 2] / pt), np.arctan2(momenta[..., 1], momenta[..., 0]))

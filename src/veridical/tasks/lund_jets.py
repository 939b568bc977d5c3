r"""Quark and gluon jets: soft emissions at leading logarithms in the Lund plane, as hadrons or as partons.

A jet of transverse momentum p (500 to 550 GeV) and radius R = 0.4 emits gluons of momentum share z at
angles :math:`\theta`, with :math:`k_t = z \theta p` above a cut-off Q. With :math:`l = \ln k_t / Q` and
:math:`\eta = \ln R / \theta`, the colour factor C (4/3 of a quark, 3 of a gluon) and a coupling at one
loop,

.. math:: dN = \frac{2 C}{\pi} \alpha_s(k_t) \, dl \, d\eta, \qquad
    0 < l, \; 0 < \eta, \; l + \eta < L = \ln \frac{p R}{Q}, \\
    \alpha_s(k_t) = \frac{1}{2 \beta_0 (l + \lambda)}, \qquad \beta_0 = \frac{33 - 2 n_f}{12 \pi}, \; n_f = 5,

where :math:`\lambda = \ln Q / \Lambda` follows from alpha_s at the mass of the Z. Emissions are
independent, and their number is Poisson with the mean

.. math:: \frac{C}{\pi \beta_0} \Big((L + \lambda) \ln (1 + L / \lambda) - L\Big) .

What they leave is the core, in the jet's direction. Core and emissions are the jet at the level `parton`.

At the level `hadron` each of them breaks into hadrons, more of them in a core of gluons and at large k_t.
They share its momentum by gamma variates and scatter around it with a transverse momentum (`smearing`),
within the angle of the emission: what is softer and wider belongs to the whole jet. The underlying event
adds particles; those below 0.2 GeV and far away are lost. How many hadrons there are is made up, so that
jets look like those of a full simulation. Beside one (Pythia 8.3, without multiparton interactions; its
numbers in brackets), quark and gluon jets have on average 31 and 52 constituents (31 and 51), masses of 34
and 47 GeV (31 and 46), and shares of 0.48 and 0.28 of their transverse momentum within 0.02 of the axis
(0.57 and 0.30). The number of constituents tells them apart with an area under the curve of 0.84 (0.85).

An event is a set of constituents: share of the jet's transverse momentum, and rapidity and azimuth around
its centre, hardest first, NaN behind the last. No density is known. Simulators differ in all settings of
the tune.

References:
    | The Lund Jet Plane (Dreyer, Salam, Soyez, 2018), https://arxiv.org/abs/1807.04758
    | Energy Flow Networks: Deep Sets for Particle Jets (Komiske, Metodiev, Thaler, 2018), for sets and cuts
    | https://arxiv.org/abs/1810.05165
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from veridical.errors import TaskError
from veridical.tasks.base import Array
from veridical.tasks.jet_sets import LEVELS, Constituents, JetClasses, as_sets, jet_dimensions

RADIUS, PT = 0.4, (500.0, 550.0)
COLOUR = {"quark": 4 / 3, "gluon": 3.0}
MASS_Z, BETA0 = 91.19, (33 - 2 * 5) / (12 * np.pi)
LEAST_PT, FARTHEST = 0.2, 1.1 * RADIUS
_SHARES, _JET_SPREAD = 0.8, 0.25
_CORE, _CORE_OF, _EMISSION, _RISE = 8.3, {"quark": 1.0, "gluon": 1.25}, 4.0, 0.35
_CORE_ANGLE, _UNDERLYING_PT = 0.02, 0.7


@dataclass(frozen=True)
class Tune:
    """What a simulator takes for true: see the arguments of `LundJets`."""

    alpha_s: float = 0.13
    cutoff: float = 1.0
    hadrons: float = 1.0
    smearing: float = 0.3
    underlying: float = 4.0

    @property
    def log_cutoff(self) -> float:
        """lambda, the logarithm of the cut-off over the scale at which the coupling diverges."""
        return float(1 / (2 * BETA0 * self.alpha_s) - np.log(MASS_Z / self.cutoff))


class LundJets(JetClasses):
    """Quark and gluon jets as sets of constituents.

    Arguments:
        level: What a jet is made of: `hadron`, or `parton`, which costs less and says less.
        alpha_s: The strong coupling at the mass of the Z.
        cutoff: Q, the least transverse momentum of an emission, where hadrons begin, in GeV.
        hadrons: Factor on the number of hadrons.
        smearing: Transverse momentum of hadrons around what they come from, in GeV.
        underlying: Mean number of particles of the underlying event.
        particles: Largest number of constituents; softer ones are lost.
        simulators: K, the number of tunes beside nature's, which the settings above are.
        family: Which draw of tunes these are.
    """

    name = "lund_jets"

    def __init__(
        self,
        level: str = "hadron",
        alpha_s: float = 0.13,
        cutoff: float = 1.0,
        hadrons: float = 1.0,
        smearing: float = 0.3,
        underlying: float = 4.0,
        particles: int = 128,
        simulators: int = 6,
        family: int = 0,
    ) -> None:
        self.require_family(simulators, family)
        self.level, self.tune = (
            self.require_level(level),
            Tune(alpha_s, cutoff, hadrons, smearing, underlying),
        )
        if not (min(alpha_s, cutoff, hadrons) > 0 and min(smearing, underlying) >= 0 and particles >= 1):
            raise TaskError(
                f"task {self.name}: expected positive alpha_s, cutoff, hadrons and particles, and "
                f"no negative smearing and underlying, got {self.tune} and {particles}."
            )
        if not 0.5 <= self.tune.log_cutoff <= 8 or cutoff > 50:
            raise TaskError(
                f"task {self.name}: the coupling {alpha_s:g} has to stay below 1.7 down to the cut-off "
                f"{cutoff:g} GeV, which has to be below 50; lower alpha_s or raise the cutoff."
            )
        self.dimensions = jet_dimensions(particles)
        self.tunes = tuple(self._tune(k) for k in range(simulators))

    def levels(self, n: int, rng: np.random.Generator, cls: str) -> dict[str, Array]:
        """Returns the same n of nature's jets at both levels, shape (n, particles, 3) each."""
        self.require_class(cls)
        return self._at(LEVELS, n, rng, cls, self.tune)

    def mean_emissions(self, cls: str, pt: Array) -> Array:
        """Returns mean numbers of emissions of jets of transverse momentum pt in GeV, of its shape."""
        at, reach = self.tune.log_cutoff, np.log(np.asarray(pt) * RADIUS / self.tune.cutoff)
        return np.asarray(COLOUR[cls] / (np.pi * BETA0) * ((reach + at) * np.log1p(reach / at) - reach))

    def _tune(self, k: int) -> Tune:
        g = np.clip(self.generator(k).standard_normal(5), -2, 2)
        widths = (0.05, 0.08, 0.1, 0.15, 0.3)
        values = [getattr(self.tune, name) for name in Tune.__dataclass_fields__]
        return Tune(*(float(value * np.exp(s * z)) for value, s, z in zip(values, widths, g, strict=True)))

    def _jets(self, n: int, rng: np.random.Generator, cls: str, tune: Tune) -> Array:
        return self._at((self.level,), n, rng, cls, tune)[self.level]

    def _at(
        self, levels: tuple[str, ...], n: int, rng: np.random.Generator, cls: str, tune: Tune
    ) -> dict[str, Array]:
        """Jets at one level or both; the random numbers of the partons come first."""
        pt = rng.uniform(*PT, n)
        partons, angle, hardness = shower(pt, rng, COLOUR[cls], tune)
        found = {}
        if "parton" in levels:
            found["parton"] = self._sets(partons, n)
        if "hadron" in levels:
            found["hadron"] = self._sets(fragments(partons, angle, hardness, n, rng, cls, tune), n)
        return found

    def _sets(self, parts: Constituents, n: int) -> Array:
        return as_sets(parts, n, len(self.dimensions[0].coordinates))


def shower(
    pt: Array, rng: np.random.Generator, colour: float, tune: Tune
) -> tuple[Constituents, Array, Array]:
    """Returns core and emissions of jets of pt (n,), their angles and their ln k_t / Q (P,), NaN of cores.

    Emissions are drawn where k_t and angle are independent, and those outside of the Lund plane dropped.
    """
    n, at = len(pt), tune.log_cutoff
    reach = np.log(pt * RADIUS / tune.cutoff)
    number = rng.poisson(colour / (np.pi * BETA0) * reach * np.log1p(reach / at))
    jet = np.repeat(np.arange(n), number)
    log_kt = at * np.expm1(rng.random(len(jet)) * np.log1p(reach / at)[jet])
    eta = rng.random(len(jet)) * reach[jet]
    azimuth = rng.uniform(-np.pi, np.pi, len(jet))
    kept = log_kt + eta < reach[jet]
    jet, log_kt, eta, azimuth = jet[kept], log_kt[kept], eta[kept], azimuth[kept]
    z, angle = np.exp(log_kt + eta - reach[jet]), RADIUS * np.exp(-eta)
    left = np.exp(np.bincount(jet, np.log1p(-np.minimum(z, 0.95)), n))
    total = left + np.bincount(jet, z, n)
    jets = np.concatenate([np.arange(n), jet])
    order = np.argsort(jets, kind="stable")
    shares = np.concatenate([left, z]) / total[jets]
    directions = angle[:, None] * np.stack([np.cos(azimuth), np.sin(azimuth)], axis=1)
    parts = Constituents(
        jets[order], (shares * pt[jets])[order], np.concatenate([np.zeros((n, 2)), directions])[order]
    )
    return (
        parts,
        np.concatenate([np.full(n, _CORE_ANGLE), angle])[order],
        np.concatenate([np.full(n, np.nan), log_kt])[order],
    )


def fragments(
    partons: Constituents,
    angle: Array,
    hardness: Array,
    n: int,
    rng: np.random.Generator,
    cls: str,
    tune: Tune,
) -> Constituents:
    """Returns the hadrons of n jets, with the underlying event."""
    of_jet = tune.hadrons * np.exp(_JET_SPREAD * rng.standard_normal(n) - 0.5 * _JET_SPREAD**2)
    mean = np.where(np.isnan(hardness), _CORE * _CORE_OF[cls], _EMISSION * (1 + _RISE * hardness))
    number = 1 + rng.poisson(mean * of_jet[partons.jet])
    parent = np.repeat(np.arange(len(number)), number)
    shares = rng.gamma(_SHARES, size=len(parent))
    pt = partons.pt[parent] * shares / np.bincount(parent, shares)[parent]
    width = np.minimum(tune.smearing / np.maximum(pt, 1e-6), angle[parent])
    at = partons.at[parent] + width[:, None] * rng.standard_normal((len(parent), 2))
    beside = np.repeat(np.arange(n), rng.poisson(tune.underlying, n))
    radius, turn = FARTHEST * np.sqrt(rng.random(len(beside))), rng.uniform(-np.pi, np.pi, len(beside))
    disc = radius[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    jet = np.concatenate([partons.jet[parent], beside])
    pt = np.concatenate([pt, rng.exponential(_UNDERLYING_PT, len(beside))])
    at = np.concatenate([at, disc])
    seen = (pt > LEAST_PT) & (np.hypot(*at.T) < FARTHEST)
    order = np.argsort(jet[seen], kind="stable")
    return Constituents(jet[seen][order], pt[seen][order], at[seen][order])

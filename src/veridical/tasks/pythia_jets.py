r"""Quark and gluon jets of Pythia 8: a Z boson that decays to neutrinos, and a jet, in proton collisions.

At 14 TeV the hardest anti-k_t jet of radius 0.4 counts where :math:`500 < p_T < 550` GeV and :math:`|y| <
1.7`. Quarks are up, down and strange. Hard processes start between 475 and 600 GeV, which loses a part of
the jets at the edges of the range and lets three times as many events pass as a wider one. Events are the
sets of constituents of `lund_jets`, made of hadrons or of the partons before them; no density is known.

Multiparton interactions are off unless `interactions` says otherwise: with them an event takes five times
as long, and jets change by a tenth at most. Simulators draw alpha_s from 0.120 to 0.145, the parameter b of
the Lund fragmentation function from 0.6 to 1.3 with a = 0.68 - 0.87 (b - 0.98), and the cut-off of the
shower from 0.4 to 1 GeV, uniformly; all else is nature's. The defaults are those of the Monash tune.

Pythia is an extra: `pip install 'veridical[hep]'`. Each call starts it anew, which takes half a second, so
that a block depends on its seed alone. A jet takes some 5 ms of a free core; `lund_jets` is a stand-in that
takes no package.

References:
    | A comprehensive guide to the physics and usage of PYTHIA 8.3 (Bierlich et al., 2022)
    | https://arxiv.org/abs/2203.11601
    | Tuning PYTHIA 8.1: the Monash 2013 Tune (Skands, Carrazza, Rojo, 2014)
    | https://arxiv.org/abs/1404.5630
    | Energy Flow Networks: Deep Sets for Particle Jets (Komiske, Metodiev, Thaler, 2018), the selection
    | https://arxiv.org/abs/1810.05165
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from veridical.errors import SimulationError, TaskError
from veridical.tasks.base import Array
from veridical.tasks.jet_sets import LEVELS, Constituents, JetClasses, as_sets, jet_dimensions

RADIUS, PT, FARTHEST = 0.4, (500.0, 550.0), 1.7
RANGES = {"alpha_s": (0.120, 0.145), "fragmentation": (0.6, 1.3), "cutoff": (0.4, 1.0)}
_HARD = (475.0, 600.0)
_OUTGOING, _GLUON, _LIGHT, _QUARKS, _HARD_FARTHEST = 23, 21, 3, 5, 1.85
_PROCESS = {"quark": "WeakBosonAndParton:qg2gmZq", "gluon": "WeakBosonAndParton:qqbar2gmZg"}
_SEEDS = 900_000_000  # Pythia takes no larger ones
Axis = tuple[float, float]  # rapidity and azimuth
_FEWEST = 0.01  # of the events, that have such a jet


@dataclass(frozen=True)
class Tune:
    """What a simulator takes for true: see the arguments of `PythiaJets`."""

    alpha_s: float = 0.1365
    fragmentation: float = 0.98
    cutoff: float = 0.5
    interactions: bool = False
    reconnection: bool = True

    @property
    def commands(self) -> tuple[str, ...]:
        """The settings of Pythia that are not its defaults, or may not be."""
        return (
            f"TimeShower:alphaSvalue = {self.alpha_s}",
            f"TimeShower:pTmin = {self.cutoff}",
            f"StringZ:bLund = {self.fragmentation}",
            f"StringZ:aLund = {0.68 - 0.87 * (self.fragmentation - 0.98)}",
            f"PartonLevel:MPI = {_switch(self.interactions)}",
            f"ColourReconnection:reconnect = {_switch(self.reconnection)}",
        )


class PythiaJets(JetClasses):
    """Quark and gluon jets as sets of constituents.

    Arguments:
        level: What a jet is made of: `hadron`, or `parton`, which costs less and says less.
        alpha_s: The coupling of the final-state shower at the mass of the Z.
        fragmentation: b of the Lund fragmentation function in GeV^-2; a follows it.
        cutoff: Least transverse momentum of an emission of the final-state shower, in GeV.
        interactions: Whether there are multiparton interactions.
        reconnection: Whether colours reconnect.
        particles: Largest number of constituents; softer ones are lost.
        simulators: K, the number of tunes beside nature's, which the settings above are.
        family: Which draw of tunes these are.
    """

    name = "pythia_jets"
    block_rows = 500

    def __init__(
        self,
        level: str = "hadron",
        alpha_s: float = 0.1365,
        fragmentation: float = 0.98,
        cutoff: float = 0.5,
        interactions: bool = False,
        reconnection: bool = True,
        particles: int = 128,
        simulators: int = 6,
        family: int = 0,
    ) -> None:
        self.require_family(simulators, family)
        limits = {"alpha_s": (0.06, 0.25), "fragmentation": (0.2, 1.7), "cutoff": (0.3, 2.0)}
        given = {"alpha_s": alpha_s, "fragmentation": fragmentation, "cutoff": cutoff}
        for name, (low, high) in limits.items():
            if not low <= given[name] <= high:
                raise TaskError(
                    f"task {self.name}: expected {name} from {low} to {high}, got {given[name]!r}."
                )
        if particles < 1:
            raise TaskError(f"task {self.name}: expected particles >= 1, got {particles}.")
        self.level = self.require_level(level)
        self.tune = Tune(alpha_s, fragmentation, cutoff, interactions, reconnection)
        self.dimensions = jet_dimensions(particles)
        self.tunes = tuple(self._tune(k) for k in range(simulators))

    def levels(self, n: int, rng: np.random.Generator, cls: str) -> dict[str, Array]:
        """Returns the same n of nature's jets at both levels, shape (n, particles, 3) each."""
        self.require_class(cls)
        if n == 0:
            return {level: np.empty((0, *self.x_shape)) for level in LEVELS}
        pairs = list(zip(*collide(n, int(rng.integers(1, _SEEDS)), cls, self.tune, LEVELS), strict=True))
        return {level: self._sets(list(jets)) for level, jets in zip(LEVELS, pairs, strict=True)}

    def _tune(self, k: int) -> Tune:
        rng = self.generator(k)
        alpha_s, fragmentation, cutoff = (float(rng.uniform(*ends)) for ends in RANGES.values())
        return replace(self.tune, alpha_s=alpha_s, fragmentation=fragmentation, cutoff=cutoff)

    def _jets(self, n: int, rng: np.random.Generator, cls: str, tune: Tune) -> Array:
        if n == 0:
            return np.empty((0, *self.x_shape))
        found = collide(n, int(rng.integers(1, _SEEDS)), cls, tune, (self.level,))
        return self._sets([jet for (jet,) in found])

    def _sets(self, jets: list[Array]) -> Array:
        number = np.repeat(np.arange(len(jets)), [len(jet) for jet in jets])
        parts = np.concatenate(jets)
        particles = len(self.dimensions[0].coordinates)
        return as_sets(Constituents(number, parts[:, 0], parts[:, 1:]), len(jets), particles)


def collide(n: int, seed: int, cls: str, tune: Tune, levels: tuple[str, ...]) -> list[tuple[Array, ...]]:
    """Returns n jets at one level or both, selected at the last of them.

    A jet is transverse momenta in GeV, and rapidities and azimuths around its axis, (P, 3).

    Raises:
        TaskError: If Pythia is not installed.
        SimulationError: If it does not start, or next to no event has such a jet.
    """
    collider = started(seed, cls, tune, levels[-1] if len(levels) == 1 else LEVELS[0])
    pythia = collider.pythia
    finder = collider.module.SlowJet(-1, RADIUS, PT[0], FARTHEST + 2 * RADIUS, 2, 2)
    softer = collider.module.SlowJet(-1, RADIUS, 0.5 * PT[0], FARTHEST + 2 * RADIUS, 2, 2)
    jets: list[tuple[Array, ...]] = []
    tried = 0
    while len(jets) < n:
        tried += 1
        if pythia.next():
            before = _found(softer, pythia.event) if len(levels) == 2 else []
            if (len(levels) == 1 or pythia.forceHadronLevel()) and finder.analyze(pythia.event):
                jet = _hardest(finder, pythia.event, before)
                jets += [jet] if len(jet) == len(levels) else []
        if tried > 1000 and len(jets) < _FEWEST * tried:
            raise SimulationError(
                f"Pythia: {len(jets)} of {tried} events have a jet from {PT[0]:g} to {PT[1]:g} GeV, expected "
                f"some 30 %; see its settings {', '.join(tune.commands)}."
            )
    return jets


class Collider(NamedTuple):
    """Pythia, ready to collide, its module, and the hook, which it does not keep alive."""

    pythia: Any
    module: Any
    hook: Any


def started(seed: int, cls: str, tune: Tune, level: str) -> Collider:
    """Returns Pythia with a seed from 1 to 9e8 for one class, tune and level."""
    module = _module()

    class LightAndCentral(module.UserHooks):  # type: ignore[name-defined]
        """Drops what is no light quark or gluon near the detector before it showers."""

        def canVetoProcessLevel(self) -> bool:
            return True

        def doVetoProcessLevel(self, process: Any) -> bool:
            outgoing = (process[i] for i in range(process.size()) if process[i].status() == _OUTGOING)
            return any(
                _LIGHT < one.idAbs() <= _QUARKS
                or (one.idAbs() in (*range(1, _LIGHT + 1), _GLUON) and abs(one.y()) > _HARD_FARTHEST)
                for one in outgoing
            )

    pythia = module.Pythia("", False)
    hook = LightAndCentral()
    pythia.setUserHooksPtr(hook)
    commands = (
        "Print:quiet = on",
        "Random:setSeed = on",
        f"Random:seed = {seed}",
        "Beams:eCM = 14000.",
        f"{_PROCESS[cls]} = on",
        "WeakZ0:gmZmode = 2",
        "23:onMode = off",
        "23:onIfAny = 12 14 16",
        f"PhaseSpace:pTHatMin = {_HARD[0]}",
        f"PhaseSpace:pTHatMax = {_HARD[1]}",
        f"HadronLevel:all = {_switch(level == 'hadron')}",
        *tune.commands,
    )
    refused = [command for command in commands if not pythia.readString(command)]
    if len(refused) == len(commands):
        raise SimulationError(
            "Pythia finds none of its settings, which lie beside it in share/Pythia8/xmldoc: name that "
            "folder in the environment variable PYTHIA8DATA, or install pythia8mc 8.317 anew."
        )
    if refused:
        raise SimulationError(f"Pythia does not know {', '.join(refused)}; install pythia8mc 8.317.")
    if not pythia.init():
        raise SimulationError(f"Pythia does not start with {', '.join(commands)}; see what it printed.")
    return Collider(pythia, module, hook)


def _found(finder: Any, event: Any) -> list[tuple[Axis, Array]]:
    """Axes and constituents of all jets of an event."""
    number = finder.sizeJet() if finder.analyze(event) else 0
    return [((finder.y(i), finder.phi(i)), _parts(finder, event, i)) for i in range(number)]


def _hardest(finder: Any, event: Any, before: list[tuple[Axis, Array]]) -> tuple[Array, ...]:
    """The hardest jet, behind the nearest one of those `before`; nothing where it is not selected."""
    rapidity, azimuth = finder.y(0), finder.phi(0)
    if not (PT[0] < finder.pT(0) < PT[1] and abs(rapidity) < FARTHEST):
        return ()
    near = [(np.hypot(y - rapidity, _turned(phi - azimuth)), parts) for (y, phi), parts in before]
    near = [(distance, parts) for distance, parts in near if distance < RADIUS]
    partons = [min(near, key=lambda one: one[0])[1]] if near else []
    return (*partons, _parts(finder, event, 0))


def _parts(finder: Any, event: Any, i: int) -> Array:
    """The constituents of a jet, (P, 3)."""
    rapidity, azimuth = finder.y(i), finder.phi(i)
    found = [event[k] for k in finder.constituents(i)]
    parts = np.array([(one.pT(), one.y() - rapidity, one.phi() - azimuth) for one in found])
    parts[:, 2] = _turned(parts[:, 2])
    return parts


def _turned(angle: Any) -> Any:
    """Angles between -pi and pi."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def _module() -> Any:
    """Pythia's own, imported where it is needed and not before."""
    try:
        import pythia8mc
    except ImportError as error:
        raise TaskError(
            f"task pythia_jets needs Pythia 8 ({error}): pip install -c constraints.txt 'veridical[hep]', or "
            "take task lund_jets, a stand-in that needs nothing."
        ) from error
    return pythia8mc


def _switch(on: bool) -> str:
    return "on" if on else "off"

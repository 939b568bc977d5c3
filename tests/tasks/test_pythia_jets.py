"""Jets of Pythia: what it is told, which jets are taken, and, where it is installed, what they look like."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest

from tests.conftest import modules_after
from veridical import seeds
from veridical.errors import SimulationError, TaskError
from veridical.tasks import build
from veridical.tasks.pythia_jets import RANGES, PythiaJets, Tune


class Particle:
    """A particle of a made-up event: transverse momentum, rapidity, azimuth; kind and status where hard."""

    def __init__(self, pt: float, y: float, phi: float, kind: int = 211, status: int = 83) -> None:
        self.values, self.kind, self.state = (pt, y, phi), kind, status

    def pT(self) -> float:
        return self.values[0]

    def y(self) -> float:
        return self.values[1]

    def phi(self) -> float:
        return self.values[2]

    def idAbs(self) -> int:
        return abs(self.kind)

    def status(self) -> int:
        return self.state


class Process(list[Particle]):
    def size(self) -> int:
        return len(self)


class FakePythia:
    """Takes commands, and makes events whose jet is hard enough every second time, as the seed says."""

    started: ClassVar[list[FakePythia]] = []

    def __init__(self, folder: str, banner: bool) -> None:
        self.commands: list[str] = []
        self.number, self.event = 0, []
        FakePythia.started.append(self)

    def setUserHooksPtr(self, hook: Any) -> None:
        self.hook = hook

    def readString(self, command: str) -> bool:
        self.commands.append(command)
        return "aLund" not in command or "unknown" not in command

    def init(self) -> bool:
        self.seed = int(self.told("Random:seed"))
        return True

    def next(self) -> bool:
        self.number += 1
        pt = (100.0 + self.seed % 7) * (1 if self.number % 2 else 5)
        self.event = [Particle(0.9 * pt, 0.1, 3.1), Particle(0.1 * pt, 0.2, -3.1)]
        return self.number % 5 > 0

    def forceHadronLevel(self) -> bool:
        self.event = [*self.event, Particle(1.0, 0.3, 3.1)]
        return self.number % 3 > 0

    def told(self, name: str) -> str:
        return dict(command.split(" = ") for command in self.commands)[name]


class FakeFinder:
    """One jet of all particles, as the anti-k_t algorithm of Pythia gives it."""

    def __init__(self, *arguments: float) -> None:
        self.arguments = arguments

    def analyze(self, event: list[Particle]) -> bool:
        self.event = event
        return bool(event)

    def pT(self, i: int) -> float:
        return sum(one.pT() for one in self.event)

    def y(self, i: int) -> float:
        return 0.11

    def phi(self, i: int) -> float:
        return 3.13

    def sizeJet(self) -> int:
        return 1

    def constituents(self, i: int) -> list[int]:
        return list(range(len(self.event)))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> list[FakePythia]:
    module: Any = ModuleType("pythia8mc")
    module.Pythia, module.SlowJet, module.UserHooks = FakePythia, FakeFinder, object
    monkeypatch.setitem(sys.modules, "pythia8mc", module)
    monkeypatch.setattr(FakePythia, "started", [])
    return FakePythia.started


def test_what_pythia_is_told(fake: list[FakePythia], rng: np.random.Generator) -> None:
    task = PythiaJets("parton", 0.13, 0.8, 0.6, interactions=True, reconnection=False)
    task.draw(3, rng, "gluon")
    task.draw_simulated(3, rng, "quark", 2)
    nature, simulated = fake
    for name, value in (
        ("WeakBosonAndParton:qqbar2gmZg", "on"),
        ("HadronLevel:all", "off"),
        ("TimeShower:alphaSvalue", "0.13"),
        ("StringZ:bLund", "0.8"),
        ("TimeShower:pTmin", "0.6"),
        ("PartonLevel:MPI", "on"),
        ("ColourReconnection:reconnect", "off"),
    ):
        assert nature.told(name) == value
    assert float(nature.told("StringZ:aLund")) == pytest.approx(0.8366)
    assert simulated.told("WeakBosonAndParton:qg2gmZq") == "on"
    assert simulated.told("TimeShower:alphaSvalue") == str(task.tunes[2].alpha_s)
    assert simulated.told("ColourReconnection:reconnect") == "off" and nature.seed != simulated.seed


def test_which_jets_are_taken(fake: list[FakePythia], rng: np.random.Generator) -> None:
    """Those of 500 to 550 GeV of events that did not fail, on both sides of pi."""
    x = PythiaJets(particles=4).draw(5, rng, "quark")
    assert fake[0].number == 12  # the even ones, of which the tenth failed
    expected = [[0.9, -0.01, 0.1 * (-2 * np.pi + 6.2)], [0.1, 0.09, 0.9 * (2 * np.pi - 6.2)]]
    np.testing.assert_allclose(x[:, :2], np.broadcast_to(expected, (5, 2, 3)), atol=1e-9)
    assert np.isnan(x[:, 2:]).all()


def test_both_levels_are_the_same_events(fake: list[FakePythia], rng: np.random.Generator) -> None:
    """Partons are taken before hadrons are made of them; here a third hadron comes, and each third fails."""
    found = PythiaJets(particles=4).levels(3, rng, "gluon")
    assert fake[0].told("HadronLevel:all") == "off" and fake[0].number == 8
    assert np.isfinite(found["parton"][..., 0]).sum(axis=1).tolist() == [2, 2, 2]
    assert np.isfinite(found["hadron"][..., 0]).sum(axis=1).tolist() == [3, 3, 3]
    assert [x.shape for x in PythiaJets().levels(0, rng, "gluon").values()] == [(0, 128, 3)] * 2


def test_hard_processes_are_light_and_central(fake: list[FakePythia], rng: np.random.Generator) -> None:
    PythiaJets().draw(1, rng, "quark")
    neutrino = Particle(500, 3.0, 0, 14, 23)
    for kind, y, dropped in (
        (2, 1.0, False),
        (21, -1.8, False),
        (2, 1.9, True),
        (-5, 0.0, True),
        (4, 0.0, True),
    ):
        process = Process([Particle(0, 9.0, 0, 21, -21), Particle(500, y, 0, kind, 23), neutrino])
        assert fake[0].hook.doVetoProcessLevel(process) is dropped, (kind, y)


def test_calls_depend_on_their_generator_alone(fake: list[FakePythia]) -> None:
    task = PythiaJets()
    for n in (2, 5):
        task.draw(n, seeds.generator(1, "test", "pythia"), "quark")
    assert fake[0].seed == fake[1].seed and task.draw(0, seeds.generator(1, "test"), "quark").shape == (
        0,
        128,
        3,
    )


def test_it_gives_up_where_no_event_has_a_jet(
    fake: list[FakePythia], rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakePythia, "next", lambda self: False)
    with pytest.raises(SimulationError, match="0 of 1001 events have a jet from 500 to 550 GeV"):
        PythiaJets().draw(1, rng, "quark")
    monkeypatch.setattr(FakePythia, "readString", lambda self, command: "MPI" not in command)
    with pytest.raises(SimulationError, match="does not know PartonLevel:MPI = off"):
        PythiaJets().draw(1, rng, "quark")
    monkeypatch.setattr(FakePythia, "readString", lambda self, command: False)
    with pytest.raises(SimulationError, match=r"finds none of its settings.*PYTHIA8DATA"):
        PythiaJets().draw(1, rng, "quark")


def test_pythia_is_imported_late_and_its_absence_has_a_remedy(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_it = "from veridical import tasks\ntasks.check_task(tasks.build({'name': 'pythia_jets'}))"
    assert "pythia8mc" not in modules_after(build_it)
    monkeypatch.setitem(sys.modules, "pythia8mc", None)
    with pytest.raises(TaskError, match=r"needs Pythia 8 .*veridical\[hep\].*or take task lund_jets"):
        PythiaJets().draw(1, rng, "quark")


def test_simulators_are_tunes_in_their_ranges() -> None:
    task = PythiaJets(simulators=200)
    for name, (low, high) in RANGES.items():
        values = np.array([getattr(tune, name) for tune in task.tunes])
        assert (values > low).all() and (values < high).all()
        assert values.mean() == pytest.approx((low + high) / 2, abs=4 * (high - low) / np.sqrt(12 * 200))
    assert PythiaJets(simulators=2).tunes == task.tunes[:2] != PythiaJets(family=1).tunes[:2]
    assert task.tune == Tune()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"level": "detector"}, "expected a level of parton, hadron, got 'detector'"),
        ({"alpha_s": 1.0}, "expected alpha_s from 0.06 to 0.25, got 1.0"),
        ({"fragmentation": 0.0}, "expected fragmentation from 0.2 to 1.7"),
        ({"cutoff": 5.0}, "expected cutoff from 0.3 to 2.0"),
        ({"particles": 0}, "expected particles >= 1"),
        ({"family": -1}, "family >= 0"),
    ],
)
def test_refusals(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(TaskError, match=told):
        build({"name": "pythia_jets", "settings": settings})


def test_real_jets() -> None:
    """A dozen of each class: sets like those of the stand-in, the same again, more constituents of gluons."""
    pytest.importorskip("pythia8mc")
    task, number = PythiaJets(), {}
    for cls in task.classes:
        x, again = (task.draw(12, seeds.generator(1, "test", "real jets"), cls) for _ in range(2))
        np.testing.assert_array_equal(x, again)
        np.testing.assert_allclose(np.nansum(x[..., 0], axis=1), 1, rtol=1e-12)
        np.testing.assert_allclose(np.nansum(x[..., :1] * x[..., 1:], axis=1), 0, atol=1e-12)
        assert np.nanmax(np.abs(x[..., 1:])) < 0.8
        number[cls] = np.isfinite(x[..., 0]).sum(axis=1).mean()
    assert 20 < number["quark"] < number["gluon"] < 70
    both = task.levels(25, seeds.generator(1, "test", "real jets"), "gluon")
    fewer = [np.isfinite(both[level][..., 0]).sum(axis=1).mean() for level in ("parton", "hadron")]
    assert fewer[0] < fewer[1] / 2
    width = [
        np.nansum(x[..., 0] * np.hypot(x[..., 1], x[..., 2]), axis=1)
        for x in (both["parton"], both["hadron"])
    ]
    assert np.corrcoef(*width)[0, 1] > 0.8, "the same jets"
    partons = PythiaJets("parton").draw(5, seeds.generator(1, "test", "real jets"), "gluon")
    assert np.isfinite(partons[..., 0]).sum(axis=1).mean() < number["gluon"] / 2

"""Pairs of Higgs bosons and four jets: kinematics, the energy scale, and figures of nature."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from scipy import stats

from veridical.bank import blocks
from veridical.errors import TaskError
from veridical.tasks import build
from veridical.tasks.dihiggs import (
    B_QUARK,
    HIGGS,
    NATURE,
    Detector,
    DiHiggs,
    Jets,
    background_jets,
    decay,
    events,
    masses,
    seen,
    signal_jets,
)


def momenta(jets: Jets, mass: float) -> np.ndarray:
    """Four-momenta of jets (n, J) of one mass, (n, J, 4), energy first."""
    p = np.stack([jets.pt * np.cos(jets.phi), jets.pt * np.sin(jets.phi), jets.pt * np.sinh(jets.eta)], -1)
    return np.concatenate([np.sqrt((p**2).sum(-1, keepdims=True) + mass**2), p], axis=-1)


def test_bosons_decay_with_their_four_momentum(rng: np.random.Generator) -> None:
    pt, rapidity, phi = rng.gamma(3, 55, 500), rng.normal(size=500), rng.uniform(-3, 3, 500)
    total = momenta(decay(pt, rapidity, phi, rng), B_QUARK).sum(axis=1)
    across = np.hypot(HIGGS, pt)
    expected = [across * np.cosh(rapidity), pt * np.cos(phi), pt * np.sin(phi), across * np.sinh(rapidity)]
    np.testing.assert_allclose(total, np.stack(expected, axis=1), rtol=1e-9, atol=1e-7)


def test_decays_are_isotropic(rng: np.random.Generator) -> None:
    """At rest: each component of the direction is uniform."""
    n = 4000
    quarks = momenta(decay(np.full(n, 1e-12), np.zeros(n), np.zeros(n), rng), B_QUARK)[:, 0, 1:]
    length = np.sqrt(0.25 * HIGGS**2 - B_QUARK**2)
    np.testing.assert_allclose(np.linalg.norm(quarks, axis=1), length, rtol=1e-9)
    for component in quarks.T / length:
        assert stats.kstest(component, stats.uniform(-1, 2).cdf).pvalue > 1e-4


def test_the_background_is_a_power_law_that_is_balanced(rng: np.random.Generator) -> None:
    jets = background_jets(4000, rng, 4.5)
    assert stats.kstest(jets.pt[:, :3].ravel(), lambda p: 1 - (p / 28) ** -3.5).pvalue > 1e-4
    for side in (np.cos, np.sin):
        left = (jets.pt * side(jets.phi)).sum(axis=1)
        assert stats.kstest(left, stats.norm(0, 12).cdf).pvalue > 1e-4


@pytest.mark.parametrize("detector", [NATURE, Detector(3.2, 0.4, 0.94)])
def test_the_energy_scale_and_its_inverse(detector: Detector, rng: np.random.Generator) -> None:
    pt, eta = rng.uniform(5, 500, 100), rng.uniform(-2.5, 2.5, 100)
    np.testing.assert_allclose(detector.corrected(detector.raw(pt, eta), eta), pt, rtol=1e-10)
    raw = detector.raw(pt, eta)
    formula = raw * np.sqrt((detector.a - detector.b * np.abs(eta)) ** 2 / raw + detector.c)
    np.testing.assert_allclose(formula, pt, rtol=1e-10)


def test_nature_is_calibrated_on_average(rng: np.random.Generator) -> None:
    """Where no neutrino is lost, the median response is one; the scale of simulators shows in full."""
    true = Jets(*(np.broadcast_to(v, (20_000, 4)) for v in (200.0, 0.5, 0.0)))
    response = np.median(seen(true, rng, NATURE)) / 200
    wrong = np.median(seen(true, rng, Detector(c=1.06))) / 200
    raw = NATURE.raw(np.array(200.0), np.array(0.5))
    ratio = Detector(c=1.06).corrected(raw, np.array(0.5)) / 200
    assert wrong / response == pytest.approx(float(ratio), abs=0.005)
    assert 0.97 < response < 1.0


def test_masses_do_not_depend_on_order_direction_or_side(rng: np.random.Generator) -> None:
    jets = signal_jets(30, rng)
    expected = masses(jets)
    for order in permutations(range(4)):
        np.testing.assert_allclose(masses(Jets(*(a[:, list(order)] for a in jets))), expected, rtol=1e-9)
    turned = Jets(jets.pt, -jets.eta, jets.phi + 1.234)
    np.testing.assert_allclose(masses(turned), expected, rtol=1e-9)


def test_masses_are_those_of_the_best_pairing(rng: np.random.Generator) -> None:
    """By the masses of all pairs, from four-momenta; the pair with more transverse momentum comes first."""
    jets = signal_jets(40, rng)
    for i, found in enumerate(masses(jets)):
        total = [
            momenta(Jets(*(a[i : i + 1, k] for a in jets)), B_QUARK + 0.08 * float(jets.pt[i, k]))[0]
            for k in range(4)
        ]
        ways = []
        for a, b, c, d in ((0, 1, 2, 3), (0, 2, 1, 3), (0, 3, 1, 2)):
            pairs = sorted([total[a] + total[b], total[c] + total[d]], key=lambda p: -np.hypot(p[1], p[2]))
            ways.append([np.sqrt(p[0] ** 2 - (p[1:] ** 2).sum()) for p in pairs])
        best = min(ways, key=lambda m: sum((value - HIGGS) ** 2 for value in m))
        np.testing.assert_allclose(found, best, rtol=1e-9)


def test_the_figures_of_nature(rng: np.random.Generator) -> None:
    """Acceptance, medians and share in the window, of 20,000 events, within four standard errors."""
    for cls, share, medians, inside in (
        ("signal", 0.43, (128.6, 121.5), 0.67),
        ("background", 0.24, (106.7, 103.1), 0.064),
    ):
        x = DiHiggs().selected(20_000, rng, cls)
        assert len(x) / 20_000 == pytest.approx(share, abs=0.02)
        np.testing.assert_allclose(np.median(x, axis=0), medians, atol=2.0)
        assert ((x > 110) & (x < 140)).all(axis=1).mean() == pytest.approx(inside, rel=0.15)


@pytest.mark.parametrize(
    ("settings", "sign"), [({"c": 0.94}, -1), ({"c": 1.06}, 1), ({"a": 3.2}, 1), ({"b": 0.5}, -1)]
)
def test_the_scale_moves_the_peak(settings: dict[str, float], sign: int, rng: np.random.Generator) -> None:
    def peak(detector: Detector) -> tuple[np.ndarray, np.ndarray]:
        x = events(10_000, rng, "signal", detector)
        return np.median(x, axis=0), 1.25 * x.std(axis=0) / np.sqrt(len(x))

    (nature, error), (moved, _) = peak(NATURE), peak(Detector(**settings))
    assert (sign * (moved - nature) > 0).all() and (np.abs(moved - nature) > 2 * error).any()


def test_simulators_scatter_around_nature() -> None:
    detectors = DiHiggs(simulators=400).detectors
    for name, sd in (("a", 0.35), ("b", 0.1), ("c", 0.04), ("resolution", 0.05), ("slope", 0.15)):
        values = np.array([getattr(d, name) for d in detectors])
        assert values.mean() == pytest.approx(getattr(NATURE, name), abs=4 * sd / 20)
        assert values.std() == pytest.approx(sd, rel=4 / np.sqrt(800))
    assert DiHiggs(simulators=2).detectors == detectors[:2] != DiHiggs(family=1).detectors[:2]
    assert NATURE not in detectors


def test_events_lie_in_the_window(rng: np.random.Generator) -> None:
    task = DiHiggs(100.0, 150.0)
    for x in (task.draw(300, rng, "signal"), task.draw_simulated(100, rng, "background", 3)):
        assert x.min() >= 100 and x.max() <= 150 and x.shape[1:] == task.x_shape == (2,)
    one, other = (blocks.simulate_block(task, 5, "signal", "train", 0, 1).arrays["x"] for _ in range(2))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"low": 140.0, "high": 110.0}, "expected 0 <= low < high in GeV"),
        ({"simulators": 0}, "simulators >= 1"),
    ],
)
def test_refusals(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(TaskError, match=told):
        build({"name": "dihiggs", "settings": settings})

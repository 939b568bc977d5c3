"""Jets in the Lund plane: closed forms of the shower, symmetries, what tunes change."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy import stats

from veridical import seeds
from veridical.bank import blocks, valid
from veridical.errors import TaskError
from veridical.tasks import build
from veridical.tasks.jet_sets import Constituents, as_sets
from veridical.tasks.lund_jets import COLOUR, PT, RADIUS, LundJets, Tune, shower

SEVERAL = 4.5  # standard errors
Observables = dict[str, np.ndarray]


def observables(x: np.ndarray) -> Observables:
    """Number of constituents, and width and momentum dispersion, of each jet."""
    z, y, phi = np.moveaxis(x, -1, 0)
    return {
        "number": np.isfinite(z).sum(axis=1),
        "width": np.nansum(z * np.hypot(y, phi), axis=1),
        "dispersion": np.sqrt(np.nansum(z**2, axis=1)),
    }


def compared(name: str, one: np.ndarray, other: np.ndarray) -> float:
    """How many standard errors the mean of the first lies above that of the second."""
    a, b = observables(one)[name], observables(other)[name]
    return float((a.mean() - b.mean()) / np.sqrt(a.var() / len(a) + b.var() / len(b)))


def emissions(n: int, rng: np.random.Generator, cls: str, tune: Tune) -> tuple[np.ndarray, ...]:
    """Numbers of emissions of n jets of one transverse momentum, and ln k_t / Q and ln R / angle of each."""
    parts, angle, log_kt = shower(np.full(n, 525.0), rng, COLOUR[cls], tune)
    core = np.isnan(log_kt)
    assert core.sum() == n and (parts.at[core] == 0).all()
    return np.bincount(parts.jet, ~core, n), log_kt[~core], np.log(RADIUS / angle[~core])


@pytest.mark.parametrize("cls", COLOUR)
@pytest.mark.parametrize("settings", [{}, {"alpha_s": 0.118, "cutoff": 2.0}])
def test_the_number_of_emissions_is_poisson_with_the_closed_mean(
    cls: str, settings: dict[str, float], rng: np.random.Generator
) -> None:
    task, n = LundJets(**settings), 5000
    number, _, _ = emissions(n, rng, cls, task.tune)
    mean = float(task.mean_emissions(cls, np.array(525.0)))
    assert abs(number.mean() - mean) < SEVERAL * np.sqrt(mean / n)
    assert number.var() / mean == pytest.approx(1, abs=SEVERAL * np.sqrt(2 / n + 1 / (n * mean)))


def test_the_mean_is_the_integral_over_the_lund_plane() -> None:
    """Of 2 C / pi alpha_s(k_t), on a fine grid; and quarks to gluons as their colour factors."""
    task = LundJets(alpha_s=0.12, cutoff=1.5)
    reach, at = np.log(510.0 * RADIUS / 1.5), task.tune.log_cutoff
    at_l = (np.arange(20_000) + 0.5) * reach / 20_000
    beta0 = 23 / (12 * np.pi)
    coupling = 0.12 / (1 + 2 * beta0 * 0.12 * np.log(1.5 * np.exp(at_l) / 91.19))
    expected = 2 * 3 / np.pi * (coupling * (reach - at_l)).mean() * reach
    np.testing.assert_allclose(1 / (2 * beta0 * (at_l + at)), coupling, rtol=1e-12)
    assert float(task.mean_emissions("gluon", np.array(510.0))) == pytest.approx(expected, rel=1e-7)
    ratio = task.mean_emissions("gluon", np.array([510.0])) / task.mean_emissions("quark", np.array([510.0]))
    np.testing.assert_allclose(ratio, 9 / 4, rtol=1e-14)


def test_emissions_follow_the_running_coupling_and_are_uniform_in_angle(rng: np.random.Generator) -> None:
    tune = Tune()
    reach, at = np.log(525 * RADIUS / tune.cutoff), tune.log_cutoff
    _, log_kt, eta = emissions(3000, rng, "gluon", tune)

    def below(log_kt: np.ndarray) -> np.ndarray:
        """Integral of (L - l) / (l + lambda), by its closed form."""
        return (reach + at) * np.log1p(log_kt / at) - log_kt

    assert stats.kstest(log_kt, lambda at_l: below(at_l) / below(np.array(reach))).pvalue > 1e-4
    assert stats.kstest(eta / (reach - log_kt), stats.uniform.cdf).pvalue > 1e-4


@pytest.mark.parametrize("level", ["parton", "hadron"])
def test_jets_are_normalised_centred_sets(level: str, rng: np.random.Generator) -> None:
    task = LundJets(level)
    for cls in task.classes:
        x = task.draw(400, rng, cls)
        assert x.shape == (400, *task.x_shape) == (400, 128, 3) and task.has_missing
        there = np.isfinite(x)
        assert (there.all(axis=2) == there.any(axis=2)).all(), "a constituent is missing as a whole"
        assert (np.diff(there[..., 0].astype(int), axis=1) <= 0).all() and there[:, 0].all()
        np.testing.assert_allclose(np.nansum(x[..., 0], axis=1), 1, rtol=1e-12)
        np.testing.assert_allclose(np.nansum(x[..., :1] * x[..., 1:], axis=1), 0, atol=1e-12)
        assert (np.diff(x[..., 0], axis=1)[there[:, 1:, 0]] <= 0).all(), "hardest first"
        assert np.nanmax(np.abs(x[..., 1:])) < 2.2 * RADIUS


@pytest.mark.parametrize("level", ["parton", "hadron"])
def test_jets_know_no_direction(level: str, rng: np.random.Generator) -> None:
    """Quadratic moments: as much along rapidity as along azimuth, and no correlation of the two."""
    x = np.nan_to_num(LundJets(level).draw(4000, rng, "gluon"))
    z, y, phi = np.moveaxis(x, -1, 0)
    for moment in (y**2 - phi**2, y * phi, y**3, phi**3):
        values = (z * moment).sum(axis=1)
        assert abs(values.mean()) < SEVERAL * values.std() / np.sqrt(len(values))


def test_gluons_have_more_and_wider_constituents(rng: np.random.Generator) -> None:
    quark, gluon = (LundJets().draw(1500, rng, cls) for cls in ("quark", "gluon"))
    found = {cls: observables(x) for cls, x in (("quark", quark), ("gluon", gluon))}
    assert found["quark"]["number"].mean() == pytest.approx(31, abs=3)
    assert found["gluon"]["number"].mean() == pytest.approx(52, abs=4)
    area = stats.mannwhitneyu(found["gluon"]["number"], found["quark"]["number"]).statistic / 1500**2
    assert 0.8 < area < 0.9
    assert compared("width", gluon, quark) > SEVERAL and compared("dispersion", gluon, quark) < -SEVERAL


@pytest.mark.parametrize(
    ("setting", "low", "high", "changed"),
    [
        ("alpha_s", 0.105, 0.145, {"number": 1, "width": 1, "dispersion": -1}),
        ("cutoff", 0.8, 2.5, {"number": -1, "dispersion": 1}),
        ("hadrons", 0.8, 1.3, {"number": 1, "dispersion": -1}),
        ("smearing", 0.05, 1.5, {"width": 1}),
        ("underlying", 0.0, 40.0, {"number": 1, "width": 1}),
    ],
)
def test_tunes_change_what_they_should(
    setting: str, low: float, high: float, changed: dict[str, int], rng: np.random.Generator
) -> None:
    less, more = (LundJets(**{setting: v}).draw(2500, rng, "quark") for v in (low, high))
    for name, sign in changed.items():
        assert sign * compared(name, more, less) > SEVERAL, name


def test_partons_do_not_see_what_hadrons_are_made_of() -> None:
    def jets(level: str, settings: dict[str, Any]) -> np.ndarray:
        return LundJets(level, **settings).draw(50, seeds.generator(3, "test", "jets"), "gluon")

    others: dict[str, Any] = {"hadrons": 2.0, "smearing": 1.0, "underlying": 9.0}
    np.testing.assert_array_equal(jets("parton", {}), jets("parton", others))
    assert not np.array_equal(jets("hadron", {}), jets("hadron", others), equal_nan=True)


def test_levels_are_the_same_jets(rng: np.random.Generator) -> None:
    """Both levels of one jet: wide ones stay wide; each is what the task of that level draws."""
    found = LundJets().levels(1500, seeds.generator(3, "test", "levels"), "quark")
    for level, x in found.items():
        alone = LundJets(level).draw(1500, seeds.generator(3, "test", "levels"), "quark")
        np.testing.assert_array_equal(x, alone)
    wide = [observables(found[level])["width"] for level in ("parton", "hadron")]
    assert stats.spearmanr(*wide).statistic > 0.7
    fewer = [observables(found[level])["number"].mean() for level in ("parton", "hadron")]
    assert fewer[0] < fewer[1] / 3


def test_simulators_are_tunes_around_nature(rng: np.random.Generator) -> None:
    task = LundJets(simulators=300)
    values = np.array([[tune.alpha_s, tune.cutoff, tune.hadrons] for tune in task.tunes])
    assert len(np.unique(values, axis=0)) == 300 and task.tune not in task.tunes
    for column, nature in zip(values.T, (0.13, 1.0, 1.0), strict=True):
        assert 0.3 < (column < nature).mean() < 0.7
    x, y = (LundJets(simulators=2).draw_simulated(800, rng, "gluon", k) for k in (0, 1))
    assert max(abs(compared(name, x, y)) for name in ("number", "width", "dispersion")) > SEVERAL
    assert LundJets(simulators=2).tunes == task.tunes[:2] != LundJets(family=1).tunes[:2]


def test_a_bank_holds_jets_to_the_bit(rng: np.random.Generator) -> None:
    task = LundJets()
    one, other = (blocks.simulate_block(task, 5, "gluon", "train", 0, 1).arrays for _ in range(2))
    np.testing.assert_array_equal(one["x"], other["x"])
    assert valid(one).all() and one["x"].dtype == np.float32
    assert not np.array_equal(one["x"], blocks.simulate_block(task, 5, "gluon", "train", 0, 2).arrays["x"])


def test_soft_and_collinear_splittings_change_what_is_safe_by_nothing() -> None:
    """Momentum-weighted sums of angles: a constituent split in two in place, or one without momentum."""
    jet = np.array([0, 0, 1])
    whole = as_sets(Constituents(jet, np.array([6.0, 2, 5]), np.array([[0.1, 0], [0, 0.2], [0, 0]])), 2, 4)
    at = np.array([[0.1, 0], [0.1, 0], [0, 0.2], [0.3, 0.3], [0, 0]])
    split = as_sets(Constituents(np.array([0, 0, 0, 0, 1]), np.array([4.0, 2, 2, 1e-9, 5]), at), 2, 4)
    for power in (1, 2):
        sums = [np.nansum(x[..., :1] * np.abs(x[..., 1:]) ** power, axis=1) for x in (whole, split)]
        np.testing.assert_allclose(*sums, atol=1e-8)
    np.testing.assert_allclose(whole[0, :2, 0], [0.75, 0.25])
    np.testing.assert_allclose(whole[0, :2, 1:], [[0.025, -0.05], [-0.075, 0.15]], atol=1e-15)
    assert np.isnan(whole[0, 2:]).all() and np.isnan(whole[1, 1:]).all()


def test_softer_constituents_are_left_out(rng: np.random.Generator) -> None:
    few, many = (
        LundJets(particles=p).draw(20, seeds.generator(4, "test", "few"), "gluon") for p in (10, 200)
    )
    assert few.shape == (20, 10, 3)
    share = many[:, :10, 0] / many[:, :10, 0].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(few[..., 0], share, rtol=1e-12)


def test_the_transverse_momentum_lies_in_its_range(rng: np.random.Generator) -> None:
    pt = rng.uniform(*PT, 300)
    parts, _, _ = shower(pt, rng, 3.0, Tune())
    np.testing.assert_allclose(np.bincount(parts.jet, parts.pt), pt, rtol=1e-12)
    assert all(a <= b for a, b in pairwise(parts.jet.tolist()))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"level": "detector"}, "expected a level of parton, hadron, got 'detector'"),
        ({"alpha_s": 0.2}, "has to stay below 1.7 down to the cut-off 1"),
        ({"cutoff": 100.0}, "which has to be below 50"),
        ({"smearing": -1.0}, "no negative smearing"),
        ({"particles": 0}, "expected positive alpha_s, cutoff, hadrons and particles"),
        ({"simulators": 0}, "simulators >= 1"),
    ],
)
def test_refusals(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(TaskError, match=told):
        build({"name": "lund_jets", "settings": settings})

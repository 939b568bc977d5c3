"""A peak on a falling background: exact densities, draws that follow them, targets in and out of the span."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from veridical import seeds
from veridical.bank import blocks
from veridical.errors import ShapeError, TaskError
from veridical.tasks import build
from veridical.tasks.biased_classes import accepted
from veridical.tasks.mass_plane import CENTRE, SCALE, TARGETS, WINDOW, MassPlane, Peak, Spectrum

EDGES = np.linspace(*WINDOW, 8)
SHAPES = [("signal", None), ("background", None), ("signal", 2), ("background", 2)]


def fine_grid(cells: int = 140) -> tuple[np.ndarray, float]:
    """Midpoints of small cells of the window, (cells**2, 2), and their area."""
    step = (WINDOW[1] - WINDOW[0]) / cells
    axis = WINDOW[0] + step * (np.arange(cells) + 0.5)
    return np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2), step**2


@pytest.mark.parametrize("target", TARGETS)
def test_densities_integrate_to_one(target: str) -> None:
    """By midpoints, whose error is below 3e-5, while the task has a Gauss-Legendre rule."""
    task, (x, area) = MassPlane(target), fine_grid()
    for cls, k in product(task.classes, (None, 0, 5)):
        assert np.exp(task.log_density(x, cls, k)).sum() * area == pytest.approx(1, abs=5e-5)


def test_a_peak_without_correlation_is_a_product_of_cut_normals(rng: np.random.Generator) -> None:
    peak, x = Peak((127.0, 112.0), (13.0, 16.0)), rng.uniform(*WINDOW, (50, 2))
    expected = [
        stats.truncnorm((WINDOW[0] - m) / s, (WINDOW[1] - m) / s, m, s).logpdf(x[:, i])
        for i, (m, s) in enumerate(zip(peak.mean, peak.width, strict=True))
    ]
    np.testing.assert_allclose(peak.log_density(x), sum(expected), rtol=1e-12)


def test_a_spectrum_without_products_is_one_of_cut_exponentials(rng: np.random.Generator) -> None:
    low, high = ((edge - CENTRE) / SCALE for edge in WINDOW)
    for slopes in ((0.5, -0.4), (0.5, 0.0)):
        x = rng.uniform(*WINDOW, (50, 2))
        t = (x - CENTRE) / SCALE
        expected = -t @ slopes - 2 * np.log(SCALE)
        for a in slopes:
            expected -= np.log((np.exp(-a * low) - np.exp(-a * high)) / a if a else high - low)
        np.testing.assert_allclose(Spectrum(slopes).log_density(x), expected, rtol=1e-12)


@pytest.mark.parametrize("target", ["in_span", "failing"])
@pytest.mark.parametrize(("cls", "simulator"), SHAPES)
def test_draws_follow_the_densities(
    target: str, cls: str, simulator: int | None, rng: np.random.Generator
) -> None:
    """Counts in 7 x 7 cells, whose probabilities come from the density on a grid that shares their edges."""
    task, n, (x, area) = MassPlane(target), 20_000, fine_grid()
    p = np.histogram2d(*x.T, (EDGES, EDGES), weights=area * np.exp(task.log_density(x, cls, simulator)))[0]
    events = task.draw(n, rng, cls) if simulator is None else task.draw_simulated(n, rng, cls, simulator)
    counts = np.histogram2d(*events.T, (EDGES, EDGES))[0]
    assert events.shape == (n, 2) and counts.sum() == n
    kept = n * p > 10
    observed, expected = np.append(counts[kept], counts[~kept].sum()), np.append(p[kept], p[~kept].sum())
    assert stats.chisquare(observed[expected > 0], n * expected[expected > 0], sum_check=False).pvalue > 1e-4


def test_draws_are_in_random_order(rng: np.random.Generator) -> None:
    """The tail is a tenth of the first half as of the second."""
    x = MassPlane("tail").draw(20_000, rng, "signal")
    assert stats.ks_2samp(x[:10_000, 0], x[10_000:, 0]).pvalue > 1e-4


def span(task: MassPlane, cls: str, x: np.ndarray) -> np.ndarray:
    """Differences of the log densities of the simulators, and a constant: (N, K)."""
    log_p = np.stack([task.log_density(x, cls, k) for k in range(task.simulators)], axis=1)
    return np.column_stack([log_p[:, 1:] - log_p[:, :1], np.ones(len(x))])


@pytest.mark.parametrize(
    ("target", "cls", "inside"),
    [
        ("in_span", "signal", True),
        ("in_span", "background", True),
        ("tail", "signal", False),
        ("tail", "background", True),
        ("cubic", "signal", True),
        ("cubic", "background", False),
        ("failing", "signal", False),
        ("failing", "background", False),
    ],
)
def test_targets_are_in_the_span_of_six_simulators_or_not(target: str, cls: str, inside: bool) -> None:
    """Of log densities with weights that sum to one; what is left is rounding or is there."""
    task, x = MassPlane(target), fine_grid(20)[0]
    basis = span(task, cls, x)
    wanted = task.log_density(x, cls) - task.log_density(x, cls, 0)
    left = wanted - basis @ np.linalg.lstsq(basis, wanted, rcond=None)[0]
    assert (np.abs(left).max() < 1e-9) == inside
    assert inside or np.abs(left).max() > 0.01


def test_no_simulator_is_right_and_each_family_is_another() -> None:
    x = fine_grid(20)[0]
    nature = MassPlane().log_density(x, "signal")
    found = [MassPlane(family=f).log_density(x, "signal", k) for f, k in product((0, 1), range(6))]
    assert all(np.abs(a - b).max() > 0.05 for i, a in enumerate(found) for b in (nature, *found[:i]))


def test_the_first_simulators_do_not_depend_on_their_number() -> None:
    x = fine_grid(10)[0]
    for cls in MassPlane.classes:
        few, many = (MassPlane(simulators=k).log_density(x, cls, 1) for k in (2, 8))
        np.testing.assert_array_equal(few, many)


def test_simulators_scatter_as_they_say() -> None:
    """Over many draws: energy scales, widths and slopes, within four standard errors."""
    task = MassPlane(simulators=600)
    peaks, spectra = ([task.shape(cls, k) for k in range(600)] for cls in task.classes)
    drawn = {
        "mean": (np.array([p.mean for p in peaks]), 125.0, 125 * np.hypot(0.03, 0.015)),
        "width": (np.log([p.width for p in peaks]), np.log(12), np.hypot(0.15, 0.08)),
        "correlation": (np.array([p.correlation for p in peaks]), 0.0, 0.12),
        "slopes": (np.array([s.slopes for s in spectra]), np.array([0.55, 0.45]), 0.12),
        "product": (np.array([s.product for s in spectra]), 0.0, 0.06),
    }
    for name, (values, centre, sd) in drawn.items():
        assert np.abs(values.mean(axis=0) - centre).max() < 4 * sd / np.sqrt(600), name
        np.testing.assert_allclose(values.std(axis=0), sd, rtol=4 / np.sqrt(1200), err_msg=name)


def test_log_ratios_to_the_pool(rng: np.random.Generator) -> None:
    """Their ratios average to one at each event, and each to one over the pool."""
    task = MassPlane(simulators=3)
    x = task.pooled(20_000, rng)
    r = np.exp(task.log_ratios_to_pool(x))
    assert r.shape == (20_000, 6) and x.shape == (20_000, 2)
    np.testing.assert_allclose(r.mean(axis=1), 1, rtol=1e-12)
    assert (np.abs(r.mean(axis=0) - 1) < 4.5 * r.std(axis=0) / np.sqrt(len(r))).all()
    signal, background = task.log_density(x, "signal", 2), task.log_density(x, "background", 0)
    np.testing.assert_allclose(np.log(r[:, 2] / r[:, 3]), signal - background, atol=1e-9)


def test_log_ratio_is_that_of_the_densities_and_finite_everywhere(rng: np.random.Generator) -> None:
    task = MassPlane("failing")
    x = task.mixture(200, 0.5, rng)
    expected = task.log_density(x, "signal") - task.log_density(x, "background")
    np.testing.assert_allclose(task.log_ratio(x), expected, atol=1e-10)
    outside = np.array([[80.0, 120.0], [120.0, 170.0]])
    assert np.isfinite(task.log_ratio(outside)).all()
    assert (task.log_density(outside, "signal") == -np.inf).all() and task.has_log_ratio


def test_events_stay_in_the_window_in_the_type_of_the_bank(rng: np.random.Generator) -> None:
    task = MassPlane()
    x = task.draw(5000, rng, "background").astype(task.x_dtype)
    assert np.isfinite(task.log_density(x, "background")).all()


def test_levels_of_classes_and_templates(rng: np.random.Generator) -> None:
    task = MassPlane(simulators=2)
    assert task.templates == ("signal_0", "signal_1", "background_0", "background_1")
    block = blocks.simulate_block(task, 5, "background", "train", 0, 3).arrays["x"]
    again = blocks.simulate_block(MassPlane(simulators=2), 5, "background", "train", 0, 3).arrays["x"]
    np.testing.assert_array_equal(block, again)
    for name in task.templates:
        cls, _, k = name.partition("_")
        one, other = (seeds.generator(1, "test", name) for _ in range(2))
        x = task.simulate(np.empty((5, 0)), one, name)
        np.testing.assert_array_equal(x, task.draw_simulated(5, other, cls, int(k)))
    with pytest.raises(TaskError, match="has no class 'signal_2'"):
        task.simulate(np.empty((1, 0)), rng, "signal_2")


def test_refusals(rng: np.random.Generator) -> None:
    for settings, told in (
        ({"target": "tial"}, "expected a target of in_span, tail, cubic, failing, got 'tial'"),
        ({"simulators": 0}, "expected whole numbers simulators >= 1"),
        ({"family": -1}, "expected whole numbers simulators >= 1 and family >= 0, got 6 and -1"),
    ):
        with pytest.raises(TaskError, match=told):
            build({"name": "mass_plane", "settings": settings})
    with pytest.raises(TaskError, match="expected a simulator from 0 to 5, got 6"):
        MassPlane().draw_simulated(3, rng, "signal", 6)
    with pytest.raises(TaskError, match="has no class 'sgnal'"):
        MassPlane().draw(3, rng, "sgnal")
    with pytest.raises(ShapeError):
        MassPlane().log_ratio(np.zeros(3))


def test_rejection_gives_up_where_nothing_is_let_through() -> None:
    with pytest.raises(TaskError, match=r"0 of \d+ proposed events lie where the task looks, expected 5"):
        accepted("narrow", 5, lambda n: np.empty((0, 2)))

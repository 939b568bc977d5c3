"""Two Gaussian classes: draws follow the densities, the ratio is exact, cells cost next to no information."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from veridical.errors import ShapeError
from veridical.tasks import build
from veridical.tasks.gaussian_classes import GaussianClasses


@pytest.mark.parametrize("resolution", [0.0, 0.005])
def test_draws_follow_the_densities(resolution: float, rng: np.random.Generator) -> None:
    task = GaussianClasses(0.3, resolution)
    for cls, sign in zip(task.classes, (1, -1), strict=True):
        x = task.simulate(np.empty((4000, 0)), rng, cls)
        assert x.shape == (4000, *task.x_shape) == (4000, 1)
        assert stats.kstest(x[:, 0], stats.norm(sign * 0.3).cdf).pvalue > 1e-4


@pytest.mark.parametrize(("separation", "resolution"), [(0.1, 0.005), (0.5, 0.2), (1.0, 1.0)])
def test_the_ratio_of_cells_is_that_of_their_probabilities(separation: float, resolution: float) -> None:
    task = GaussianClasses(separation, resolution)
    x = resolution * np.arange(-np.floor(3 / resolution), 3 / resolution)
    cells = [
        stats.norm.cdf(x + resolution / 2, sign * separation)
        - stats.norm.cdf(x - resolution / 2, sign * separation)
        for sign in (1, -1)
    ]
    np.testing.assert_allclose(task.log_ratio(x[:, None]), np.log(cells[0] / cells[1]), atol=1e-9)


def test_cells_scale_the_log_ratio_by_their_variance() -> None:
    """2 delta x (1 - h^2 / 12) to leading order; without cells, 2 delta x."""
    x = np.linspace(-4, 4, 17)[:, None]
    np.testing.assert_allclose(GaussianClasses(0.1).log_ratio(x), 0.2 * x[:, 0], rtol=1e-14, atol=1e-15)
    for h in (0.01, 0.1):
        expected = 0.2 * x[:, 0] * (1 - h**2 / 12)
        np.testing.assert_allclose(GaussianClasses(0.1, h).log_ratio(x), expected, rtol=h**4, atol=1e-15)


@pytest.mark.parametrize("h", [0.1, 0.3])
def test_cells_lose_a_twelfth_of_their_square_of_the_information(h: float) -> None:
    """Fisher information on the fraction, at half: sum over cells of (n - d)^2 / (n + d) * 2."""

    def information(edges: np.ndarray) -> float:
        n, d = (np.diff(stats.norm.cdf(edges, mean)) for mean in (0.1, -0.1))
        n, d = n[n + d > 0], d[n + d > 0]
        return float(np.sum((n - d) ** 2 / (n + d)))

    fine = information(np.arange(-7, 7, 1e-3))
    lost = 1 - information(np.arange(-7, 7, h)) / fine
    assert lost == pytest.approx(h**2 / 12, rel=0.05)


def test_events_coincide_in_cells(rng: np.random.Generator) -> None:
    x = GaussianClasses(resolution=0.005).draw(25_000, rng, "signal")
    assert len(np.unique(x)) < 2000
    np.testing.assert_allclose(x, 0.005 * np.rint(x / 0.005), atol=0)


def test_settings_and_classes() -> None:
    task = build({"name": "gaussian_classes", "settings": {"separation": 0.2, "resolution": 0.01}})
    assert task.fidelities == {"signal": 1.0, "background": 1.0} and task.bounds.shape == (0, 2)
    with pytest.raises(ShapeError):
        GaussianClasses().log_ratio(np.zeros(3))

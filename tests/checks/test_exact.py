"""Distance from the exact posterior: Gaussians, whose total variation and divergence have closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from veridical.checks.exact import Exact, on_grid, optimal_accuracy, sliced_wasserstein
from veridical.errors import DataError, ShapeError

from .gaussian_model import gaussian, value

CELLS = np.linspace(-8, 8, 1601)
WIDTH = CELLS[1] - CELLS[0]


def _grid(
    rng: np.random.Generator, shift: float, sd: float = 1.0, n: int = 4000, g: int = 30
) -> dict[str, np.ndarray]:
    """Exact N(m, 1) with m random per data set, truths from it; the method says N(m + shift, sd^2)."""
    mean = rng.normal(size=n)
    truth = mean + rng.normal(size=n)
    at = CELLS + mean[:g, None]
    return {
        "log_p_truth": stats.norm.logpdf(truth, mean),
        "log_q_truth": stats.norm.logpdf(truth, mean + shift, sd),
        "log_p_grid": stats.norm.logpdf(at, mean[:g, None]) + 5.0,
        "log_q_grid": stats.norm.logpdf(at, mean[:g, None] + shift, sd),
        "cell_volume": np.array(WIDTH),
    }


@pytest.mark.parametrize("shift", [0.0, 0.3, 1.0, 3.0])
def test_shifted_gaussians_on_a_grid(shift: float, rng: np.random.Generator) -> None:
    """TV of N(0, 1) and N(m, 1) is 2 Phi(m / 2) - 1, the divergence m^2 / 2."""
    result = Exact().run(gaussian(rng), rng, exact=_grid(rng, shift))
    accuracy = value(result, "c2st")
    assert accuracy.value == pytest.approx(stats.norm.cdf(shift / 2), abs=1e-4)
    assert accuracy.n == 30
    gap = value(result, "nltp_gap")
    assert abs(gap.value - shift**2 / 2) <= 4 * gap.stderr
    assert gap.stderr == pytest.approx(shift / np.sqrt(4000), rel=0.1)
    np.testing.assert_allclose(result.curves["grid_mass"], 1, atol=1e-5)
    assert not result.notes


def test_a_wider_gaussian_on_a_grid(rng: np.random.Generator) -> None:
    """Densities of N(0, 1) and N(0, s^2) cross at +-c, c^2 = 2 s^2 log(s) / (s^2 - 1)."""
    result = Exact().run(gaussian(rng), rng, exact=_grid(rng, 0.0, 2.0, n=20_000))
    crossing = np.sqrt(8 * np.log(2) / 3)
    tv = 2 * (stats.norm.cdf(crossing) - stats.norm.cdf(crossing / 2))
    assert value(result, "c2st").value == pytest.approx(0.5 + tv / 2, abs=1e-4)
    gap = value(result, "nltp_gap")
    assert abs(gap.value - (np.log(2) + 1 / 8 - 0.5)) < 4 * gap.stderr


def test_what_lies_outside_the_grid_is_lost(rng: np.random.Generator) -> None:
    """A method far away from every cell is told apart always, though on the grid it may look flat."""
    result = Exact().run(gaussian(rng), rng, exact=_grid(rng, 40.0))
    assert value(result, "c2st").value == pytest.approx(1.0)
    assert "holds less than 98%" in result.notes[0]


def test_grids_are_normalised_by_their_cells() -> None:
    log_p = np.log(np.array([[1.0, 1.0, 2.0]]))
    found = on_grid(log_p, np.log(np.array([[0.5, 0.25, 0.0625]])), np.array([1.0, 1.0, 4.0]))
    np.testing.assert_allclose(found.p, [[0.1, 0.1, 0.8]])
    np.testing.assert_allclose(found.q, [[0.5, 0.25, 0.25]])
    np.testing.assert_allclose(optimal_accuracy(found), 0.5 + 0.25 * (0.4 + 0.15 + 0.55))


@pytest.mark.parametrize("d", [1, 3])
def test_sliced_distance_of_shifted_gaussians(d: int, rng: np.random.Generator) -> None:
    """A shift of m standard deviations is m / sqrt(D) apart, on the scale of the exact draws."""
    scale, shift = np.array([1.0, 100.0, 1e-3])[:d], 2.0
    exact, draws = rng.normal(size=(4000, d)), rng.normal(size=(4000, d))
    draws[:, 0] += shift
    found = sliced_wasserstein(draws * scale, exact * scale, rng, projections=500)
    assert found == pytest.approx(shift / np.sqrt(d), rel=0.08)  # directions: sd 0.9 / sqrt(500) / 2
    assert sliced_wasserstein(exact * scale, exact * scale, rng) == 0


def test_sliced_distance_of_a_wider_gaussian_with_fewer_draws(rng: np.random.Generator) -> None:
    found = sliced_wasserstein(3 * rng.normal(size=(20_000, 1)), rng.normal(size=(9_000, 1)), rng)
    assert found == pytest.approx(2, rel=0.05)


def test_posteriors_known_by_draws(rng: np.random.Generator) -> None:
    exact = rng.normal(size=(600, 3, 3))
    draws = rng.normal(size=(300, 3, 3)) + np.array([1.5, 0, 0])
    given = {"log_p_truth": np.zeros(5), "log_q_truth": np.zeros(5), "draws_exact": exact, "draws": draws}
    result = Exact(observations=2, draws=300).run(gaussian(rng), rng, exact=given)
    optimum = stats.norm.cdf(0.75)
    assert optimum - 0.1 < value(result, "c2st").value < optimum + 0.06
    assert abs(value(result, "c2st_null").value - 0.5) < 0.08  # 4 sqrt(1 / 4 / 600)
    assert value(result, "wasserstein").value == pytest.approx(1.5 / np.sqrt(3), rel=0.15)
    assert value(result, "wasserstein_null").value < 0.25
    assert result.curves["c2st"].shape == (2,)
    assert value(result, "c2st").n == 2


def test_a_method_that_excludes_the_truth(rng: np.random.Generator) -> None:
    given = _grid(rng, 0.0)
    given["log_q_truth"][:2] = -np.inf
    gap = value(Exact().run(gaussian(rng), rng, exact=given), "nltp_gap")
    assert gap.value == np.inf
    assert gap.stderr is None
    assert gap.extra == {"zero_densities": 2}


def test_what_cannot_be_compared_is_refused(rng: np.random.Generator) -> None:
    model, good = gaussian(rng), _grid(rng, 0.0)
    with pytest.raises(DataError, match="expected the exact posterior of the task, got none"):
        Exact().run(model, rng)
    with pytest.raises(DataError, match="cell_volume or draws_exact and draws"):
        Exact().run(model, rng, exact={n: good[n] for n in ("log_p_truth", "log_q_truth")})
    with pytest.raises(ShapeError, match="log_q_truth"):
        Exact().run(model, rng, exact=good | {"log_q_truth": np.zeros(3)})
    with pytest.raises(DataError, match="log_q_grid: expected finite numbers or -inf"):
        Exact().run(model, rng, exact=good | {"log_q_grid": good["log_q_grid"] * np.nan})
    with pytest.raises(DataError, match="some density for every data set"):
        Exact().run(model, rng, exact=good | {"log_p_grid": np.full_like(good["log_p_grid"], -np.inf)})
    with pytest.raises(DataError, match="at least 20 draws and 40"):
        few = {"draws_exact": np.zeros((30, 1, 1)), "draws": np.zeros((30, 1, 1))}
        Exact().run(model, rng, exact=good | few)

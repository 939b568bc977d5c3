"""Simulation-based calibration: closed forms, planted faults, documented blind spots."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from veridical.checks.sbc import SBC, uniform
from veridical.checks.uniformity import fractional_ranks, rank_grid

from .gaussian_model import Draws, gaussian, value

NULL = 9_999
GRID = rank_grid(999, 1000)


def _ranks_of_wrong_width(rng: np.random.Generator, width: float | np.ndarray, n: int, d: int) -> np.ndarray:
    """Fractional ranks for Gaussian posteriors whose sd is `width` times the exact one, S = 999."""
    below = rng.binomial(999, stats.norm.cdf(rng.normal(size=(n, d)) / width))
    return (below + rng.random((n, d))) / 1000


def _share_rejected(draw: Callable[[], np.ndarray], repeats: int) -> float:
    return float(np.mean([uniform(draw(), GRID, 0.05, NULL).family < 0 for _ in range(repeats)]))


@pytest.mark.parametrize(("scale", "rejected"), [(1.0, False), (0.5, True), (2.0, True), (None, False)])
def test_ranks_of_the_gaussian_model(scale: float | None, rejected: bool, rng: np.random.Generator) -> None:
    """Too narrow and too wide are always found; the exact posterior and, a blind spot, the prior pass."""
    repeats = 10
    shares = []
    for _ in range(repeats):
        model = gaussian(rng, scale)
        u = fractional_ranks(model.draws, model.truth, rng)
        shares.append(uniform(u, GRID, 0.05, NULL).family < 0)
    if rejected:
        assert all(shares)
    else:
        assert sum(shares) <= stats.binom.ppf(1 - 1e-4, repeats, 0.05)


@pytest.mark.parametrize("d", [1, 8])
def test_family_wise_level(d: int, rng: np.random.Generator) -> None:
    repeats = 400
    share = _share_rejected(lambda: _ranks_of_wrong_width(rng, 1.0, 300, d), repeats)
    assert share <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / repeats)
    assert share > 0.05 - 4 * np.sqrt(0.05 * 0.95 / repeats)


def test_dependent_parameters_keep_the_level(rng: np.random.Generator) -> None:
    """Bonferroni holds whatever the dependence: eight copies of one parameter are rejected less often."""
    repeats = 200
    share = _share_rejected(lambda: np.tile(_ranks_of_wrong_width(rng, 1.0, 300, 1), 8), repeats)
    assert share <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / repeats)


@pytest.mark.parametrize(("n", "power"), [(300, 0.36), (1000, 0.87)])
def test_power_against_ten_percent_too_narrow(n: int, power: float, rng: np.random.Generator) -> None:
    """Measured elsewhere for one parameter; both measurements carry an error of some hundred repeats."""
    repeats = 200
    share = _share_rejected(lambda: _ranks_of_wrong_width(rng, 0.9, n, 1), repeats)
    assert abs(share - power) < 4 * np.sqrt(power * (1 - power) * (1 / repeats + 1 / 200))


def test_one_bad_parameter_among_eight_is_found_and_named(rng: np.random.Generator) -> None:
    model = gaussian(rng, 1.0, d=8)
    draws = model.draws.copy()
    draws[:, :, 3] += 0.3 * np.sqrt(0.5)
    result = SBC().run(Draws(model.names, draws, truth=model.truth), rng)
    assert result.passed is False
    assert value(result, "log_gamma").value < 0
    assert result.p_value == value(result, "sbc_p").value <= 0.05
    found = {name: value(result, "log_gamma", name).value for name in model.names}
    assert min(found, key=lambda name: found[name]) == "p3"
    curve = result.curves["ecdf"][3]
    assert (curve > result.curves["upper"]).any()  # truth below the draws: small ranks in excess


def test_wrong_dependence_shows_in_the_density_only(rng: np.random.Generator) -> None:
    """Marginals are exact but a correlation of 0.95 is missing: only the joint density can tell."""
    n, s = 500, 499
    chol = np.linalg.cholesky([[1, 0.95], [0.95, 1]])
    truth, draws = rng.normal(size=(n, 2)) @ chol.T, rng.normal(size=(s, n, 2))

    def log_q(theta: np.ndarray) -> np.ndarray:
        return -0.5 * (theta**2).sum(axis=-1)

    fake = Draws(("a", "b"), draws, log_q(draws), truth, log_q(truth))
    result = SBC().run(fake, rng)
    assert result.p_value > 1e-3
    assert value(result, "log_gamma", "log_density").value < 0
    assert value(result, "sbc_p", "log_density").value < 0.01


def test_density_ranks_cannot_see_the_prior(rng: np.random.Generator) -> None:
    """The documented blind spot: the density of a posterior that ignores x does not depend on x either."""
    rejected = 0
    for _ in range(8):
        result = SBC(bootstrap=2).run(gaussian(rng, None), rng)
        rejected += value(result, "log_gamma", "log_density").value < 0
    assert rejected <= stats.binom.ppf(1 - 1e-4, 8, 0.05)


def test_densities_of_zero_are_ranked_last(rng: np.random.Generator) -> None:
    model = gaussian(rng, 1.0, n=100)
    log_truth = model.log_density_truth.copy()
    log_truth[:60] = -np.inf
    fake = Draws(model.names, model.draws, model.log_density, model.truth, log_truth)
    result = SBC().run(fake, rng)
    assert np.isfinite(value(result, "log_gamma", "log_density").value)
    assert value(result, "log_gamma", "log_density").value < 0


def test_the_error_is_the_spread_over_test_sets(rng: np.random.Generator) -> None:
    """The bootstrap error of a clear failure agrees with the spread over independent test sets."""
    runs = [SBC().run(gaussian(rng, 0.5, n=200, s=199), rng) for _ in range(20)]
    metrics = [value(run, "log_gamma", "p0") for run in runs]
    spread = np.std([m.value for m in metrics], ddof=1)
    stated = np.mean([m.stderr for m in metrics])
    assert 0.5 < stated / spread < 2  # a spread of 20 numbers is known to 16 %

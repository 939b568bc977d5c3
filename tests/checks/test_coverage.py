"""Expected coverage and ACAUC against closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from veridical.checks.coverage import (
    GAP_LEVELS,
    Coverage,
    acauc,
    central_levels,
    coverage_gap,
    expected_coverage,
    expected_gap,
    hpd_levels,
)
from veridical.errors import DataError

from .gaussian_model import Draws, gaussian, value


def _coverage(scale: float, level: np.ndarray | float) -> np.ndarray:
    """Coverage of intervals of a Gaussian posterior whose sd is `scale` times the exact one."""
    return 2 * stats.norm.cdf(scale * stats.norm.ppf((1 + np.asarray(level)) / 2)) - 1


@pytest.mark.parametrize("scale", [0.5, 0.9, 1.0, 2.0])
def test_coverage_of_a_posterior_of_wrong_width(scale: float, rng: np.random.Generator) -> None:
    result = Coverage().run(gaussian(rng, scale, n=2000, s=499), rng)
    for level in (0.5, 0.8, 0.9, 0.95):
        expected = _coverage(scale, level)
        error = np.sqrt(expected * (1 - expected) / 2000)
        for metric in ("coverage", "hpd_coverage"):
            found = value(result, metric, level=level)
            assert abs(found.value - expected) < 4 * error + 0.5 / 499  # S draws blur an interval's ends
            if expected * (1 - expected) * 2000 > 25:  # else too few misses to tell their error
                assert found.stderr == pytest.approx(error, rel=0.2)
    area = 2 / np.pi * np.arctan(1 / scale) - 0.5
    for name, expected in (("acauc", area), ("hpd_area", -area)):
        found = value(result, name)
        assert abs(found.value - expected) < 4 * found.stderr
    levels = np.asarray(GAP_LEVELS)
    gap = np.abs(_coverage(scale, levels) - levels).mean()
    found = value(result, "coverage_gap")
    assert abs(found.value - gap) < 4 * found.stderr + expected_gap(2000)
    assert (result.p_value > 1e-3) == (scale == 1.0)


def test_acauc_of_the_prior_is_blind(rng: np.random.Generator) -> None:
    model = gaussian(rng, None, n=4000, s=99)
    levels = central_levels(model.draws, model.truth, rng)
    assert abs(acauc(levels)[0]) < 4 * np.sqrt(1 / 12 / 4000)


def test_acauc_is_the_integral_of_its_definition(rng: np.random.Generator) -> None:
    levels = rng.beta(2, 1, size=(50, 3))
    a = (np.arange(20_000) + 0.5) / 20_000
    integral = np.mean(a[:, None, None] - (levels <= a[:, None, None]), axis=0).mean(axis=0)
    np.testing.assert_allclose(acauc(levels), integral, atol=1e-4)


@pytest.mark.parametrize("s", [10, 50, 999])
def test_an_exact_posterior_is_exactly_covered_with_few_draws(s: int, rng: np.random.Generator) -> None:
    n = 20_000
    draws, truth = rng.normal(size=(s, n)), rng.normal(size=n)
    log_q, log_truth = -(draws**2), -(truth**2)
    for levels in (central_levels(draws, truth, rng), hpd_levels(log_q, log_truth, rng)):
        assert stats.kstest(levels, "uniform").pvalue > 1e-4


def test_expected_coverage_counts_levels() -> None:
    levels = np.array([[0.1], [0.2], [0.2], [0.7]])
    np.testing.assert_allclose(expected_coverage(levels, [0.05, 0.2, 0.5, 0.9]), [[0, 0.75, 0.75, 1]])


def test_expected_gap_is_the_mean_gap_of_uniform_levels(rng: np.random.Generator) -> None:
    gaps = coverage_gap(rng.random((100, 4000)))
    assert abs(gaps.mean() - expected_gap(100)) < 4 * gaps.std() / np.sqrt(4000)


def test_hpd_levels_at_the_extremes(rng: np.random.Generator) -> None:
    log_q = np.tile(np.linspace(-3, 0, 99)[:, None], (1, 3))
    levels = hpd_levels(log_q, np.array([1.0, -9.0, -np.inf]), rng)
    assert levels[0] <= 0.01
    assert (levels[1:] >= 0.99).all()


def test_the_family_holds_its_level(rng: np.random.Generator) -> None:
    """One density and four parameters share five percent."""
    repeats = 100
    check = Coverage(bootstrap=2)
    failed = sum(not check.run(gaussian(rng, 1.0, n=100, s=99, d=4), rng).passed for _ in range(repeats))
    assert failed <= stats.binom.ppf(1 - 1e-4, repeats, 0.05)


def test_one_narrow_parameter_among_eight(rng: np.random.Generator) -> None:
    model = gaussian(rng, 1.0, d=8)
    draws = model.draws.copy()
    centre = model.x[:, 5] / 2
    draws[:, :, 5] = centre + 0.7 * (draws[:, :, 5] - centre)
    result = Coverage().run(Draws(model.names, draws, truth=model.truth), rng)
    assert result.passed is False
    areas = {name: value(result, "acauc", name).value for name in model.names}
    assert max(areas, key=lambda name: areas[name]) == "p5"
    assert "hpd" not in result.curves
    outside = (result.curves["central"] < result.curves["lower"]).any(axis=1)
    assert outside[5] and outside.sum() == 1


def test_undefined_densities_are_refused(rng: Any) -> None:
    model = gaussian(rng, 1.0, n=50, s=99)
    bad = model.log_density.copy()
    bad[3, 4] = np.nan
    with pytest.raises(DataError, match="log_density: expected finite numbers or -inf, got 1 of"):
        Coverage().run(Draws(model.names, model.draws, bad, model.truth, model.log_density_truth), rng)


def test_residuals_are_curves_minus_their_level(rng: np.random.Generator) -> None:
    model = gaussian(rng, 0.5, n=200, s=99, d=2)
    with_densities = Coverage(bootstrap=2).run(model, rng).curves
    for name in ("central", "hpd", "lower", "upper"):
        expected = with_densities[name] - with_densities["levels"]
        np.testing.assert_array_equal(with_densities[f"residual_{name}"], expected)
    assert (with_densities["residual_central"][:, 50] < with_densities["residual_lower"][50]).all()
    truth_only = Draws(model.names, model.draws, truth=model.truth, log_density_truth=model.log_density_truth)
    without = Coverage(bootstrap=2).run(truth_only, rng)
    assert "residual_hpd" not in without.curves
    assert without.curves["residual_central"].shape == (2, 99)
    assert not any(m.name.startswith("hpd") for m in without.metrics())

"""Posterior predictive checks: exact for data from the predictive, alarmed by data that are not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from veridical.checks.predictive import Predictive, discrepancy, distances
from veridical.errors import DataError, ShapeError

from .gaussian_model import Draws, value

SHAPE = (6, 2)


def _predictive(rng: np.random.Generator, n: int) -> np.ndarray:
    """Skewed, correlated series such as counts of a population."""
    common = rng.normal(size=(n, 1, 1))
    return np.exp(0.7 * common + 0.4 * rng.normal(size=(n, *SHAPE)) + np.arange(6)[:, None])


def observed(x: np.ndarray) -> Draws:
    """Draws of a posterior for the observations given."""
    return Draws(("a",), np.zeros((2, len(x), 1)), x=x)


def test_p_values_are_uniform_for_data_from_the_predictive(rng: np.random.Generator) -> None:
    p_values = []
    for _ in range(200):
        result = Predictive().run(observed(_predictive(rng, 1)), rng, predictive=_predictive(rng, 200))
        p_values.append(value(result, "predictive_p").value)
    assert stats.kstest(np.array(p_values) - rng.random(200) / 101, "uniform").pvalue > 1e-4


def test_an_outlier_in_one_coordinate_is_found(rng: np.random.Generator) -> None:
    x = np.exp(np.tile(np.arange(6.0)[:, None], (1, 2)))[None]
    good = Predictive().run(observed(x), rng, predictive=_predictive(rng, 1000))
    assert good.passed
    x[0, 3, 1] *= 50
    bad = Predictive().run(observed(x), rng, predictive=_predictive(rng, 1000))
    assert bad.passed is False
    assert value(bad, "predictive_p").value < 0.01


def test_bands_cover_what_they_say(rng: np.random.Generator) -> None:
    """Over observations from the predictive, coverage scatters about its level as its error says."""
    found = []
    for _ in range(100):
        result = Predictive(bootstrap=2).run(
            observed(_predictive(rng, 1)), rng, predictive=_predictive(rng, 400)
        )
        found.append([value(result, "predictive_coverage", level=a) for a in (0.5, 0.9)])
    for i, level in enumerate((0.5, 0.9)):
        shares = np.array([m[i].value for m in found])
        stated = np.mean([m[i].stderr for m in found])
        assert abs(shares.mean() - level) < 4 * stated / 10 + 0.01
        assert 0.6 < shares.std(ddof=1) / stated < 1.6


def test_the_posterior_is_nearer_than_the_prior(rng: np.random.Generator) -> None:
    x, prior = rng.normal(size=(1, *SHAPE)), 3 * rng.normal(size=(500, *SHAPE))
    predictive = x + 0.3 * rng.normal(size=(400, *SHAPE))
    result = Predictive().run(observed(x), rng, predictive=predictive, prior_predictive=prior)
    found = value(result, "predictive_distance")
    # root mean square of 12 Gaussians of sd 0.3 in units of the prior's spread of 3
    expected = 0.1 * np.sqrt(stats.chi2(12).median() / 12)
    assert abs(found.value - expected) < 4 * found.stderr + 0.1 * expected  # spreads of 500 draws
    assert value(result, "prior_predictive_distance").value > 5 * found.value
    assert result.curves["prior_bands"].shape == (5, *SHAPE)


def test_failed_prior_simulations_are_left_out(rng: np.random.Generator) -> None:
    prior = rng.normal(size=(100, *SHAPE))
    prior[::2, 0] = np.nan
    x, predictive = rng.normal(size=(1, *SHAPE)), rng.normal(size=(100, *SHAPE))
    result = Predictive().run(observed(x), rng, predictive=predictive, prior_predictive=prior)
    assert np.isfinite(result.curves["prior_bands"]).all()


def test_several_observations_share_the_level(rng: np.random.Generator) -> None:
    x, predictive = _predictive(rng, 3), _predictive(rng, 3 * 400).reshape(400, 3, *SHAPE)
    x[2] *= 200
    result = Predictive().run(observed(x), rng, predictive=predictive, prior_predictive=_predictive(rng, 300))
    assert result.curves["bands"].shape == (5, 3, *SHAPE)
    assert value(result, "predictive_p").value == pytest.approx(3 / 201)
    assert result.passed is None  # 3 / 201 is the least there is, and above 0.01
    assert all(np.isfinite(m.value) for m in result.metrics())


def test_failed_predictions_are_counted_and_left_out(rng: np.random.Generator) -> None:
    x, predictive = rng.normal(size=(1, *SHAPE)), rng.normal(size=(400, *SHAPE)).astype(np.float32)
    predictive[:100] = np.nan  # as the bank has failed rows
    result = Predictive().run(observed(x), rng, predictive=predictive)
    assert value(result, "predictive_invalid_share").value == 0.25
    assert "100 simulations at posterior draws failed" in result.notes[-1]
    assert np.isfinite(result.curves["bands"]).all()
    predictive[:370] = np.nan
    result = Predictive().run(observed(x), rng, predictive=predictive)
    assert result.passed is None
    assert "30 valid predictions are too few" in result.notes[0]


def test_coordinates_that_never_change_count_only_when_they_differ(rng: np.random.Generator) -> None:
    replicates = rng.normal(size=(200, 3))
    replicates[:, 1] = 7.0
    same, other = np.array([0.0, 7.0, 0.0]), np.array([0.0, 7.1, 0.0])
    assert discrepancy(same, replicates) < 1
    assert discrepancy(other, replicates) > 1e6
    assert np.isfinite(distances(other, replicates, replicates)).all()
    with pytest.raises(DataError, match="no spread at all"):
        distances(same, replicates, np.ones((50, 3)))


def test_shapes_that_do_not_fit_are_refused(rng: np.random.Generator) -> None:
    x = rng.normal(size=(1, *SHAPE))
    with pytest.raises(ShapeError, match=r"predictive: expected shape \(any, 1, 6, 2\), got \(50, 6, 3\)"):
        Predictive().run(observed(x), rng, predictive=np.zeros((50, 6, 3)))
    with pytest.raises(ShapeError, match="prior predictive"):
        Predictive().run(
            observed(x), rng, predictive=rng.normal(size=(50, *SHAPE)), prior_predictive=np.zeros((50, 6))
        )
    with pytest.raises(DataError, match="data simulated at the draws"):
        Predictive().run(observed(x), rng)
    with pytest.raises(DataError, match="x: expected finite numbers"):
        Predictive().run(observed(np.full_like(x, np.nan)), rng, predictive=rng.normal(size=(50, *SHAPE)))

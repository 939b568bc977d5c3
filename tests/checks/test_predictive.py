"""Predictive checks: what they tabulate, what they leave out, what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from veridical.checks.predictive import Predictive, distances
from veridical.errors import DataError, ShapeError
from veridical.evidence import reproduced
from veridical.saved.predictions import Predictions

from .gaussian_model import Draws, value

SHAPE = (6, 2)
AXES = [{"name": "year", "coordinates": list(range(6))}, {"name": "species", "coordinates": ["hare", "lynx"]}]


def _predictive(rng: np.random.Generator, *n: int) -> np.ndarray:
    """Skewed, correlated series such as counts of a population."""
    common = rng.normal(size=(*n, 1, 1))
    return np.exp(0.7 * common + 0.4 * rng.normal(size=(*n, *SHAPE)) + np.arange(6)[:, None])


def observed(x: np.ndarray) -> Draws:
    """Draws of a posterior for the observations given."""
    return Draws(("a",), np.zeros((2, len(x), 1)), x=x)


def predictions(x: np.ndarray, replicates: np.ndarray, **more: Any) -> Predictions:
    """Predictions x (S, N, ...) and replicates (K, R, N, ...)."""
    n = x.shape[1]
    return Predictions(x, np.zeros((len(x), n, 1)), replicates, np.zeros((len(replicates), n, 1)), **more)


def drawn(rng: np.random.Generator, observations: int = 1, rows: int = 400) -> Predictions:
    made = _predictive(rng, 2, rows, observations), _predictive(rng, rows, observations)
    return predictions(made[1], made[0], axes=AXES)


def test_an_outlier_in_one_coordinate_is_found_marked_and_told(rng: np.random.Generator) -> None:
    x = _predictive(rng, 1)
    good = Predictive().run(observed(x), rng, predictive=drawn(rng))
    assert good.passed
    x[0, 3, 1] *= 50
    bad = Predictive().run(observed(x), rng, predictive=drawn(rng))
    assert bad.passed is False
    assert np.argwhere(bad.curves["named"]).tolist() == [[0, 3, 1]]
    told = reproduced.of_check(bad.to_json())
    assert told is not None
    assert "year 3, species lynx lies" in told.sentence
    assert told.sentence.startswith(
        "Simulations at the answer do not look like the data (predictive p = 0.0025): "
    )
    assert any("year 3, species lynx" in note for note in bad.notes)


def test_bands_cover_what_they_say(rng: np.random.Generator) -> None:
    """Over observations from the predictive, coverage scatters about its level as its error says."""
    found = []
    for _ in range(100):
        made = predictions(_predictive(rng, 400, 1), _predictive(rng, 1, 40, 1))
        result = Predictive(bootstrap=2).run(observed(_predictive(rng, 1)), rng, predictive=made)
        found.append([value(result, "predictive_coverage", level=a) for a in (0.5, 0.9)])
    for i, level in enumerate((0.5, 0.9)):
        shares = np.array([m[i].value for m in found])
        stated = np.mean([m[i].stderr for m in found])
        assert abs(shares.mean() - level) < 4 * stated / 10 + 0.01
        assert 0.6 < shares.std(ddof=1) / stated < 1.6


def test_the_posterior_is_nearer_than_the_prior(rng: np.random.Generator) -> None:
    x, prior = rng.normal(size=(1, *SHAPE)), 3 * rng.normal(size=(500, *SHAPE))
    made = x + 0.3 * rng.normal(size=(400, 1, *SHAPE))
    result = Predictive().run(
        observed(x), rng, predictive=predictions(made, made[None]), prior_predictive=prior
    )
    found = value(result, "predictive_distance")
    # root mean square of 12 Gaussians of sd 0.3 in units of the prior's spread of 3
    expected = 0.1 * np.sqrt(stats.chi2(12).median() / 12)
    assert abs(found.value - expected) < 4 * found.stderr + 0.1 * expected  # spreads of 500 draws
    assert value(result, "prior_predictive_distance").value > 5 * found.value
    assert result.curves["prior_bands"].shape == (5, *SHAPE)


def test_failed_prior_simulations_are_left_out(rng: np.random.Generator) -> None:
    prior = rng.normal(size=(100, *SHAPE))
    prior[::2, 0] = np.nan
    x = rng.normal(size=(1, *SHAPE))
    result = Predictive().run(observed(x), rng, predictive=drawn(rng), prior_predictive=prior)
    assert np.isfinite(result.curves["prior_bands"]).all()


def test_several_observations_share_the_level(rng: np.random.Generator) -> None:
    x = _predictive(rng, 3)
    x[2] *= 200
    result = Predictive().run(
        observed(x), rng, predictive=drawn(rng, 3), prior_predictive=_predictive(rng, 300)
    )
    assert result.curves["bands"].shape == (5, 3, *SHAPE)
    assert value(result, "predictive_p", level=0.03).value == pytest.approx(2 / 401)
    assert result.passed is False
    members = [m for m in result.metrics() if m.name == "predictive_member_p"]
    assert [m.extra["observation"] for m in members] == [0, 1, 2]
    assert [m.value <= 0.015 for m in members] == [False, False, True]
    assert all(np.isfinite(m.value) for m in result.metrics())
    few = Predictive(alpha=0.01).run(observed(x), rng, predictive=drawn(rng, 3, rows=150))
    assert few.passed is None  # 2 / 151 is the least there is, and above 0.01
    assert "150 replicates cannot tell" in few.notes[0]


def test_failed_predictions_are_counted_and_left_out(rng: np.random.Generator) -> None:
    x, made = rng.normal(size=(1, *SHAPE)), rng.normal(size=(400, 1, *SHAPE)).astype(np.float32)
    made[:100] = np.nan  # as the bank has failed rows
    result = Predictive().run(observed(x), rng, predictive=predictions(made, made[None]))
    assert value(result, "predictive_invalid_share").value == 0.25
    assert "200 simulations at posterior draws failed" in result.notes[-1]
    assert np.isfinite(result.curves["bands"]).all()
    made[:370] = np.nan
    result = Predictive().run(observed(x), rng, predictive=predictions(made, made[None]))
    assert result.passed is None
    assert "30 valid predictions are too few" in result.notes[0]


def test_predictions_of_an_earlier_version_test_nothing(rng: np.random.Generator) -> None:
    made = rng.normal(size=(100, 1, *SHAPE))
    none = predictions(made, np.empty((0, 0, 1, *SHAPE)))
    result = Predictive().run(observed(made[0]), rng, predictive=none)
    assert result.passed is None
    assert "0 valid predictions are too few" in result.notes[0]


def test_coordinates_without_spread_are_left_out_of_distances(rng: np.random.Generator) -> None:
    replicates = rng.normal(size=(200, 3))
    replicates[:, 1] = 7.0
    assert np.isfinite(distances(np.array([0.0, 7.1, 0.0]), replicates, replicates)).all()
    with pytest.raises(DataError, match="no spread at all"):
        distances(np.zeros(3), replicates, np.ones((50, 3)))


def test_shapes_that_do_not_fit_are_refused(rng: np.random.Generator) -> None:
    x = rng.normal(size=(1, *SHAPE))
    with pytest.raises(
        ShapeError, match=r"predictions: expected shape \(any, 1, 6, 2\), got \(50, 1, 6, 3\)"
    ):
        Predictive().run(
            observed(x), rng, predictive=predictions(np.zeros((50, 1, 6, 3)), np.zeros((1, 50, 1, 6, 3)))
        )
    with pytest.raises(ShapeError, match="prior predictive"):
        Predictive().run(observed(x), rng, predictive=drawn(rng), prior_predictive=np.zeros((50, 6)))
    with pytest.raises(DataError, match="data simulated at the draws"):
        Predictive().run(observed(x), rng)
    with pytest.raises(DataError, match="every value is missing"):
        Predictive().run(observed(np.full_like(x, np.nan)), rng, predictive=drawn(rng))

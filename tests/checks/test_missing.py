"""Checks of data with missing values (NaN): what is there is judged, other gaps than simulated are told."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from veridical.checks import missing, prior_predictive
from veridical.checks.predictive import Predictive, look
from veridical.checks.tarp import TARP
from veridical.saved.posteriors import Draws

LEVELS = [0.05, 0.16, 0.5, 0.95]
SETS = 400


def sets(rng: np.random.Generator, rows: int, most: int = 20) -> np.ndarray:
    """Standard normal numbers, between 1 and `most` in a row of 20."""
    n = rng.integers(1, most + 1, size=(rows, 1))
    return np.where(np.arange(20) < n, rng.normal(size=(rows, 20)), np.nan)


def test_statistics_are_those_of_numpy_for_what_is_there(rng: np.random.Generator) -> None:
    rows = sets(rng, 60)
    np.testing.assert_allclose(missing.quantiles(rows, LEVELS), np.nanquantile(rows, LEVELS, axis=0))
    np.testing.assert_allclose(missing.deviation(rows), np.nanstd(rows, axis=0))
    np.testing.assert_allclose(missing.mean(rows), np.nanmean(rows, axis=1))
    whole = rng.normal(size=(60, 4))
    assert np.array_equal(missing.quantiles(whole, LEVELS), np.quantile(whole, LEVELS, axis=0))
    assert np.isnan(missing.quantiles(np.full((5, 2), np.nan), LEVELS)).all()
    assert (missing.deviation(np.full((5, 2), np.nan)) == 0).all()


def test_predictive_p_values_of_data_with_gaps_are_uniform(rng: np.random.Generator) -> None:
    """Data and predictions of one model; 300 p-values on a grid of 1/101, held at 5 % by a binomial."""
    p = [look(x, sets(rng, 200), np.array([0.9]), rng).p for x in sets(rng, 300)]
    assert abs(np.mean(np.array(p) <= 0.1) - 0.1) < 4 * np.sqrt(0.1 * 0.9 / 300)


def test_predictions_cover_what_is_there_and_outliers_are_seen(rng: np.random.Generator) -> None:
    x, prior = sets(rng, 1), sets(rng, SETS)
    x[:, :2] = 0.5
    draws = Draws(names=("a",), bounds=np.array([[-np.inf, np.inf]]), units=("",),
                  draws=np.zeros((10, 1, 1)), x=x)  # fmt: skip
    for shift, passed in ((0.0, True), (30.0, False)):
        judged = Predictive().run(
            Draws(**{**vars(draws), "x": x + shift}), rng, predictive=sets(rng, SETS), prior_predictive=prior
        )
        table = {(m.name, m.level): m for m in judged.metrics()}
        assert judged.passed is passed
        assert all(np.isfinite(m.value) for m in judged.metrics())
        assert table["predictive_coverage", 0.9].n == np.isfinite(x).sum()
        assert (table["predictive_coverage", 0.9].value > 0.5) is passed
        assert table["predictive_invalid_share", None].value == 0
    json.dumps(judged.to_json(), allow_nan=False)


def test_the_look_leaves_out_what_is_missing(rng: np.random.Generator) -> None:
    prior = sets(rng, SETS)
    prior[:, 19] = np.nan
    x = np.where(np.arange(20) < 3, 0.0, np.nan)[None]
    x[0, 1] = 50.0
    found = prior_predictive.look(x, prior)
    json.dumps(found, allow_nan=False)
    assert found["inside_shares"] == [pytest.approx(2 / 3)]
    assert found["quantiles"][0][1] == 1 and found["quantiles"][0][5] is None
    assert found["bands"][0][19] is None and "missing" not in found


@pytest.mark.parametrize(
    ("x", "simulated", "message"),
    [
        ((1, 5), (300, 5), "1 of 1 observations lack 2 of 20 numbers, simulations 15 to 19"),
        ((60, 20), (300, 20), "lack"),
        ((60, 5), (300, 20), r"8\d% of the numbers of the data are missing, 4\d% in simulations"),
        ((1, 0), (300, 20), "3 of 20 numbers are missing, or there, in the data and in no simulation"),
        ((1, 20), (300, 20), ""),
        ((60, 19), (300, 19), ""),
    ],
    ids=["more there", "all", "rate", "places", "alike", "all alike"],
)
def test_other_values_missing_than_in_simulations_are_noticed(
    x: tuple[int, int], simulated: tuple[int, int], message: str
) -> None:
    rng = np.random.default_rng(8)
    cloud, data = sets(rng, *simulated), sets(rng, x[0], max(x[1], 1))
    if message.startswith("1 of"):
        data = np.where(np.arange(20) < 18, 0.0, np.nan)[None]
    if message == "lack":
        cloud, message = rng.normal(size=cloud.shape), r"60 of 60 observations lack \d+ to \d+ of 20"
        data[:, 19] = np.nan
    if "places" in message or x[1] == 0:
        cloud[:, :3], data = 0.0, np.where(np.arange(20) < 3, np.nan, 0.0)[None]
    told = missing.unlike(data, cloud)
    assert re.search(message, told) if message else told == ""


def test_false_alarms_of_one_observation_are_rare(rng: np.random.Generator) -> None:
    """Beyond all of 200 exchangeable simulations lies 1 in 201 at each end, and 1 in 201 in its places."""
    n, gaps = 400, np.array(0.02)
    alarms = sum(
        bool(missing.unlike(*(np.where(rng.random((k, 30)) < gaps, np.nan, 0.0) for k in (1, 200))))
        for _ in range(n)
    )
    assert alarms / n < 3 / 201 + 4 * np.sqrt(3 / 201 / n)


def test_tarp_finds_a_posterior_that_ignores_data_with_gaps(rng: np.random.Generator) -> None:
    """Exact draws for sets of 1 to 20 measurements pass, those of the prior do not."""
    truth = rng.normal(size=(SETS, 1))
    x = truth + sets(rng, SETS)
    n = np.isfinite(x).sum(axis=1)[:, None]
    exact = np.nansum(x, axis=1)[:, None] / (1 + n) + rng.normal(size=(200, SETS, 1)) / np.sqrt(1 + n)
    for made, passed in ((exact, True), (rng.normal(size=exact.shape), False)):
        draws = Draws(names=("a",), bounds=np.array([[-np.inf, np.inf]]), units=("",),
                      draws=made, truth=truth, x=x)  # fmt: skip
        assert TARP(null_draws=999).run(draws, rng).passed is passed

"""The look at real data: where they lie in the cloud of prior predictions."""

from __future__ import annotations

import json

import numpy as np
import pytest

from veridical.checks import prior_predictive
from veridical.errors import ShapeError, SimulationError


def test_data_from_the_prior_are_inside_the_cloud(rng: np.random.Generator) -> None:
    """A share of 0.99 is inside, with the error of 4,000 values and of quantiles from 4,000 simulations."""
    found = prior_predictive.look(rng.normal(size=(1000, 2, 2)), rng.normal(size=(4000, 2, 2)))
    error = np.sqrt(0.99 * 0.01 * (1 / 4000 + 1 / 4000 * 2))
    assert abs(found["inside_share"] - 0.99) < 4 * error
    quantiles = np.array(found["quantiles"])
    assert quantiles.shape == (1000, 2, 2)
    assert abs(quantiles.mean() - 0.5) < 4 * np.sqrt(1 / 12 / 4000 * 2)
    assert np.shape(found["bands"]) == (len(found["levels"]), 2, 2)
    assert len(found["inside_shares"]) == 1000
    json.dumps(found, allow_nan=False)


def test_data_far_away_are_outside_value_by_value(rng: np.random.Generator) -> None:
    cloud = rng.normal(size=(500, 3))
    cloud[7] = np.nan
    found = prior_predictive.look(
        np.array([[0.0, 0.0, 100.0], [-100.0, -100.0, 0.0], [0.0, 0.0, 0.0]]), cloud
    )
    np.testing.assert_allclose(found["inside_shares"], [2 / 3, 1 / 3, 1.0])
    quantiles = np.array(found["quantiles"])
    assert quantiles[0, 2] == 1 and (quantiles[1, :2] == 0).all()
    assert found["n_simulated"] == 499


def test_ties_count_by_half() -> None:
    found = prior_predictive.look(np.array([[2.0]]), np.array([[1.0], [2.0], [2.0], [3.0]]))
    assert found["quantiles"] == [[0.5]]


def test_data_of_another_shape_or_no_simulations_are_refused() -> None:
    with pytest.raises(ShapeError, match="observations: expected shape"):
        prior_predictive.look(np.zeros((1, 3)), np.zeros((10, 4)))
    with pytest.raises(SimulationError, match="none of 10 simulations is finite"):
        prior_predictive.look(np.zeros((1, 3)), np.full((10, 3), np.inf))

"""Estimates by scoring rules where data say nothing, so that the prior's own mean and quantiles are right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from veridical import seeds
from veridical.errors import TrainingError
from veridical.estimators.base import Material, Rows, TaskInfo
from veridical.estimators.score import Score
from veridical.estimators.score_settings import ScoreSettings
from veridical.tasks.discrete import Integers
from veridical.tasks.joint import Joint
from veridical.training.session import Session

RATE = TaskInfo("rate", ("rate",), np.array([(0.0, np.inf)]), ("1/s",), (2,))
RUN = Session(20261129, ("score", 0))


def fitted(score: str) -> tuple[Score, Any]:
    rng = seeds.generator(1, "test", "score")
    theta, x = rng.lognormal(0.0, 1.0, (6000, 1)), rng.standard_normal((6000, 2))
    rows = Rows(theta, x.astype(np.float32), np.arange(6000) % 10 == 9)
    training = {"epochs": 15, "batch_size": 200, "learning_rate": 3e-3}
    spec = {"score": score, "hidden": [16], "summary": {"type": "mlp", "hidden": [16], "features": 4}}
    return Score.fit(ScoreSettings.model_validate({**spec, "training": training}), RATE, Material(rows), RUN)[
        0
    ], x


@pytest.mark.parametrize("score", ["quantile", "interval"])
def test_means_are_of_parameters_and_quantiles_of_any_coordinates(score: str) -> None:
    """E theta = exp(1/2), not exp(E log theta) = 1; intervals hold the share that they state."""
    found, x = fitted(score)
    x = x[:400].astype(np.float32)
    assert found.means(x).shape == (400, 1)
    assert abs(found.means(x).mean() - np.exp(0.5)) < 4.5 * np.exp(0.5) * np.sqrt(np.e - 1) / np.sqrt(5400)
    fresh = seeds.generator(1, "test", "fresh").lognormal(0.0, 1.0, (50, 400))
    for level in (0.5, 0.9, 0.85):
        ends = found.intervals(x, level)[:, 0]
        held = ((fresh > ends[:, 0]) & (fresh < ends[:, 1])).mean()
        assert abs(held - level) < 0.04, (level, held)
        exact = stats.lognorm(1.0).ppf([0.5 - level / 2, 0.5 + level / 2])
        np.testing.assert_allclose(np.log(ends).mean(axis=0), np.log(exact), atol=0.15)
    draws = found.sample(x, 200, seeds.generator(1, "test", "draws"))
    median = np.median(np.log(draws), axis=0)
    assert abs(median.mean()) < 0.1


def test_discrete_parameters_and_levels_out_of_order_are_refused() -> None:
    prior = Joint({("n",): Integers(0, 4)})
    task = TaskInfo("whole", ("n",), np.array([(0.0, 4.0)]), ("",), (2,), constraints=prior.constraints)
    with pytest.raises(TrainingError, match="discrete, which have no intervals"):
        Score.fit(ScoreSettings(), task, Material(), RUN)
    with pytest.raises(ValueError, match="must grow from first to last"):
        ScoreSettings(intervals=[0.9, 0.5])

"""The battery: exact under exchangeability, closed forms of its parts, planted faults found and named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from veridical.checks import battery, misfit
from veridical.checks.battery import combined, last_lag, score_of_maximum, scores, share_beyond, stepped_down
from veridical.checks.culprit_words import Arrangement
from veridical.saved.predictions import Predictions

N, DRAWS, REPLICATES = 56, 2, 300
DAYS = [{"name": "day", "coordinates": [float(d) for d in range(N)], "unit": "d"}]


def predictions(rng: np.random.Generator, x: np.ndarray, axes: Any = (), sd: float = 1.0) -> Predictions:
    """Replicates of N(0, sd) of the shape of the observations x (N, *x_shape), at DRAWS draws."""
    made = sd * rng.normal(size=(DRAWS, REPLICATES, *x.shape))
    at = np.zeros((DRAWS, len(x), 1))
    return Predictions(made[0], np.zeros((REPLICATES, len(x), 1)), made, at, axes)


def compared(rng: np.random.Generator, x: np.ndarray, axes: Any = (), alpha: float = 0.05) -> misfit.Misfit:
    """The test of observations x that should be standard normal."""
    found = predictions(rng, x, axes)
    return misfit.compare(x, np.ones(found.replicates.shape[:3], dtype=bool), found, alpha)


@pytest.mark.parametrize("members", [1, 4])
@pytest.mark.parametrize("axes", [(), DAYS], ids=["vector", "series"])
def test_the_size_is_the_level(members: int, axes: Any, rng: np.random.Generator) -> None:
    p = np.array([compared(rng, rng.normal(size=(members, N)), axes, 1e-9).p for _ in range(200 // members)])
    for level in (0.05, 0.2):
        assert stats.binomtest(int((p <= level).sum()), len(p), level).pvalue > 1e-3, level


def test_one_draw_gives_a_valid_p_value_even_for_counts_of_mostly_zeros(rng: np.random.Generator) -> None:
    found = []
    for _ in range(300):
        pool = rng.poisson(0.1, size=(100, 12)).astype(float)
        found.append(share_beyond(battery.battery(scores(pool)[:, :, None], ordered=True).maximum))
    for level in (0.05, 0.2, 0.5):  # ties make it larger at most
        share = stats.binomtest(int((np.array(found) <= level).sum()), 300, level, alternative="greater")
        assert share.pvalue > 1e-3


WEEKEND = -2.0 * (np.arange(N) % 7 >= 5)
FAULTS = {
    "weekend": (lambda x: x + WEEKEND, "every 7 values of day, too low at day 5, 6, 12, 13", 0.75),
    "outlier": (lambda x: np.where(np.arange(N) == 20, 5.0, x), "day 20 lies", 0.9),
    "noise": (lambda x: 2 * x, "the values scatter too much", 0.95),
    "trend": (lambda x: x + 3 * np.linspace(-0.5, 0.5, N), "the values rise along day", 0.95),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_found_and_named(fault: str, rng: np.random.Generator) -> None:
    """The share expected of `docs/results/predictive_battery.md`, less three errors of 30 repeats."""
    plant, words, share = FAULTS[fault]
    found = [compared(rng, plant(rng.normal(size=(1, N))), DAYS) for _ in range(30)]
    power = np.mean([one.p <= 0.05 for one in found])
    assert power > share - 3 * np.sqrt(share * (1 - share) / 30)
    named = [words in one.culprit for one in found if one.p <= 0.05]
    assert np.mean(named) > 0.75, [one.culprit for one in found]


def test_days_without_any_value_are_named(rng: np.random.Generator) -> None:
    x = rng.poisson(50, size=(1, N)).astype(float)
    x[:, np.arange(N) % 7 >= 5] = 0
    made = rng.poisson(50, size=(DRAWS, REPLICATES, 1, N)).astype(float)
    found = Predictions(made[0], np.zeros((REPLICATES, 1, 1)), made, np.zeros((DRAWS, 1, 1)), DAYS)
    result = misfit.compare(x, np.ones((DRAWS, REPLICATES, 1), dtype=bool), found, 0.05)
    assert "every 7 values of day" in result.culprit
    assert "(all of them 0)" in result.culprit
    np.testing.assert_array_equal(result.named[0] & (x[0] == 0), x[0] == 0)


def test_one_wild_observation_of_twenty_is_found_and_named(rng: np.random.Generator) -> None:
    x = rng.normal(size=(20, 2))
    x[13, 0] = 8.0
    found = compared(rng, x)
    assert found.p <= 0.05
    assert np.flatnonzero(found.member_p <= 0.05).tolist() == [13]
    assert found.culprit.startswith("observation 13: value 0 lies")
    assert np.argwhere(found.named).tolist() == [[13, 0]]


def test_a_small_fault_that_all_share_is_found_in_the_set_alone(rng: np.random.Generator) -> None:
    x = rng.normal(size=(12, N)) + 0.25 * np.linspace(-1, 1, N)
    found = compared(rng, x, DAYS)
    assert found.set_p <= 0.025
    assert found.culprit.startswith("all observations: a trend")


def test_channels_are_looked_at_one_by_one_and_named(rng: np.random.Generator) -> None:
    species = {"name": "species", "coordinates": ["hare", "lynx"], "unit": ""}
    x = rng.normal(size=(1, N, 2))
    x[0, :, 1] += 3 * np.linspace(-0.5, 0.5, N)
    assert "the values of lynx rise along day" in compared(rng, x, [*DAYS, species]).culprit
    swapped = compared(rng, np.moveaxis(x, 1, 2), [species, *DAYS])
    assert "the values of lynx rise along day" in swapped.culprit
    assert swapped.named.shape == (1, 2, N)


def test_missing_values_are_left_out(rng: np.random.Generator) -> None:
    x = rng.normal(size=(1, N))
    x[0, 10:20], x[0, 30] = np.nan, 8.0
    assert "day 30 lies" in compared(rng, x, DAYS).culprit


def test_a_statistic_of_the_tasks_own_is_found_and_named(rng: np.random.Generator) -> None:
    x = rng.normal(size=(1, N))
    own = np.concatenate([np.full((DRAWS, 1, 1), 9.0), rng.normal(size=(DRAWS, REPLICATES, 1))], axis=1)
    own[:, 5] = np.nan  # undefined: stands at the median
    found = predictions(rng, x)
    found = Predictions(found.x, found.theta, found.replicates, found.at, DAYS, {"peak day": own})
    result = misfit.compare(x, np.ones((DRAWS, REPLICATES, 1), dtype=bool), found, 0.05)
    assert result.p <= 0.05
    assert result.culprit == "the task's own statistic peak day"


def test_what_is_detectable_is_detected_nine_times_in_ten(rng: np.random.Generator) -> None:
    """A shift of a statistic that alone is looked at: a single number."""
    at = compared(rng, np.zeros((1, 1))).detectable[0][0]
    power = [compared(rng, rng.normal(size=(1, 1)) + at).p <= 0.05 for _ in range(150)]
    assert abs(at - (1.96 + 1.28)) < 0.4
    assert stats.binomtest(sum(power), 150, 0.9).pvalue > 1e-3


def test_closed_forms(rng: np.random.Generator) -> None:
    z = np.abs(rng.normal(size=(20_000, 30))).max(axis=1)
    assert stats.kstest(score_of_maximum(z, 30), "norm").pvalue > 1e-3
    assert (
        stats.kstest(
            score_of_maximum(rng.normal(size=(20_000, 9)).max(axis=1), 9, two_sided=False), "norm"
        ).pvalue
        > 1e-3
    )
    assert np.isfinite(score_of_maximum(np.array([-5.0, 0.0, 1e9]), 10)).all()
    assert combined(np.array([0.3, 0.3, 0.3])) == pytest.approx(0.3)
    assert combined(np.array([0.2])) == 0.2
    assert [last_lag(n) for n in (20, 55, 56, 200, 1000)] == [10, 27, 14, 50, 60]


def test_scores_are_normal_in_the_middle_and_go_on_beyond(rng: np.random.Generator) -> None:
    pool = np.concatenate([[[30.0]], rng.normal(size=(999, 1))])
    z = scores(pool)[:, 0]
    assert 25 < z[0] < 36
    assert stats.kstest(z[1:], "norm").pvalue > 0.05
    never = np.concatenate([[[1.0, 7.0]], np.full((400, 2), 7.0)])
    assert scores(never)[0].tolist() == pytest.approx([-20.0, 0.0], abs=0.1)


def test_family_wise_p_values_keep_their_level_and_order(rng: np.random.Generator) -> None:
    maxima = rng.normal(size=(400, 50, 60))
    smallest = np.array([stepped_down(maxima[:, :, i]).min() for i in range(60)])
    assert stats.kstest(smallest, "uniform").pvalue > 1e-3
    one = rng.normal(size=(400, 50))
    one[0, [3, 8]] = 9.0, 8.0
    p = stepped_down(one)
    assert np.flatnonzero(p <= 0.01).tolist() == [3, 8]
    assert p[3] <= p[8] <= np.delete(p, [3, 8]).min()


def test_values_are_named_as_the_task_names_them() -> None:
    axes = [
        {"name": "species", "coordinates": ["hare", "lynx"]},
        {"name": "year", "coordinates": list(range(1900, 1910))},
    ]
    layout = Arrangement((2, 10), axes)
    assert layout.place(3, 1) == "species lynx, year 1903"
    x = np.arange(40).reshape(2, 2, 10)
    np.testing.assert_array_equal(layout.put_back(layout.laid_out(x)), x)
    assert Arrangement((2,), [axes[0]]).place(1, 0) == "species lynx"
    assert Arrangement(()).place(0, 0) == "value 0"

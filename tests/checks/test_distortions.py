"""Named distortions: closed forms, size, planted faults that each come first, and what is left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from veridical.checks.base import CheckResult
from veridical.checks.distortion_bank import DISTORTIONS, Residuals, Scored, candidates, noise_gain, penalty
from veridical.checks.distortions import Distortions, best, maximum, member
from veridical.errors import DataError
from veridical.saved.predictions import Predictions
from veridical.training.distortion_settings import LocalDistortionsSettings

from .gaussian_model import Draws, value

N = 42
DAY = np.arange(N)
MEAN = 10 + 3 * np.sin(DAY / 6)
AXES = [{"name": "day", "coordinates": list(range(N))}]
FAULTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "offset": lambda x: x + 2,
    "gain": lambda x: x + 0.25 * MEAN,
    "noise": lambda x: MEAN + 3 * (x - MEAN),
    "block": lambda x: np.where((DAY >= 20) & (DAY < 28), x - 4, x),
    "drift": lambda x: x + 5 * (DAY / N - 0.5),
    "period": lambda x: np.where(DAY % 7 < 2, 0, x),
    "outlier": lambda x: np.where(DAY == 17, x + 8, x),
}
WORDS = {
    "offset": "an offset: all values lie too high",
    "gain": "a gain: all values are scaled up",
    "noise": "too much noise",
    "block": "a block that lies too low, day 20 to 27",
    "drift": "a drift up along day",
    "period": "a pattern of period 7 along day",
    "outlier": "one value too high, day 17",
}


def judged(
    x: np.ndarray, rng: np.random.Generator, *, rows: int = 200, axes: Any = AXES, **settings: Any
) -> CheckResult:
    """What the check finds of observations x (N, n) of `MEAN` with unit noise."""
    n = len(x)
    replicates = MEAN[: x.shape[1]] + rng.normal(size=(1, rows, *x.shape))
    made = Predictions(replicates[0, :2], np.zeros((2, n, 1)), replicates, np.zeros((1, n, 1)), axes)
    draws = Draws(("a",), np.zeros((2, n, 1)), x=x)
    return Distortions(**settings).run(draws, rng, predictive=made)


def test_the_score_of_an_offset_is_the_z_test(rng: np.random.Generator) -> None:
    r = rng.normal(size=(50, N)) + 0.3
    known = Residuals(r, np.eye(N), np.zeros((N, 1)))
    (offset,) = candidates("offset", known.predicted, ordered=True)
    z = r.sum(axis=1) / np.sqrt(N)
    np.testing.assert_allclose(np.sqrt(2 * known.scored(offset).gain()), np.abs(z), rtol=1e-10)


def test_scores_of_correlated_values_are_generalised_least_squares(rng: np.random.Generator) -> None:
    """And those of observations that share an amplitude add up: the z-test of their mean."""
    covariance = 0.5 ** np.abs(DAY[:, None] - DAY)
    precision, r = np.linalg.inv(covariance), rng.normal(size=(4, 20, N))
    ones = np.ones(N)
    (offset,) = candidates("offset", np.zeros((N, 1)), ordered=True)
    each = [Residuals(one, precision, np.zeros((N, 1))).scored(offset) for one in r]
    shared = Scored(sum(s.score for s in each), sum(s.information for s in each))
    z = r.sum(axis=0) @ precision @ ones / np.sqrt(4 * ones @ precision @ ones)
    np.testing.assert_allclose(2 * shared.gain(), z**2, rtol=1e-10)


def test_a_gain_of_noise_is_that_of_the_chi_square_law() -> None:
    s = np.array([0.5, 1.0, 2.0])
    log_p = [-0.5 * N * (np.log(v) + s / v) for v in (s, np.ones(3))]
    np.testing.assert_allclose(noise_gain(s, N), log_p[0] - log_p[1], atol=1e-12)
    assert penalty(6, 10, N) == pytest.approx(3 * np.log(N) + np.log(10))


@pytest.mark.parametrize("name", DISTORTIONS)
def test_a_planted_fault_comes_first_and_is_told(name: str, rng: np.random.Generator) -> None:
    for observations in (1, 3):
        x = FAULTS[name](MEAN + rng.normal(size=(observations, N)))
        result = judged(x, rng)
        assert result.passed is False
        assert value(result, "distortion_gain").extra["distortion"] == WORDS[name]
        assert value(result, f"distortion_{name}_p").value < 0.01
        assert result.notes[0].startswith(f"What fits best: {WORDS[name]}")


def test_its_size_is_that_of_its_level(rng: np.random.Generator) -> None:
    """Rows of a pool that each take the observation's place have ranks for p-values, whatever the noise."""
    pool = MEAN[:20] + rng.standard_t(3, size=(300, 20))
    m = maximum(best([member(pool[:, :, None], ordered=True)]).gain)
    p = np.array([(m >= one).mean() for one in m])
    assert (p <= 0.05).mean() == pytest.approx(0.05, abs=0.01)
    fresh = [
        judged(
            MEAN[None, :12] + rng.normal(size=(1, 12)),
            rng,
            rows=99,
            axes=[{**AXES[0], "coordinates": list(range(12))}],
        )
        for _ in range(60)
    ]
    rejected = sum(one.p_value is not None and one.p_value <= 0.1 for one in fresh)
    assert rejected <= 14  # binomial(60, 0.1): P(> 14) = 0.0005


def test_a_single_wrong_value_is_named(rng: np.random.Generator) -> None:
    x = FAULTS["outlier"](MEAN + rng.normal(size=(2, N)))
    x[1, 17] -= 8
    result = judged(x, rng)
    found = value(result, "distortion_value_p")
    assert (found.extra["value"], np.argmin(result.curves["value_p"][0])) == ("day 17", 17)
    assert found.value < 0.05 < result.curves["value_p"][1].min()
    assert result.curves["member_p"][0] < 0.02 < result.curves["member_p"][1]


def test_values_without_an_order_have_no_drift_and_missing_ones_no_part(rng: np.random.Generator) -> None:
    x = MEAN[None] + rng.normal(size=(1, N))
    x[0, 5] = np.nan
    result = judged(x, rng, axes=())
    names = {m.name for m in result.metrics()}
    assert "distortion_offset_p" in names and not names & {f"distortion_{n}_p" for n in ("drift", "period")}
    assert result.curves["value_p"][0, 5] == 1
    with pytest.raises(DataError, match="every value is missing"):
        judged(np.full((1, N), np.nan), rng)


def test_too_few_replicates_are_told(rng: np.random.Generator) -> None:
    x = MEAN[None] + rng.normal(size=(1, N))
    assert judged(x, rng, rows=30).notes == ("30 valid predictions are too few to judge; 40 are needed.",)
    told = judged(x, rng, rows=50, alpha=0.01)
    assert (told.passed, told.notes) == (None, ("50 replicates cannot tell whether p <= 0.01.",))


def test_trainings_on_distorted_data_use_the_same_names() -> None:
    assert set(LocalDistortionsSettings.model_fields) - {"type"} <= DISTORTIONS.keys()

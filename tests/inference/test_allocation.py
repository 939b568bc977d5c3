"""Planned rows of a telescoping sum against closed forms and simulated sums."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from veridical import seeds
from veridical.errors import DataError
from veridical.inference.allocation import LEVEL, Pilot, best, recommended

COSTS, TOTAL = (1.0, 9.0, 99.0), 5000.0
STEPS = np.array([4.0, 1.0, 0.09])  # variances of independent differences between levels
Array = np.ndarray


def generator(*path: str | int) -> np.random.Generator:
    return seeds.generator(1, "test", "allocation", *path)


def nested(steps: Array) -> Array:
    """Covariances of levels each of which adds an independent part to the one below."""
    sums = np.cumsum(steps)
    return np.minimum.outer(sums, sums)


def drawn(rng: np.random.Generator, steps: Array, *shape: int) -> Array:
    """Values of all levels, (F, *shape)."""
    return np.cumsum(
        np.sqrt(steps).reshape(-1, *[1] * len(shape)) * rng.standard_normal((len(steps), *shape)), 0
    )


def two(correlation: float) -> Array:
    """Covariances of two levels of unit variance."""
    return np.array([[1.0, correlation], [correlation, 1.0]])


def test_pairs_of_their_own_get_the_known_optimum() -> None:
    plan = best(nested(STEPS), COSTS, TOTAL, "own")
    prices = np.array([1.0, 10.0, 108.0])
    root = np.sqrt(STEPS * prices).sum()
    np.testing.assert_allclose(plan.rows, TOTAL * np.sqrt(STEPS / prices) / root)
    assert plan.rows @ prices == pytest.approx(TOTAL)
    assert plan.variance == pytest.approx(root**2 / TOTAL)
    assert plan.gain == pytest.approx(STEPS.sum() * COSTS[-1] / root**2)


@pytest.mark.parametrize("correlation", [0.95, 0.6])
def test_shared_pairs_are_a_control_variate(correlation: float) -> None:
    """Var = Var(g_1 - g_0) / n_1 + [Var(g_1) - Var(g_1 - g_0)] / n_0."""
    plan = best(two(correlation), (1.0, 100.0), 1000.0)
    apart = 2 - 2 * correlation
    rows = np.sqrt([(1 - apart) / 1.0, apart / 100.0])
    np.testing.assert_allclose(plan.rows, 1000 * rows / (rows @ [1.0, 100.0]))
    assert plan.variance == pytest.approx((np.sqrt(1 - apart) + np.sqrt(100 * apart)) ** 2 / 1000)


def test_cheap_rows_beyond_the_pairs_are_not_bought_where_they_do_harm() -> None:
    plan = best(two(0.3), (1.0, 100.0), 1010.0)
    np.testing.assert_allclose(plan.rows, [10.0, 10.0])
    assert plan.variance == pytest.approx(0.1)
    assert plan.gain == pytest.approx(100 / 101)


@pytest.mark.parametrize("pairs", ["own", "shared"])
def test_simulated_sums_scatter_as_planned_and_more_at_other_rows(pairs: str) -> None:
    plan = best(nested(STEPS), COSTS, TOTAL, pairs)  # type: ignore[arg-type]
    rows = np.round(plan.rows).astype(int)
    prices = np.array(COSTS) if pairs == "shared" else np.array([1.0, 10.0, 108.0])

    def variance(numbers: Array, key: int, times: int = 2000) -> float:
        rng, sums = generator(pairs, key), np.zeros(times)
        for i in range(times):
            if pairs == "shared":
                g = drawn(rng, STEPS, numbers[0])
                terms = [g[0], *(above - below for below, above in pairwise(g))]
            else:
                terms = []
                for level, n in enumerate(numbers):
                    g = drawn(rng, STEPS[: level + 1], n)
                    terms.append(g[-1] - (g[-2] if level else 0))
            sums[i] = sum(term[:n].mean() for term, n in zip(terms, numbers, strict=True))
        return float(sums.var(ddof=1))

    error = np.sqrt(2 / 2000)  # of a variance of normal numbers, relative
    assert variance(rows, 0) == pytest.approx(plan.variance, rel=4 * error)
    for key, factors in enumerate([(0.4, 1.0), (1.0, 0.4)], 1):  # what is saved at one level goes to another
        other = plan.rows * [*factors, 1.0]
        other[2] += (TOTAL - other @ prices) / prices[2]
        assert variance(np.round(other).astype(int), key) > variance(rows, 0) * (1 - 4 * error)
        exact = (STEPS / other).sum()
        assert exact > plan.variance


@pytest.mark.parametrize("pairs", ["own", "shared"])
def test_units_of_cost_say_nothing(pairs: str) -> None:
    pilot = Pilot(drawn(generator("units"), STEPS, 50, 2))
    first = recommended(pilot, COSTS, TOTAL, generator("draws"), pairs)  # type: ignore[arg-type]
    other = recommended(pilot, [7e-4 * c for c in COSTS], 7e-4 * TOTAL, generator("draws"), pairs)  # type: ignore[arg-type]
    np.testing.assert_array_equal(first.rows, other.rows)
    assert first.gain == pytest.approx(other.gain)
    assert first.interval == pytest.approx(other.interval)


def test_traces_add_up_over_weights() -> None:
    values = generator("trace").standard_normal((2, 40, 3))
    found = Pilot(values).covariances()
    for a, b in [(0, 0), (0, 1), (1, 1)]:
        expected = sum(np.cov(values[a, :, p], values[b, :, p])[0, 1] for p in range(3))
        assert found[a, b] == pytest.approx(expected)


def test_a_useful_hierarchy_is_recommended_without_warning() -> None:
    pilot = Pilot(drawn(generator("useful"), np.array([1.0, 0.01]), 50, 4))
    found = recommended(pilot, (1.0, 100.0), 10_000.0, generator("a"))
    assert (found.levels, found.worth, found.warning) == ((0, 1), "yes", "")
    assert 0 <= 10_000 - found.rows @ [1, 100] < 1
    assert found.interval[0] < best(nested(np.array([1.0, 0.01])), (1.0, 100.0), 1e4).gain < found.interval[1]


def test_a_useless_hierarchy_warns_and_is_left_out() -> None:
    rng = generator("useless")
    pilot = Pilot(rng.standard_normal((2, 200, 4)))  # levels that have nothing in common
    found = recommended(pilot, (10.0, 100.0), 10_000.0, rng)
    assert (found.worth, found.levels) == ("no", (1,))
    np.testing.assert_array_equal(found.rows, [0, 100])
    assert "not worth it" in found.warning


def test_a_pilot_that_is_too_small_to_tell_says_so() -> None:
    values = generator("small").standard_normal((20, 2))
    values -= values.mean(axis=0)
    values = values @ np.linalg.inv(np.linalg.cholesky(np.cov(values.T))).T  # exactly of unit covariance
    values = values @ np.linalg.cholesky(two(0.67)).T
    found = recommended(Pilot(values.T[:, :, None]), (1.0, 20.0), 1000.0, generator("b"))
    assert found.gain == pytest.approx(best(two(0.67), (1.0, 20.0), 1000.0).gain)
    assert found.worth == "unclear"
    assert "enlarge" in found.warning


def test_a_level_that_does_not_help_is_left_out_of_three() -> None:
    rng = generator("three")
    cheap, dear = drawn(rng, np.array([1.0, 0.01]), 100, 3)
    found = recommended(
        Pilot(np.stack([cheap, rng.standard_normal(cheap.shape), dear])), (1, 10, 100), 1e4, rng
    )
    assert found.levels == (0, 2)
    assert found.rows[1] == 0


def test_intervals_of_the_gain_hold_it_as_often_as_they_say() -> None:
    steps, times = np.array([1.0, 0.1]), 150
    true = best(nested(steps), (1.0, 20.0), 1000.0).gain
    held = 0
    for i in range(times):
        rng = generator("coverage", i)
        low, high = recommended(Pilot(drawn(rng, steps, 80, 1)), (1.0, 20.0), 1000.0, rng).interval
        held += low <= true <= high
    error = np.sqrt(LEVEL * (1 - LEVEL) / times)
    assert abs(held / times - LEVEL) < 3 * error + 0.02  # and what the bootstrap of 80 rows is off


@pytest.mark.parametrize(
    ("values", "costs", "total", "says"),
    [
        (np.zeros((1, 20, 1)), (1.0,), 10.0, "two levels"),
        (np.zeros((2, 5, 1)), (1.0, 2.0), 10.0, "pairs or more"),
        (np.full((2, 20, 1), np.nan), (1.0, 2.0), 10.0, "finite"),
        (np.zeros((2, 20, 1)), (1.0, 2.0), 10.0, "nothing varies"),
        (np.arange(40.0).reshape(2, 20, 1), (0.0, 2.0), 10.0, "positive"),
        (np.arange(40.0).reshape(2, 20, 1), (1.0, 20.0), 10.0, "does not buy"),
    ],
)
def test_what_cannot_be_planned_is_refused(
    values: Array, costs: tuple[float, ...], total: float, says: str
) -> None:
    with pytest.raises(DataError, match=says):
        recommended(Pilot(values), costs, total, generator("refused"))

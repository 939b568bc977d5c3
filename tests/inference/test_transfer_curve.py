"""Curves of transfer against planted ones, and the rows that they choose."""

from __future__ import annotations

import numpy as np
import pytest

from veridical import seeds
from veridical.errors import DataError
from veridical.inference.transfer_curve import LEVEL, TransferCurve, fitted, planned

Array = np.ndarray
TRUE = TransferCurve(floor=-1.7, level=3.5, dear=0.6, cheap=0.3, scale=100.0)
COSTS, TOTAL = (1.0, 100.0), 20_000.0
CHEAP, DEAR = (grid.ravel() for grid in np.meshgrid([0.0, 500.0, 2000.0, 8000.0], [20.0, 50.0, 100.0]))


def generator(*path: str | int) -> np.random.Generator:
    return seeds.generator(1, "test", "transfer_curve", *path)


def repeats(curve: TransferCurve, noise: float, n: int, key: int = 0) -> Array:
    exact = curve.loss(CHEAP, DEAR)
    return exact + noise * generator("noise", key).standard_normal((n, len(exact)))


def test_a_planted_curve_is_found() -> None:
    found = fitted(CHEAP, DEAR, TRUE.loss(CHEAP, DEAR), floor=TRUE.floor)
    assert found.dear == pytest.approx(TRUE.dear, rel=0.02)
    assert found.cheap == pytest.approx(TRUE.cheap, rel=0.15)  # n_0 is one of a grid
    np.testing.assert_allclose(found.loss(CHEAP, DEAR), TRUE.loss(CHEAP, DEAR), atol=0.06)


def test_the_numbers_of_a_curve_are_exact_where_its_scale_is_on_the_grid() -> None:
    scale = np.geomspace(500 / 30, 3 * 8000, 12)[4]
    true = TransferCurve(-1.0, 2.0, 0.5, 0.25, float(scale))
    found = fitted(CHEAP, DEAR, true.loss(CHEAP, DEAR), floor=-1.0)
    np.testing.assert_allclose(
        [found.level, found.dear, found.cheap, found.scale], [2.0, 0.5, 0.25, scale], rtol=1e-9
    )


@pytest.mark.parametrize("cheap", [0.05, 0.3, 1.5])
def test_the_best_rows_are_those_of_a_fine_search(cheap: float) -> None:
    curve = TransferCurve(0.0, 1.0, 0.6, cheap, 300.0)
    dear = np.linspace(1, 200, 200_000)
    searched = dear[curve.loss(TOTAL - 100 * dear, dear).argmin()]
    own = curve.best(COSTS, TOTAL)
    assert own[1] == pytest.approx(searched, abs=0.01)
    assert own[0] + 100 * own[1] == pytest.approx(TOTAL)


def test_an_unknown_floor_hardly_moves_the_choice() -> None:
    found = fitted(CHEAP, DEAR, TRUE.loss(CHEAP, DEAR))
    own, true = found.best(COSTS, TOTAL), TRUE.best(COSTS, TOTAL)
    assert TRUE.excess(*own) <= 1.02 * TRUE.excess(*true)


def test_noisy_pilots_choose_within_a_tenth_of_the_best() -> None:
    worst = 0.0
    for key in range(10):
        plan = planned(CHEAP, DEAR, repeats(TRUE, 0.1, 5, key), COSTS, TOTAL, generator("draws", key))
        worst = max(worst, float(TRUE.excess(*plan.rows) / TRUE.excess(*TRUE.best(COSTS, TOTAL))))
        assert plan.worth == "yes"
        assert 0 <= TOTAL - plan.rows[0] - 100 * plan.rows[1] < 1
    assert worst < 1.1


def test_cheap_rows_that_do_nothing_are_warned_of() -> None:
    useless = TransferCurve(0.0, 2.0, 0.6, 0.0, 100.0)
    said = []
    for key in range(8):
        plan = planned(CHEAP, DEAR, repeats(useless, 0.05, 5, key), COSTS, TOTAL, generator("useless", key))
        said.append(plan.worth)
        assert bool(plan.warning) == (plan.worth != "yes")
    assert said.count("yes") <= 3  # 5 % each, and what five repeats and a slope of at least 0 leave


def test_exactly_useless_rows_are_left_out() -> None:
    useless = TransferCurve(0.0, 2.0, 0.6, 0.0, 100.0)
    plan = planned(CHEAP, DEAR, repeats(useless, 0.0, 3), COSTS, TOTAL, generator("exact"))
    assert plan.rows == (0, 200)
    assert plan.worth == "unclear" and "show no gain" in plan.warning


def test_cheap_rows_that_cost_more_than_they_gain_are_not_worth_it() -> None:
    weak = TransferCurve(0.0, 2.0, 0.6, 0.02, 100.0)
    losses = np.tile(weak.loss(CHEAP, DEAR), (3, 1))
    plan = planned(CHEAP, DEAR, losses, (90.0, 100.0), TOTAL, generator("dear"), floor=0.0)
    assert plan.rows[0] == 0 and plan.worth == "no" and "not worth it" in plan.warning


def test_intervals_of_the_gain_hold_it_nearly_as_often_as_they_say() -> None:
    held, times = 0, 30
    for key in range(times):
        plan = planned(
            CHEAP, DEAR, repeats(TRUE, 0.2, 20, key), COSTS, TOTAL, generator("gain", key), floor=None
        )
        true = TRUE.gain(COSTS, TOTAL, plan.rows[1])
        held += plan.gain_interval[0] <= true <= plan.gain_interval[1]
    assert held / times > LEVEL - 3 * np.sqrt(LEVEL * (1 - LEVEL) / times) - 0.05


def test_units_of_cost_say_nothing() -> None:
    losses = repeats(TRUE, 0.1, 5)
    first = planned(CHEAP, DEAR, losses, COSTS, TOTAL, generator("units"))
    other = planned(CHEAP, DEAR, losses, (3e-3, 0.3), 3e-3 * TOTAL, generator("units"))
    assert first.rows == other.rows
    assert first.gain == pytest.approx(other.gain)


@pytest.mark.parametrize(
    ("cheap", "dear", "losses", "says"),
    [
        ([0, 100, 0], [10, 10, 20], [3.0, 2.0, 1.0], "4 or more"),
        ([0, 100, 0, 100], [10, 10, 10, 10], [3.0, 2.0, 1.0, 1.0], "with 1 of dear"),
        ([50, 100, 50, 100], [10, 10, 20, 20], [3.0, 2.0, 1.0, 1.0], "from 50 on"),
        ([0, 100, 0, 100], [10, 10, 20, 20], [3.0, np.nan, 1.0, 1.0], "finite"),
    ],
)
def test_pilots_that_fix_no_curve_are_refused(cheap: list, dear: list, losses: list, says: str) -> None:
    with pytest.raises(DataError, match=says):
        fitted(np.array(cheap, float), np.array(dear, float), np.array(losses, float))


def test_a_floor_above_a_loss_and_a_single_repeat_are_refused() -> None:
    losses = TRUE.loss(CHEAP, DEAR)
    with pytest.raises(DataError, match="above the floor"):
        fitted(CHEAP, DEAR, losses, floor=5.0)
    with pytest.raises(DataError, match="two repeats"):
        planned(CHEAP, DEAR, losses[None], COSTS, TOTAL, generator("one"))

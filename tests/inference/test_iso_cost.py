"""The share of a cost for the dear level against planted losses."""

from __future__ import annotations

import numpy as np
import pytest

from veridical import seeds
from veridical.errors import DataError
from veridical.inference.iso_cost import LEVEL, best_share

SHARES = np.array([0.2, 0.5, 0.8])


def losses(b: float, c: float, replicates: int, noise: float = 0.0, key: int = 0) -> np.ndarray:
    """Losses of the model, with normal errors."""
    rng = seeds.generator(1, "test", "iso_cost", key)
    mean = 1.0 - b * np.log(SHARES) - c * np.log1p(-SHARES)
    return mean + noise * rng.standard_normal((replicates, 3))


@pytest.mark.parametrize(("b", "c"), [(0.3, 0.3), (0.6, 0.2), (0.2, 0.6)])
def test_planted_powers_give_the_known_share(b: float, c: float) -> None:
    found = best_share(SHARES, losses(b, c, 4), np.full(4, 3.0))
    assert found.share == pytest.approx(b / (b + c), abs=1e-6)
    least = 1.0 - b * np.log(b / (b + c)) - c * np.log(c / (b + c))
    assert found.gain == pytest.approx(3.0 - least)
    assert found.worth == "yes"


def test_rows_add_up_to_the_cost() -> None:
    low, dear = best_share(SHARES, losses(0.3, 0.3, 4), np.full(4, 3.0)).rows((1.0, 100.0), 20_000.0)
    assert (low, dear) == (10_000, 100)


def test_where_the_dear_level_alone_is_better_all_goes_there() -> None:
    found = best_share(SHARES, losses(0.3, 0.3, 4, 0.01), np.full(4, 1.0))
    assert (found.worth, found.share) == ("no", 1.0)
    assert found.rows((1.0, 100.0), 20_000.0) == (0, 200)


def test_intervals_of_the_gain_hold_it_as_often_as_they_say() -> None:
    b = c = 0.4
    true, times, held = 2.0 - (1.0 + 0.8 * np.log(2)), 200, 0
    for key in range(times):
        rng = seeds.generator(1, "test", "iso_cost", "alone", key)
        alone = 2.0 + 0.05 * rng.standard_normal(5)
        low, high = best_share(SHARES, losses(b, c, 5, 0.05, key), alone).interval
        held += low <= true <= high
    assert abs(held / times - LEVEL) < 3 * np.sqrt(LEVEL * (1 - LEVEL) / times)


@pytest.mark.parametrize(
    ("shares", "replicates"), [([0.2, 0.5], 4), ([0.2, 0.5, 1.0], 4), ([0.2, 0.5, 0.8], 2)]
)
def test_a_pilot_that_is_too_small_is_refused(shares: list[float], replicates: int) -> None:
    with pytest.raises(DataError, match="shares or more"):
        best_share(np.array(shares), np.zeros((replicates, len(shares))), np.zeros(replicates))

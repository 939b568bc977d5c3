"""Paths of jump processes: by hand, against closed forms, and where the numbers run out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from veridical.tasks.jump_paths import jump_paths

Array = np.ndarray


def test_a_path_by_hand() -> None:
    """Births at the rate 2, deaths at the rate of the state, from 1: a birth at 0.5, a death at 0.75, births
    at 1.5 and 2.5; internal times at 3 are 6 and 0.5 + 0.25 * 2 + 0.75 * 1 + 1 * 2 + 0.5 * 3.
    """

    def rates(state: Array, rows: Array) -> Array:
        return np.stack([np.full(state.shape, 2.0), state])

    waits = [np.array([[1.0, 2.0, 2.0, 9.0]]), np.array([[1.0, 9.0]])]
    path, beyond = jump_paths(rates, np.array([1, -1]), 1, waits, np.array([0.4, 0.6, 1.0, 2.0, 3.0]))
    assert path.tolist() == [[1, 2, 1, 2, 3]]
    assert beyond == pytest.approx(np.array([[3 - 6, 1 - 5.25]]))


def test_people_who_leave_independently_are_binomial(rng: np.random.Generator) -> None:
    n, rate = 4000, 0.5
    waits = [rng.standard_exponential((n, 12))]
    times = np.array([0.3, 1.7])
    path, beyond = jump_paths(lambda i, rows: rate * i[None], np.array([-1]), 11, waits, times)
    for t, states in zip(times, path.T, strict=True):
        seen = np.bincount(states.astype(int), minlength=12)
        expected = n * stats.binom.pmf(np.arange(12), 11, np.exp(-rate * t))
        few = expected < 5
        pooled = [np.append(c[~few], c[few].sum()) for c in (seen, expected)]
        assert stats.chisquare(*pooled).pvalue > 1e-4
    assert abs(beyond.mean()) < 4.5 * beyond.std() / np.sqrt(n)
    assert beyond.var() == pytest.approx((11 - path[:, 1]).mean(), rel=4.5 * np.sqrt(2 / n)), "martingale"


def test_rows_whose_numbers_run_out_fail_as_a_whole_and_alone() -> None:
    waits = [np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 9.0]])]
    path, beyond = jump_paths(
        lambda i, rows: np.ones((1, i.size)), np.array([1]), 0, waits, np.array([1.5, 3.5])
    )
    assert np.isnan(path[0]).all() and np.isnan(beyond[0]).all()
    assert path[1].tolist() == [1, 2] and beyond[1, 0] == pytest.approx(2 - 3.5)


def test_rows_see_their_own_rates(rng: np.random.Generator) -> None:
    """Some rows end before others, at rates that differ from row to row: each as if it were alone."""
    speed, waits = np.array([0.2, 3.0, 1.0]), [rng.standard_exponential((3, 60))]
    times = np.array([1.0, 4.0])
    together = jump_paths(lambda i, rows: speed[rows][None], np.array([1]), 0, waits, times)
    for k in range(3):
        alone = jump_paths(
            lambda i, rows, k=k: speed[rows + k][None], np.array([1]), 0, [waits[0][k : k + 1]], times
        )
        for all_rows, one in zip(together, alone, strict=True):
            assert np.array_equal(all_rows[k : k + 1], one)
    assert together[0].tolist() == [
        [(np.cumsum(waits[0][k]) <= speed[k] * t).sum() for t in times] for k in range(3)
    ]

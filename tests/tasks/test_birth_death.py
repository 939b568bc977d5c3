"""Transition probabilities of birth-death chains against closed forms, small ones too; their slopes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.linalg import expm

from veridical.tasks.birth_death import generators, transitions

STATES = np.arange(31.0)


def of_independent_people(up: float, down: float, gap: float, n: int) -> np.ndarray:
    """Each of n people falls ill at the rate `up` and recovers at the rate `down`, without contacts."""
    total, decayed = up + down, -np.expm1(-(up + down) * gap)
    infected, ill = (down * np.exp(-total * gap) + up) / total, up / total * decayed
    return np.array(
        [
            np.convolve(
                stats.binom.pmf(np.arange(i + 1), i, infected),
                stats.binom.pmf(np.arange(n - i + 1), n - i, ill),
            )
            for i in range(n + 1)
        ]
    )


@pytest.mark.parametrize("gap", [0.01, 1.0, 20.0])
def test_every_probability_is_right_however_small(gap: float) -> None:
    p, _ = transitions(generators(0.02 * (30 - STATES), 0.7 * STATES)[None], gap)
    expected = of_independent_people(0.02, 0.7, gap, 30)
    assert expected.min() < 1e-40
    assert np.allclose(p[0], expected, rtol=1e-10, atol=0)


def test_without_deaths_states_only_grow() -> None:
    """Sums of exponential waiting times of different rates: a sum over their partial fractions."""
    rates = np.array([0.3, 1.1, 1.9, 0.6, 0.0])
    p = transitions(generators(rates, np.zeros(5))[None], 0.8)[0][0]
    expected = np.zeros((5, 5))
    for i in range(5):
        for j in range(i, 5):
            passed = np.arange(i, j + 1)
            weights = [1 / np.prod([rates[m] - rates[k] for m in passed if m != k]) for k in passed]
            expected[i, j] = np.prod(rates[i:j]) * (weights @ np.exp(-rates[passed] * 0.8))
    assert (p[np.tril_indices(5, -1)] == 0).all()
    assert np.allclose(p, expected, rtol=1e-10, atol=0)


def test_probabilities_and_slopes_are_those_of_matrix_exponentials(rng: np.random.Generator) -> None:
    """The slopes by the upper right block of an exponential of twice the size."""
    contact, recovery = rng.uniform(0.3, 2, (4, 1)), rng.uniform(0.2, 1, (4, 1))
    contacts, recoveries = contact * STATES * (30 - STATES) / 30, recovery * STATES
    q = generators(contacts + 0.02 * (30 - STATES), recoveries)
    slopes = np.stack([generators(contacts, 0 * contacts), generators(0 * contacts, recoveries)], axis=1)
    p, dp = transitions(q, 1.5, slopes)
    assert dp.shape == (4, 2, 31, 31)
    assert np.allclose(p, expm(1.5 * q), rtol=0, atol=1e-12)
    assert np.allclose(p.sum(axis=2), 1, rtol=0, atol=1e-12)
    for k in range(2):
        doubled = np.block([[q, slopes[:, k]], [np.zeros(q.shape), q]])
        assert np.allclose(dp[:, k], expm(1.5 * doubled)[:, :31, 31:], rtol=0, atol=1e-11)
    assert np.allclose(dp.sum(axis=3), 0, rtol=0, atol=1e-11)


def test_a_chain_that_never_moves_stays() -> None:
    p, dp = transitions(np.zeros((2, 3, 3)), 1.0)
    assert np.array_equal(p, np.broadcast_to(np.eye(3), (2, 3, 3))) and dp.shape == (2, 0, 3, 3)

"""Parameters from weighted ratios: closed forms of a normal mean, and whether intervals hold the truth."""

from __future__ import annotations

import numpy as np
import pytest

from tests.inference import normal_pairs
from veridical.errors import DataError
from veridical.inference import pair_weights, ratio_parameters
from veridical.inference.ratio_weights import RatioFit

N = 200
KNOWN = RatioFit.fixed(normal_pairs.EXACT)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_a_normal_mean_without_error_of_weights(d: int, rng: np.random.Generator) -> None:
    """The most likely mean is that of the data, its covariance 1 / n; profiles are parabolas."""
    x = 0.4 + rng.standard_normal((N, d))
    functions = normal_pairs.summed(x)
    found = ratio_parameters.maximise(functions, KNOWN, rng.standard_normal((50, d)))
    np.testing.assert_allclose(found.place, x.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(found.covariance, np.eye(d) / N, atol=1e-5)
    for j in range(d):
        low, high = ratio_parameters.interval(functions, KNOWN, found, j, 0.68)
        ends = x[:, j].mean() + 0.994458 / np.sqrt(N) * np.array([-1, 1])
        np.testing.assert_allclose([low, high], ends, atol=1e-4)
        z = ratio_parameters.z(functions, KNOWN, found, j, x[:, j].mean() - 0.1)
        assert z == pytest.approx(0.1 * np.sqrt(N), rel=1e-3)


def test_the_part_of_the_weights_is_a_difference_of_answers(rng: np.random.Generator) -> None:
    """It is that of the most likely parameters as weights move, by differences."""
    x = 0.4 + rng.standard_normal((N, 2))
    functions, starts = normal_pairs.summed(x), rng.standard_normal((50, 2))
    root = rng.normal(size=(4, 4)) * 0.01
    ratio = RatioFit(normal_pairs.EXACT, root @ root.T, np.zeros(4))
    found = ratio_parameters.maximise(functions, ratio, starts)
    moved = []
    for i in range(4):
        step = 0.001 * np.eye(4)[i]
        ends = [
            ratio_parameters.maximise(functions, RatioFit.fixed(normal_pairs.EXACT + s), starts).place
            for s in (step, -step)
        ]
        moved.append((ends[0] - ends[1]) / 0.002)
    slopes = np.array(moved).T
    np.testing.assert_allclose(found.weights, slopes @ ratio.covariance @ slopes.T, rtol=0.01, atol=1e-7)
    assert np.linalg.eigvalsh(found.weights).min() > -1e-12
    for j in range(2):
        low, high = ratio_parameters.interval(functions, ratio, found, j, 0.9)
        half = 1.644854 * np.sqrt(found.covariance[j, j])
        np.testing.assert_allclose([low, high], found.place[j] + half * np.array([-1, 1]), rtol=0.02)


def test_profiles_do_not_depend_on_coordinates(rng: np.random.Generator) -> None:
    """Asked in u = sinh(theta), ends of the intervals are the same places."""
    x = 0.4 + rng.standard_normal((30, 1))
    root = rng.normal(size=(4, 4)) * 0.03
    ratio = RatioFit(normal_pairs.EXACT, root @ root.T, np.zeros(4))
    plain, starts = normal_pairs.summed(x), rng.standard_normal((50, 1))

    def bent(u: np.ndarray) -> np.ndarray:
        return plain(np.arcsinh(u))

    ends = []
    for functions, at in ((plain, starts), (bent, np.sinh(starts))):
        found = ratio_parameters.maximise(functions, ratio, at)
        ends.append(ratio_parameters.interval(functions, ratio, found, 0, 0.9))
    np.testing.assert_allclose(np.arcsinh(ends[1]), ends[0], atol=2e-3)


def test_intervals_hold_the_truth_and_those_without_the_weights_do_not(rng: np.random.Generator) -> None:
    """150 experiments with weights from 500 rows: two parameters, within four binomial errors."""
    truth, many, held = np.array([0.5, -0.4]), 150, {0.68: 0.994458, 0.9: 1.644854}
    z, plain, data = [], [], []
    for _ in range(many):
        ratio = pair_weights.fit(normal_pairs.pairs(*normal_pairs.drawn(rng, 500, 2)))
        functions = normal_pairs.summed(truth + rng.standard_normal((2 * N, 2)))
        found = ratio_parameters.maximise(functions, ratio, rng.standard_normal((30, 2)))
        error = found.place - truth
        plain.append(error / np.sqrt(np.diag(found.covariance)))
        data.append(error / np.sqrt(np.diag(found.data)))
        z.append([ratio_parameters.z(functions, ratio, found, j, truth[j]) for j in range(2)])
    for level, most in held.items():
        error = 4 * np.sqrt(level * (1 - level) / many)
        for each in (z, plain):
            assert np.abs((np.abs(each) < most).mean(axis=0) - level).max() < error
    assert np.var(data) > 1.2 * np.var(plain)


def test_no_maximum_is_refused_and_no_end_is_infinite(rng: np.random.Generator) -> None:
    """A likelihood that only rises; one that levels off, so that its interval has no upper end."""

    def rising(z: np.ndarray) -> np.ndarray:
        return np.stack([np.ones(len(z)), z[:, 0]], axis=1)

    one = RatioFit.fixed(np.array([0.0, 1.0]))
    with pytest.raises(DataError, match="no maximum where it was looked for"):
        ratio_parameters.maximise(rising, one, rng.standard_normal((20, 1)))

    def levels_off(z: np.ndarray) -> np.ndarray:
        bump = -4 * np.where(z < 0, z**2, 1 - np.exp(-(z**2)) * (1 + 0 * z)) * 0.2
        return np.concatenate([np.ones_like(z), bump], axis=1)

    found = ratio_parameters.maximise(levels_off, one, rng.standard_normal((20, 1)))
    low, high = ratio_parameters.interval(levels_off, one, found, 0, 0.9)
    assert np.isfinite(low) and high == np.inf
    with pytest.raises(DataError, match="a level in"):
        ratio_parameters.interval(levels_off, one, found, 0, 1.0)

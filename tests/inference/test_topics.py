"""Topics of histograms: those that made them, smooth and normalised; weights of one more; refusals."""

from __future__ import annotations

import numpy as np
import pytest

from veridical.errors import DataError
from veridical.inference import topics

CENTRES = np.arange(30)


def bumps(*places: float, width: float = 4.0) -> np.ndarray:
    found = np.exp(-0.5 * ((CENTRES - np.array(places)[:, None]) / width) ** 2)
    return found / found.sum(axis=1, keepdims=True)


def histograms(
    rng: np.random.Generator, truth: np.ndarray, simulators: int = 60, alpha: float = 0.4, n: int = 50_000
) -> tuple[np.ndarray, np.ndarray]:
    weights = rng.dirichlet(np.full(len(truth), alpha), simulators)
    return weights, np.stack([rng.multinomial(n, p) for p in weights @ truth]).astype(float)


def test_topics_that_make_the_histograms_are_found(rng: np.random.Generator) -> None:
    """With weights near the corners the simplex is unique but for noise: 2 % in total variation."""
    truth = bumps(4, 14, 25)
    weights, counts = histograms(rng, truth)
    model = topics.learn(counts, 3, seed=1)
    distance = 0.5 * np.abs(model.topics[:, None] - truth).sum(axis=2)
    order = distance.argmin(axis=0)
    assert sorted(order) == [0, 1, 2] and distance.min(axis=0).max() < 0.02
    np.testing.assert_allclose(model.weights[:, order], weights, atol=0.04)
    np.testing.assert_allclose(model.alpha[order], 0.4, rtol=0.5)


def test_topics_are_smooth_and_normalised(rng: np.random.Generator) -> None:
    """A bin without events has a share, though a small one."""
    _, counts = histograms(rng, bumps(5, 20, width=1.5), n=2000)
    counts[:, 12] = 0
    model = topics.learn(counts, 2, seed=1)
    np.testing.assert_allclose(model.topics.sum(axis=1), 1)
    np.testing.assert_allclose(model.weights.sum(axis=1), 1)
    assert (model.topics > 0).all() and model.topics[:, 12].max() < 1e-6
    assert np.array_equal(topics.learn(counts, 2, seed=1).topics, model.topics)


def test_one_topic_is_the_mean_shape(rng: np.random.Generator) -> None:
    _, counts = histograms(rng, bumps(5, 20))
    model = topics.learn(counts, 1, seed=1)
    np.testing.assert_allclose(model.topics[0], counts.sum(axis=0) / counts.sum(), atol=1e-5)
    assert model.alpha.tolist() == [1.0]


@pytest.mark.parametrize("simulators", [1, 5])
def test_simulators_that_are_alike_say_so_but_not_without_end(simulators: int) -> None:
    """Their weights are the same: the prior is as narrow as it may be."""
    model = topics.TopicModel(bumps(5, 20), np.tile([0.25, 0.75], (simulators, 1)))
    np.testing.assert_allclose(model.alpha, np.array([0.5, 1.5]) * simulators)


def test_moments_of_weights_are_those_of_the_dirichlet(rng: np.random.Generator) -> None:
    """Sum of concentrations within four errors of 20,000 draws, some 1 % each."""
    alpha = np.array([0.5, 1.0, 3.0])
    model = topics.TopicModel(bumps(1, 2, 3), rng.dirichlet(alpha, 20_000))
    np.testing.assert_allclose(model.alpha, alpha, rtol=0.05)


def test_what_tells_nothing_is_refused() -> None:
    counts = np.ones((3, 30))
    with pytest.raises(DataError, match="at least 4 simulators and 4 bins for 4 topics, got 3 and 30"):
        topics.learn(counts, 4, seed=1)
    with pytest.raises(DataError, match="not all zero"):
        topics.learn(counts * [[1], [0], [1]], 2, seed=1)
    with pytest.raises(DataError, match="not negative"):
        topics.learn(-counts, 2, seed=1)

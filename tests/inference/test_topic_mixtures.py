"""The posterior of a fraction with topics: exact gradients, integrals, ranks of truths, fits, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from tests.inference.test_topics import bumps
from veridical import seeds
from veridical.errors import ConvergenceError, DataError, ShapeError
from veridical.inference.topic_mixtures import Chaining, LogPosterior, TopicMixture

FALLS = np.exp(-np.arange(30) * np.array([[0.02], [0.15]]))
FALLS /= FALLS.sum(axis=1, keepdims=True)
QUICK = Chaining(moves=200, leaps=12)


def mixture(signal: int = 2, background: int = 2, alpha: float = 1.0) -> TopicMixture:
    topics = bumps(10, 16, 20)[:signal], FALLS[:background]
    return TopicMixture(*topics, np.full(signal + background, alpha))


def generators(n: int, *path: str) -> list[np.random.Generator]:
    return [seeds.generator(1, "test", "topic_mixtures", *path, i) for i in range(n)]


def test_the_gradient_is_that_of_the_density(rng: np.random.Generator) -> None:
    found = replace(mixture(3), alpha=rng.uniform(0.3, 3, 5))
    counts = rng.multinomial(3000, np.full(30, 1 / 30), 4).astype(float)
    target, rows, z = LogPosterior(found, counts), np.array([3, 1]), rng.normal(size=(2, 5, 6))
    h = 1e-5 * np.eye(6)
    slope = [(target.log_density(z + way, rows) - target.log_density(z - way, rows)) / 2e-5 for way in h]
    gradient = target.gradient(z, rows)
    np.testing.assert_allclose(np.stack(slope, -1), gradient, atol=1e-7 * np.abs(gradient).max())


@pytest.mark.parametrize("background", [1, 2])
def test_posteriors_are_those_of_integrals(background: int, rng: np.random.Generator) -> None:
    """One topic of the signal; with two of the background, over its weight too. Quantiles by their errors."""
    found = mixture(1, background, alpha=1.5)
    p = 0.2 * found.signal[0] + 0.8 * np.linspace(1, 0, background) @ found.background
    counts = rng.multinomial(400, 0.9 * p + 0.1 * found.background[-1], 3).astype(float)
    kappa, v = (np.arange(600) + 0.5) / 600, (np.arange(100) + 0.5) / 100
    weights = np.stack([v, 1 - v], 1) if background == 2 else np.ones((1, 1))
    grid = kappa[:, None, None] * found.signal[0]
    grid = grid + (1 - kappa)[:, None, None] * (weights @ found.background)
    prior = 0.5 * np.log(weights).sum(axis=1)
    draws = found.posterior(counts, generators(3, "grid"), Chaining(moves=600, leaps=12))
    assert (draws.ess[:, 0] > 300).all() and draws.rhat.max() < 1.05
    for row in range(3):
        log_p = np.log(grid) @ counts[row] + prior
        density = np.exp(log_p - log_p.max()).sum(axis=1)
        cdf = np.cumsum(density) / density.sum()
        for level in (0.05, 0.5, 0.95):
            below = (draws.kappa[row] < np.interp(level, cdf, kappa)).mean()
            assert abs(below - level) < 5 * (level * (1 - level) / draws.ess[row, 0]) ** 0.5


def test_ranks_of_truths_from_the_prior_are_flat() -> None:
    """Simulation-based calibration of 80 samples: the fraction and a weight, by Kolmogorov and Smirnov."""
    found = replace(mixture(3), alpha=np.array([0.6, 1.0, 1.4, 1.0, 2.0]))
    n, rng = 80, seeds.generator(1, "test", "topic_mixtures", "ranks")
    kappa, w, v = rng.random(n), rng.dirichlet(found.alpha[:3], n), rng.dirichlet(found.alpha[3:], n)
    p = kappa[:, None] * (w @ found.signal) + (1 - kappa[:, None]) * (v @ found.background)
    counts = np.stack([rng.multinomial(2000, each) for each in p]).astype(float)
    draws = found.tried(counts, generators(n, "ranks"), QUICK)
    assert not draws.disagree(QUICK).any()
    for truth, part in ((kappa, draws.kappa), (w[:, 0], draws.signal[:, :, 0])):
        ranks = (part < truth[:, None]).mean(axis=1)
        assert stats.kstest(ranks, "uniform").pvalue > 1e-3
    assert stats.kstest(draws.z(kappa), "norm").pvalue > 1e-3
    assert stats.kstest(found.fit_p(draws, counts), "uniform").pvalue > 1e-3


def test_a_sample_is_answered_the_same_alone_and_by_quantiles(rng: np.random.Generator) -> None:
    counts = rng.multinomial(500, np.full(30, 1 / 30), 40).astype(float)
    found, quick = mixture(), Chaining(moves=40, leaps=5, doublings=0)
    together = found.tried(counts, generators(40), quick)
    alone = found.tried(counts[35:36], generators(40)[35:36], quick)
    np.testing.assert_allclose(alone.kappa[0], together.kappa[35], rtol=1e-9)
    assert together.kappa.shape == (40, 160) and together.signal.shape == (40, 160, 2)
    np.testing.assert_allclose(together.background.sum(axis=2), 1)
    middle = together.quantiles(np.array([0.5]))[:, 0]
    assert (np.abs(together.z(middle)) < 0.04).all()


def test_data_that_are_no_mixture_are_seen(rng: np.random.Generator) -> None:
    found = mixture()
    p = 0.3 * found.signal[0] + 0.7 * found.background[0]
    odd = 0.9 * p + 0.1 * bumps(28, width=0.5)[0]
    counts = np.stack([rng.multinomial(3000, each) for each in (p, odd)]).astype(float)
    p_values = found.fit_p(found.tried(counts, generators(2), QUICK), counts)
    assert p_values[0] > 0.003 > 1e-6 > p_values[1]


def test_what_has_no_posterior_is_refused() -> None:
    found, one = mixture(), generators(1)
    with pytest.raises(DataError, match="at least one event"):
        found.posterior(np.zeros((1, 30)), one, QUICK)
    with pytest.raises(ShapeError):
        found.posterior(np.ones((1, 29)), one, QUICK)
    with pytest.raises(ConvergenceError, match=r"R-hat of at most 0\.9"):
        found.posterior(np.ones((1, 30)), one, replace(QUICK, most_rhat=0.9, moves=8, doublings=1))
    with pytest.raises(DataError, match="each bin has a share"):
        replace(found, signal=np.eye(30)[:2])

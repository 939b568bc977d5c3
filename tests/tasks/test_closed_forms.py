"""Exact posteriors against numerical integration over a grid."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from veridical.tasks import build
from veridical.tasks.gaussian_linear import GaussianLinear
from veridical.tasks.gaussian_variance import GaussianVariance, NormalInverseGamma
from veridical.tasks.mixture import Mixture


def grid_posterior(task: Mixture | GaussianLinear, x: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Posterior density of one parameter on a grid, from prior and likelihood alone."""
    theta = grid[:, None]
    log_p = task.prior.log_prob(theta) + task.log_likelihood(theta, x)
    density = np.exp(log_p - log_p.max())
    return density / np.trapezoid(density, grid)


@pytest.mark.parametrize("x", [-3.0, 0.2, 1.7])
@pytest.mark.parametrize(
    "task",
    [Mixture(), Mixture(weight=0.9, offset=0.7), GaussianLinear(1, 2.0, 0.7)],
    ids=["a", "b", "linear"],
)
def test_one_parameter_against_a_grid(task: Mixture | GaussianLinear, x: float) -> None:
    grid = np.linspace(-12, 12, 40_001)
    expected = grid_posterior(task, np.array([x]), grid)
    exact = np.exp(task.posterior_log_prob(grid[:, None, None], np.array([[x]]))[:, 0])
    np.testing.assert_allclose(exact, expected, atol=1e-10)


def test_the_mixture_has_two_modes() -> None:
    grid = np.linspace(-6, 6, 2001)
    density = np.exp(Mixture().posterior_log_prob(grid[:, None, None], np.array([[0.3]]))[:, 0])
    modes = (density[1:-1] > density[:-2]) & (density[1:-1] > density[2:])
    assert modes.sum() == 2


@pytest.mark.parametrize("x", [-2.0, 1.0])
def test_mixture_draws_follow_the_posterior(x: float, rng: np.random.Generator) -> None:
    task, grid = Mixture(), np.linspace(-12, 12, 4001)
    draws = task.posterior_sample(np.array([[x], [0.0]]), rng, 4000)[:, 0, 0]
    density = grid_posterior(task, np.array([x]), grid)
    cdf = np.concatenate([[0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(grid))])
    assert stats.kstest(draws, lambda value: np.interp(value, grid, cdf)).pvalue > 1e-4


def test_mixture_simulations_follow_the_likelihood(rng: np.random.Generator) -> None:
    task, n = Mixture(), 5000
    x = task.simulate(np.full((n, 1), 0.5), task.noise(rng, n), "model")[:, 0]
    grid = np.linspace(-6, 7, 4001)
    density = np.exp([task.log_likelihood(np.array([[0.5]]), np.array([value]))[0] for value in grid])
    cdf = np.concatenate([[0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(grid))])
    assert cdf[-1] == pytest.approx(1, abs=1e-6)
    assert stats.kstest(x, lambda value: np.interp(value, grid, cdf)).pvalue > 1e-4


def test_mean_and_variance_against_a_grid(rng: np.random.Generator) -> None:
    task = GaussianVariance(repeats=6)
    x = task.simulate(np.array([[0.4, 1.3]]), task.noise(rng, 1), "model")
    mean, variance = np.linspace(-6, 6, 301), np.linspace(0.01, 40, 2001)
    theta = np.stack(np.meshgrid(mean, variance, indexing="ij"), axis=-1)
    flat = theta.reshape(-1, 2)
    log_p = (task.prior.log_prob(flat) + task.log_likelihood(flat, x[0])).reshape(len(mean), -1)
    density = np.exp(log_p - log_p.max())
    density /= np.trapezoid(np.trapezoid(density, variance, axis=1), mean)
    exact = np.exp(task.posterior_log_prob(flat[:, None], x)[:, 0]).reshape(len(mean), -1)
    np.testing.assert_allclose(exact, density, rtol=2e-3, atol=1e-6)


def test_mean_and_variance_draws_have_the_marginals_of_the_family(rng: np.random.Generator) -> None:
    task = GaussianVariance(repeats=10)
    x = task.simulate(task.prior.sample(rng, 2), task.noise(rng, 2), "model")
    posterior = task.prior.given(x)
    draws = task.posterior_sample(x, rng, 4000)
    for i in range(2):
        variance = stats.invgamma(posterior.shape, scale=posterior.scale[i])
        spread = np.sqrt(posterior.scale[i] / (posterior.shape * posterior.strength))
        mean = stats.t(2 * posterior.shape, posterior.location[i], spread)
        assert stats.kstest(draws[:, i, 1], variance.cdf).pvalue > 1e-4
        assert stats.kstest(draws[:, i, 0], mean.cdf).pvalue > 1e-4


def test_normal_inverse_gamma_against_scipy(rng: np.random.Generator) -> None:
    prior = NormalInverseGamma(0.5, 2.0, 3.0, 4.0)
    theta = prior.sample(rng, 50)
    expected = stats.invgamma(3, scale=4).logpdf(theta[:, 1])
    expected += stats.norm(0.5, np.sqrt(theta[:, 1] / 2)).logpdf(theta[:, 0])
    np.testing.assert_allclose(prior.log_prob(theta), expected)
    assert prior.log_prob(np.array([[0.0, -1.0], [0.0, 0.0]])).tolist() == [-np.inf, -np.inf]


def test_linear_posterior_draws(rng: np.random.Generator) -> None:
    task = GaussianLinear(3, prior_sd=0.5, noise_sd=0.25)
    x = np.array([[0.3, -0.2, 1.0]])
    draws = task.posterior_sample(x, rng, 20_000)[:, 0]
    variance = 0.25 * 0.0625 / (0.25 + 0.0625)
    assert np.abs(draws.mean(axis=0) - 0.8 * x[0]).max() < 4 * np.sqrt(variance / 20_000)
    np.testing.assert_allclose(np.cov(draws.T), variance * np.eye(3), atol=5 * variance * np.sqrt(2 / 20_000))


NEAR = {  # parameters, and a step from them that a few data sets can bear
    "two_moons": ([0.3, -0.2], 0.001),
    "gaussian_mixture": ([2.0, -5.0], 0.03),
    "slcp": ([0.7, -2.0, -1.0, -0.9, 0.6], 0.05),
    "bernoulli_glm": ([0.5, *np.linspace(-1, 1, 9)], 0.05),
    "sir": ([0.35, 0.12], 0.002),
    "sis": ([0.0, -1.0], 0.02),
    "lotka_volterra_counts": ([0.9, 0.05, 0.8, 0.06], 0.0002),
}


@pytest.mark.parametrize("name", NEAR)
@pytest.mark.parametrize("sign", [1, -1])
def test_simulations_follow_the_likelihood(name: str, sign: int, rng: np.random.Generator) -> None:
    """The mean of p(x | other) / p(x | theta) over simulations at theta is one, whatever the other is."""
    task, (theta, step) = build({"name": name}), NEAR[name]
    at = np.array([theta, np.array(theta) + sign * step])
    (level,) = task.fidelities
    x = task.simulate(np.repeat(at[:1], 400, axis=0), task.noise(rng, 400), level)
    log_p = np.array([task.log_likelihood(at, one) for one in x])
    ratio = np.exp(log_p[:, 1] - log_p[:, 0])
    error = ratio.std() / np.sqrt(len(x))
    assert 1e-3 < error < 0.1 and abs(ratio.mean() - 1) < 4.5 * error

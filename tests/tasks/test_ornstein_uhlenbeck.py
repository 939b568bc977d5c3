"""The Ornstein-Uhlenbeck task: both levels, and its exact posterior against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from veridical.errors import TaskError
from veridical.tasks.ornstein_uhlenbeck import OrnsteinUhlenbeck

TWO, THREE = OrnsteinUhlenbeck(2), OrnsteinUhlenbeck(3)
LEVELS = ("lf", "hf")


def simulated(task: OrnsteinUhlenbeck, rng: np.random.Generator, n: int, level: str = "hf") -> np.ndarray:
    return task.simulate(task.prior.sample(rng, n), task.noise(rng, n), level)


def normal(x: np.ndarray, mean: float | np.ndarray, sd: float) -> np.ndarray:
    return np.exp(-0.5 * ((x - mean) / sd) ** 2) / (sd * np.sqrt(2 * np.pi))


def density(task: OrnsteinUhlenbeck, theta: np.ndarray, x: np.ndarray, level: str) -> float:
    """p(x | theta) of one theta (D,) time by time."""
    mu, sigma, gamma = (*theta, 0.5)[:3]
    if level == "lf":
        sd = sigma if len(theta) == 2 else sigma / np.sqrt(2 * gamma)
        return float(np.prod(normal(x, mu, sd)))
    sd = sigma * np.sqrt((1 - np.exp(-2 * gamma)) / (2 * gamma))
    means = mu + np.exp(-gamma) * (x[:-1] - mu)
    return float(normal(x[0], mu + 3, 1.0) * np.prod(normal(x[1:], means, sd)))


def test_the_settings() -> None:
    assert TWO.parameter_names == ("mu", "sigma") and THREE.parameter_names == ("mu", "sigma", "gamma")
    assert dict(TWO.fidelities) == {"lf": 1.0, "hf": 100.0} and TWO.x_shape == (10,) and TWO.coupled
    with pytest.raises(TaskError, match="no fidelity 'mid'"):
        TWO.posterior_log_prob(np.full((1, 2), 0.3), np.zeros((1, 10)), "mid")


@pytest.mark.parametrize("task", [TWO, THREE], ids=["2", "3"])
def test_moments_of_the_levels(task: OrnsteinUhlenbeck, rng: np.random.Generator) -> None:
    """Mean and covariance of ten Gaussian values: hf from the recursion of its moments, lf independent."""
    theta, n = np.array([1.2, 0.4, 0.3])[: len(task.parameters)], 40_000
    mu, sigma, gamma = (*theta, 0.5)[:3]
    many = np.tile(theta, (n, 1))
    low, high = (task.simulate(many, task.noise(rng, n), level) for level in LEVELS)
    error = 5 / np.sqrt(n)

    sd = sigma if len(theta) == 2 else sigma / np.sqrt(2 * gamma)
    assert np.abs(low.mean(axis=0) - mu).max() < error * sd
    assert np.abs(np.cov(low.T) - sd**2 * np.eye(10)).max() < error * np.sqrt(2) * sd**2

    t = np.arange(10)
    stationary = sigma**2 / (2 * gamma)
    variance = stationary + (1 - stationary) * np.exp(-2 * gamma * t)
    earlier = np.minimum.outer(t, t)
    covariance = variance[earlier] * np.exp(-gamma * np.abs(np.subtract.outer(t, t)))
    assert np.abs(high.mean(axis=0) - mu - 3 * np.exp(-gamma * t)).max() < error
    assert np.abs(np.cov(high.T) - covariance).max() < error * np.sqrt(2)


def test_the_levels_share_their_normal_numbers(rng: np.random.Generator) -> None:
    theta, noise = TWO.prior.sample(rng, 50), TWO.noise(rng, 50)
    low, high = (TWO.simulate(theta, noise, level) for level in LEVELS)
    np.testing.assert_allclose((low - theta[:, :1]) / theta[:, 1:], noise["steps"])
    np.testing.assert_allclose(high[:, 0] - theta[:, 0] - 3, noise["steps"][:, 0])


@pytest.mark.parametrize("task", [TWO, THREE], ids=["2", "3"])
def test_the_likelihood_is_a_product_of_normal_densities(
    task: OrnsteinUhlenbeck, rng: np.random.Generator
) -> None:
    theta, (x,) = task.prior.sample(rng, 20), simulated(task, rng, 1)
    expected = [np.log(density(task, row, x, "hf")) for row in theta]
    np.testing.assert_allclose(task.log_likelihood(theta, x), expected, rtol=1e-10)


@pytest.mark.parametrize("level", LEVELS)
def test_two_parameters_against_quadrature(level: str, rng: np.random.Generator) -> None:
    x = simulated(TWO, rng, 2, level)
    theta = TWO.prior.sample(rng, 3)
    for i in range(2):
        evidence = integrate.dblquad(
            lambda sigma, mu, i=i: density(TWO, np.array([mu, sigma]), x[i], level),
            *(0.1, 3.0, 0.1, 0.6),
            epsabs=0,
            epsrel=1e-5,
        )[0]
        expected = [np.log(density(TWO, row, x[i], level) / evidence) for row in theta]
        found = TWO.posterior_log_prob(np.repeat(theta[:, None], 2, axis=1), x, level)[:, i]
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("level", LEVELS)
def test_three_parameters_against_a_dense_grid(level: str, rng: np.random.Generator) -> None:
    """The midpoint rule over 70^3 cells: 1e-3 is what is left of its own error."""
    x = simulated(THREE, rng, 2, level)
    axes = [a + (b - a) * (np.arange(70) + 0.5) / 70 for a, b in THREE.bounds]
    theta = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    volume = np.prod(np.diff(THREE.bounds)) / 70**3
    mass = np.exp(THREE.posterior_log_prob(np.repeat(theta, 2, axis=1), x, level)).sum(axis=0) * volume
    np.testing.assert_allclose(mass, 1, atol=2e-3)


def test_the_density_over_the_grid_sums_to_one_and_is_zero_outside(rng: np.random.Generator) -> None:
    x = simulated(TWO, rng, 10)
    centres, area = TWO.grid()
    assert centres.shape == (120 * 80, 2) and area * len(centres) == pytest.approx(2.9 * 0.5)
    p = np.exp(TWO.posterior_log_prob(np.repeat(centres[:, None], 10, axis=1), x))
    np.testing.assert_allclose(p.sum(axis=0) * area, 1, atol=5e-3)
    outside = np.array([[0.05, 0.3], [1.0, 0.7], [3.1, 0.3], [1.0, -0.1]])
    assert np.isneginf(TWO.posterior_log_prob(outside, x[:4])).all()
    assert not hasattr(THREE, "grid")


@pytest.mark.parametrize("task", [TWO, THREE], ids=["2", "3"])
@pytest.mark.parametrize("level", LEVELS)
def test_exact_draws_are_calibrated(task: OrnsteinUhlenbeck, level: str, rng: np.random.Generator) -> None:
    """Ranks of true parameters, and of their densities, among exact draws are uniform."""
    theta = task.prior.sample(rng, 300)
    x = task.simulate(theta, task.noise(rng, len(theta)), level)
    draws = task.posterior_sample(x, rng, 199, level)
    assert draws.shape == (199, 300, len(task.parameters))
    below = (draws < theta).sum(axis=0)
    dense = task.posterior_log_prob(draws, x, level) < task.posterior_log_prob(theta, x, level)
    for ranks in (*below.T, dense.sum(axis=0)):
        u = (ranks + rng.random(len(ranks))) / 200
        assert stats.kstest(u, "uniform").pvalue > 1e-4


def test_exact_draws_follow_the_grid(rng: np.random.Generator) -> None:
    """Mean and covariance of 20,000 draws against sums over the grid."""
    x, n = simulated(TWO, rng, 3), 20_000
    centres, _ = TWO.grid()
    p = np.exp(TWO.posterior_log_prob(np.repeat(centres[:, None], 3, axis=1), x))
    p /= p.sum(axis=0)
    draws = TWO.posterior_sample(x, rng, n)
    for i in range(3):
        mean = p[:, i] @ centres
        covariance = (p[:, i, None] * (centres - mean)).T @ (centres - mean)
        sd = np.sqrt(np.diag(covariance))
        assert (np.abs(draws[:, i].mean(axis=0) - mean) < 5 * sd / np.sqrt(n)).all()
        ratio = np.cov(draws[:, i].T) / np.outer(sd, sd) - covariance / np.outer(sd, sd)
        assert np.abs(ratio).max() < 8 / np.sqrt(n)


def test_data_far_outside_keep_the_posterior_finite(rng: np.random.Generator) -> None:
    x = np.array([np.full(10, 40.0), np.full(10, -40.0)])
    for task in (TWO, THREE):
        draws = task.posterior_sample(x, rng, 50)
        assert ((draws >= task.bounds[:, 0]) & (draws <= task.bounds[:, 1])).all()
        assert np.isfinite(task.posterior_log_prob(draws, x)).all()


def test_the_levels_have_different_posteriors(rng: np.random.Generator) -> None:
    """The optimal classifier between the two posteriors of one x, 1/2 + TV/2, is right nearly always."""
    x = simulated(TWO, rng, 20)
    centres, area = TWO.grid()
    many = np.repeat(centres[:, None], 20, axis=1)
    low, high = (np.exp(TWO.posterior_log_prob(many, x, level)) * area for level in LEVELS)
    assert (0.5 + 0.25 * np.abs(low - high).sum(axis=0)).mean() > 0.9

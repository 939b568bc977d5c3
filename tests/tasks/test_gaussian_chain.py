"""The Gaussian chain: both exact posteriors against joint Gaussian algebra and against simulations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from veridical.errors import TaskError
from veridical.tasks.gaussian_chain import GaussianChain
from veridical.tasks.gaussian_linear import GaussianLinear

LEVELS = ("model", "real")


def joint(task: GaussianChain, fidelity: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of (theta, x or y), from the covariances of a linear map."""
    A, L = task.simulator.matrix, task.simulator.covariance
    C, Q = task.nature.matrix, task.nature.covariance
    P, m = task.prior.covariance, task.prior.mean
    mean_x, xx, tx = A @ m + task.simulator.offset, A @ P @ A.T + L, P @ A.T
    if fidelity == "real":
        mean_x, xx, tx = C @ mean_x + task.nature.offset, C @ xx @ C.T + Q, tx @ C.T
    return np.concatenate([m, mean_x]), np.block([[P, tx], [tx.T, xx]])


@pytest.mark.parametrize("fidelity", LEVELS)
@pytest.mark.parametrize(("chain", "severity"), [(0, 1.0), (1, 1.0), (0, 0.3)])
def test_simulations_have_the_joint_moments(
    chain: int, severity: float, fidelity: str, rng: np.random.Generator
) -> None:
    """Whitened by the stated moments, N rows have mean 0 and covariance I within Monte Carlo error."""
    task, n = GaussianChain(chain, severity), 20_000
    theta = task.prior.sample(rng, n)
    rows = np.hstack([theta, task.simulate(theta, task.noise(rng, n), fidelity)])
    mean, covariance = joint(task, fidelity)
    white = np.linalg.solve(np.linalg.cholesky(covariance), (rows - mean).T)
    assert np.abs(white.mean(axis=1)).max() < 4.5 / np.sqrt(n)
    assert np.abs(np.cov(white) - np.eye(13)).max() < 4.5 * np.sqrt(2 / n)


@pytest.mark.parametrize("fidelity", LEVELS)
def test_posteriors_are_those_of_the_joint_gaussian(fidelity: str, rng: np.random.Generator) -> None:
    """Conditioning by Schur complements, with scipy's density."""
    task = GaussianChain()
    theta = task.prior.sample(rng, 4)
    x = task.simulate(theta, task.noise(rng, 4), fidelity)
    mean, covariance = joint(task, fidelity)
    gain = np.linalg.solve(covariance[3:, 3:], covariance[3:, :3]).T
    spread = covariance[:3, :3] - gain @ covariance[3:, :3]
    draws = task.posterior_sample(x, rng, 7, fidelity)
    log_p = task.posterior_log_prob(draws, x, fidelity)
    assert draws.shape == (7, 4, 3) and log_p.shape == (7, 4)
    for i in range(4):
        expected = stats.multivariate_normal(mean[:3] + gain @ (x[i] - mean[3:]), spread)
        np.testing.assert_allclose(log_p[:, i], expected.logpdf(draws[:, i]), rtol=1e-6)


@pytest.mark.parametrize("fidelity", LEVELS)
def test_posterior_draws_have_the_posterior_moments(fidelity: str, rng: np.random.Generator) -> None:
    task, n = GaussianChain(), 20_000
    x = task.simulate(task.prior.sample(rng, 1), task.noise(rng, 1), fidelity)
    means, covariance = task.level(fidelity).posterior(task.prior, x)
    draws = task.posterior_sample(x, rng, n, fidelity)[:, 0]
    white = np.linalg.solve(np.linalg.cholesky(covariance), (draws - means).T)
    assert np.abs(white.mean(axis=1)).max() < 4.5 / np.sqrt(n)
    assert np.abs(np.cov(white) - np.eye(3)).max() < 4.5 * np.sqrt(2 / n)


@pytest.mark.parametrize("fidelity", LEVELS)
def test_truths_are_calibrated_under_the_posterior(fidelity: str, rng: np.random.Generator) -> None:
    """Squared Mahalanobis distances of the truth are chi-squared with three degrees of freedom."""
    task, n = GaussianChain(), 3000
    theta = task.prior.sample(rng, n)
    x = task.simulate(theta, task.noise(rng, n), fidelity)
    means, covariance = task.level(fidelity).posterior(task.prior, x)
    squares = ((theta - means) @ np.linalg.inv(covariance) * (theta - means)).sum(axis=1)
    assert stats.kstest(squares, stats.chi2(3).cdf).pvalue > 1e-4


def test_given_x_the_second_link_ignores_theta(rng: np.random.Generator) -> None:
    """Rows with the same x and noise have the same y, whatever theta: what RoPE assumes."""
    task = GaussianChain()
    theta, noise = task.prior.sample(rng, 5), task.noise(rng, 5)
    x, y = (task.simulate(theta, noise, level) for level in LEVELS)
    without = y - task.simulate(theta, {**noise, "nature": np.zeros((5, 10))}, "real")
    expected = x @ task.nature.matrix.T + task.nature.offset + without
    np.testing.assert_allclose(y, expected, rtol=1e-9)


def test_chain_zero_is_as_informative_as_stated(rng: np.random.Generator) -> None:
    """Mean log densities of the truth: -log det(2 pi e Sigma) / 2, and the note's ranges."""
    task, n = GaussianChain(), 4000
    theta = task.prior.sample(rng, n)
    noise = task.noise(rng, n)
    lpp = {"prior": task.prior.log_prob(theta).mean()}
    for level in LEVELS:
        lpp[level] = task.posterior_log_prob(theta, task.simulate(theta, noise, level), level).mean()
    error = 4.5 * np.sqrt(1.5 / n)
    expected = {"prior": -6.909, "model": -1.383, "real": -2.333}
    for name, value in expected.items():
        assert lpp[name] == pytest.approx(value, abs=error), name


def test_the_matrices_depend_on_the_chain_alone() -> None:
    one, again, other = GaussianChain(3), GaussianChain(3), GaussianChain(4)
    np.testing.assert_array_equal(one.simulator.matrix, again.simulator.matrix)
    assert not np.array_equal(one.simulator.matrix, other.simulator.matrix)


def test_linear_gaussian_data_of_nature(rng: np.random.Generator) -> None:
    """With a noisier level `real`, x/2 has the error 0.75 and x/3 has 0.667, in prior variances."""
    task = GaussianLinear(10, prior_sd=0.1**0.5, noise_sd=0.1**0.5, real_noise_sd=0.2**0.5)
    n = 4000
    theta = task.prior.sample(rng, n)
    y = task.simulate(theta, task.noise(rng, n), "real")
    for fidelity, share, error in (("model", 2, 0.75), ("real", 3, 2 / 3), (None, 2, 0.75)):
        mean = task.posterior_sample(y, np.random.Generator(np.random.PCG64(0)), 400, fidelity).mean(axis=0)
        assert np.abs(mean - y / share).max() < 6 * (0.1 / 400) ** 0.5
        squares = ((theta - y / share) ** 2).mean(axis=1) / 0.1
        assert squares.mean() == pytest.approx(error, abs=4.5 * squares.std() / np.sqrt(n))
    variance = 0.1 * 0.2 / 0.3
    expected = stats.norm(y / 3, variance**0.5).logpdf(theta).sum(axis=1)
    np.testing.assert_allclose(task.posterior_log_prob(theta, y, "real"), expected)
    assert -task.posterior_log_prob(theta, y, "real").mean() < -task.posterior_log_prob(theta, y).mean()


def test_gaussian_linear_has_no_nature_unless_asked() -> None:
    assert list(GaussianLinear().fidelities) == ["model"]
    with pytest.raises(TaskError, match="no fidelity 'real'; expected model"):
        GaussianLinear().simulate(np.zeros((1, 2)), {}, "real")

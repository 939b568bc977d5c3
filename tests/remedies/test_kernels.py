"""Smoothed clouds: moments kept, densities that integrate to one, a normal cloud that stays normal."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from veridical import seeds
from veridical.remedies.kernels import Kernels, bandwidth


def generator(*path: str | int) -> np.random.Generator:
    return seeds.generator(20261130, "test", "kernels", *path)


def test_mean_and_covariance_are_those_of_the_draws() -> None:
    draws = generator("draws").gamma(2.0, size=(1, 200, 2)) @ np.array([[1.0, 0.5], [0.0, 0.3]])
    kernels = Kernels.of(draws, 0.0)
    covariance = np.cov(kernels.centres[0].T, bias=True) + kernels.factors[0] @ kernels.factors[0].T
    np.testing.assert_allclose(kernels.centres[0].mean(axis=0), draws[0].mean(axis=0))
    np.testing.assert_allclose(covariance, np.cov(draws[0].T, bias=True), atol=2e-6)


@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_the_density_integrates_to_one_and_draws_follow_it(floor: float) -> None:
    """Trapezia 0.01 apart under kernels no narrower than 0.1; 5,000 draws by Kolmogorov and Smirnov."""
    rng = generator("two humps")
    draws = np.concatenate([rng.normal(-2, 0.5, (60, 1)), rng.normal(1, 0.3, (40, 1))])[None]
    kernels, z = Kernels.of(draws, floor), np.arange(-9, 9, 0.01)
    density = np.exp(kernels.log_prob(z[None, :, None])[0])
    assert density.sum() * 0.01 == pytest.approx(1, abs=1e-3)
    found = kernels.sample(5000, generator("sample"))[0, :, 0]
    assert stats.kstest(found, lambda v: np.interp(v, z, density.cumsum() * 0.01)).pvalue > 1e-4


def test_a_normal_cloud_stays_normal() -> None:
    """The mean log density of a normal falls behind by the noise of 1,000 draws: 0.05 in one dimension."""
    kernels = Kernels.of(generator("normal").normal(3, 0.2, (1, 1000, 1)), 0.0)
    z = generator("points").normal(3, 0.2, 2000)
    behind = stats.norm.logpdf(z, 3, 0.2) - kernels.log_prob(z[None, :, None])[0]
    assert -0.01 < behind.mean() < 0.05


def test_more_draws_make_narrower_kernels() -> None:
    assert bandwidth(50, 3) > bandwidth(500, 3) > bandwidth(500, 1)

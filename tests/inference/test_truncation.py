"""Truncated priors against closed forms: masses of ellipsoids, rows of chains against exact rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from veridical import seeds
from veridical.errors import ConvergenceError
from veridical.inference import truncation
from veridical.inference.truncation import Proposed, Region, TruncatedPrior, prior_mass
from veridical.networks.transforms import ParameterTransform
from veridical.tasks.priors import Normal, Product, Uniform

EPSILON = 1e-3
Array = np.ndarray


def generator(*path: str | int) -> np.random.Generator:
    return seeds.generator(1, "test", "truncation", *path)


def gaussian(mean: Array, factor: Array) -> tuple[Region, Array]:
    """The region of a normal answer, an ellipsoid whose threshold is exact, and 5,000 draws of it."""
    covariance = factor @ factor.T
    answer = stats.multivariate_normal(mean, covariance)
    peak = answer.logpdf(mean)
    region = Region(lambda theta: np.atleast_1d(answer.logpdf(theta)), peak - 0.5 * radius2(len(mean)))
    return region, mean + generator("draws").standard_normal((5000, len(mean))) @ factor.T


def radius2(d: int) -> float:
    return float(stats.chi2(d).ppf(1 - EPSILON))


def truncated(prior: Any, *regions: Region) -> TruncatedPrior:
    bounds = np.array([(p.lower, p.upper) for p in prior.parameters()])
    return TruncatedPrior(prior, ParameterTransform.plain(bounds), regions)


def normal_prior(d: int) -> Product:
    return Product({f"t{j}": Normal(0.0, 1.0) for j in range(d)})


def tilted(d: int, sd: float = 0.3) -> Array:
    """A factor with correlations."""
    return sd * (np.eye(d) + 0.4 * np.tril(np.ones((d, d)), -1))


@pytest.mark.parametrize("d", [1, 3])
def test_the_share_of_a_normal_prior_in_a_ball(d: int) -> None:
    """A non-central chi-square: by rejection, and by the rows of a pool through two nested regions."""
    mean, sd = np.full(d, 0.5), 0.4
    prior, (region, draws) = normal_prior(d), gaussian(mean, sd * np.eye(d))
    exact = float(stats.ncx2(d, mean @ mean).cdf(sd**2 * radius2(d)))
    found = truncated(prior, region).sample(3000, draws, generator("mass", d))
    assert not found.chains
    tried = 3000 / found.acceptance
    assert abs(found.acceptance - exact) < 4 * np.sqrt(exact * (1 - exact) / tried)

    outer = gaussian(mean, 2 * sd * np.eye(d))[0]
    pool = prior.sample(generator("pool", d), 5000)
    between = truncated(prior, outer).sample(5000, draws, generator("between", d)).theta
    shares = [(int(outer.holds(pool).sum()), 5000), (int(region.holds(between).sum()), 5000)]
    mass, error = prior_mass(shares)
    assert abs(mass - exact) < 4 * error and error < 0.05 * exact
    assert prior_mass([(0, 100)])[0] == pytest.approx(0.005)


@pytest.mark.parametrize("d", [2, 5, 8])
def test_chains_in_an_ellipsoid_under_a_uniform_prior_are_uniform(d: int) -> None:
    """The radius to the power D, and each direction, by Kolmogorov and Smirnov; all rows inside.

    Both rows of a walker hardly depend on each other: correlations of 0.17 in eight dimensions, measured.
    """
    mean, factor = np.linspace(-1, 1, d), tilted(d, 0.1)
    region, draws = gaussian(mean, factor)
    prior = Product({f"t{j}": Uniform(-4.0, 4.0) for j in range(d)})
    found = truncated(prior, region).by_chains(4000, draws, generator("uniform", d))
    assert found.chains and 0.15 < found.acceptance < 0.5
    assert region.holds(found.theta).all()
    scaled = np.linalg.solve(factor, (found.theta - mean).T).T
    distance = (scaled**2).sum(axis=1) / radius2(d)
    p_values = [stats.kstest(distance ** (d / 2), "uniform").pvalue]
    direction = scaled / np.sqrt((scaled**2).sum(axis=1, keepdims=True))
    beta = stats.beta((d - 1) / 2, (d - 1) / 2, loc=-1, scale=2)
    p_values += [stats.kstest(direction[:, j], beta.cdf).pvalue for j in range(d)]
    assert min(p_values) > 1e-3 / len(p_values), p_values
    one, two = np.split(scaled, [truncation.MOST_WALKERS])
    assert max(np.corrcoef(one[:, j], two[:, j])[0, 1] for j in range(d)) < 0.25


@pytest.mark.parametrize("case", ["normal prior", "edge of the prior", "two modes"])
def test_rows_of_chains_follow_the_distribution_of_rejection(case: str) -> None:
    """Two samples: each coordinate, their product and the log density, at a level of 1e-3 together."""
    region, draws = gaussian(np.array([0.9, 0.2]), tilted(2))
    prior: Any = normal_prior(2)
    if case == "edge of the prior":
        prior = Product({"a": Uniform(-1.0, 1.0), "b": Normal(0.0, 2.0, lower=0.0)})
        draws = draws[np.isfinite(prior.log_prob(draws))]
    if case == "two modes":
        other, others = gaussian(np.array([-0.9, 0.0]), 0.7 * tilted(2))
        first, draws = region.log_q, np.concatenate([draws[:3500], others[:1500]])
        region = Region(lambda t: np.logaddexp(first(t), other.log_q(t)), region.threshold)
    cut = truncated(prior, region)
    exact = cut.sample(4000, draws, generator("exact", case))
    chains = cut.by_chains(4000, draws, generator("chains", case))
    assert not exact.chains and np.isfinite(prior.log_prob(chains.theta)).all()
    views = [lambda t: t[:, 0], lambda t: t[:, 1], lambda t: t[:, 0] * t[:, 1], region.log_q]
    p_values = [stats.ks_2samp(view(exact.theta), view(chains.theta)).pvalue for view in views]
    assert min(p_values) > 1e-3 / len(views), p_values


def test_starts_alone_are_told_from_the_target() -> None:
    """The planted fault: walkers that have hardly moved still follow the answer."""
    region, draws = gaussian(np.zeros(2), tilted(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(truncation, "MOVES", 2)
        found = truncated(normal_prior(2), region).by_chains(4000, draws, generator("few"))
    exact = truncated(normal_prior(2), region).sample(4000, draws, generator("exact few"))
    assert stats.ks_2samp(region.log_q(found.theta), region.log_q(exact.theta)).pvalue < 1e-6


def test_rows_lie_in_all_regions_and_the_seed_decides_them() -> None:
    """Small regions, so that chains are taken; whatever the parts in which densities are asked for."""
    near, draws = gaussian(np.array([0.3, 0.3]), 0.02 * np.eye(2))
    far, _ = gaussian(np.array([0.33, 0.3]), 0.02 * np.eye(2))

    def rows(regions: tuple[Region, ...], seed: str = "rows") -> Proposed:
        return truncated(normal_prior(2), *regions).sample(500, draws, generator(seed))

    def in_parts(region: Region) -> Region:
        return Region(
            lambda t: np.concatenate([region.log_q(t[i : i + 97]) for i in range(0, len(t), 97)]),
            region.threshold,
        )

    found = rows((far, near))
    assert found.chains and near.holds(found.theta).all() and far.holds(found.theta).all()
    assert not far.holds(rows((near,)).theta).all()
    assert np.array_equal(rows((far, near)).theta, found.theta)
    assert np.array_equal(rows((in_parts(far), in_parts(near))).theta, found.theta)
    assert not np.array_equal(rows((far, near), "other").theta, found.theta)
    nowhere = Region(lambda t: np.full(len(t), -np.inf), 0.0)
    with pytest.raises(ConvergenceError, match="contradicts earlier ones"):
        rows((nowhere, near))

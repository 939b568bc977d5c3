"""The g-and-k distribution: its density at both levels, its exact posterior, and what levels share."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from veridical.errors import TaskError
from veridical.tasks.g_and_k import GAndK

TASK = GAndK(draws=10)


def test_without_skewness_and_tails_it_is_normal(rng: np.random.Generator) -> None:
    theta = np.tile([1.2, 0.7, 0.0, 1.0], (40, 1))
    noise = TASK.noise(rng, 40)
    x, normal = TASK.simulate(theta, noise, "exact"), stats.norm(1.2, 0.7)
    assert np.allclose(x, normal.ppf(noise["uniform"]), rtol=1e-12)
    assert np.allclose(TASK.log_likelihoods(theta, x, "exact"), normal.logpdf(x).sum(axis=1), rtol=1e-12)
    assert np.allclose(TASK.log_likelihood(theta, x[3]), normal.logpdf(x[3]).sum(), rtol=1e-12)


@pytest.mark.parametrize("level", ["cubic", "exact"])
def test_the_density_is_the_slope_of_the_distribution_function(level: str, rng: np.random.Generator) -> None:
    u = np.array([1e-4, 0.05, 0.3, 0.5, 0.8, 0.999])
    nodes, weights = np.polynomial.legendre.leggauss(200)
    for theta in TASK.prior.sample(rng, 5):
        rows = np.tile(theta, (len(u), 1))
        ends = TASK.simulate(rows, {"uniform": np.repeat(u[:, None], 10, axis=1)}, level)[:, 0]
        half = np.diff(ends) / 2
        places = (ends[:-1] + half)[:, None] + half[:, None] * nodes
        same = np.repeat(places.ravel()[:, None], 10, axis=1)  # equal numbers
        log_p = TASK.log_likelihoods(np.tile(theta, (len(same), 1)), same, level) / 10
        masses = (np.exp(log_p).reshape(places.shape) * weights).sum(axis=1) * half
        assert np.allclose(masses, np.diff(u), rtol=0, atol=2e-5)


def test_the_cheap_level_has_no_tails(rng: np.random.Generator) -> None:
    n = 2000
    theta, noise, other = TASK.prior.sample(rng, n), TASK.noise(rng, n), TASK.noise(rng, n)
    exact, cubic = (TASK.simulate(theta, noise, level) for level in ("exact", "cubic"))
    middle = np.abs(noise["uniform"] - 0.5) < 0.05
    assert np.abs(exact - cubic)[middle].max() < 2e-3, "the next term of the series is of the fifth order"
    side, far = np.sign(noise["uniform"] - 0.5), np.abs(noise["uniform"] - 0.5) > 0.49
    assert (side * exact >= side * cubic).all() and np.abs(exact[far]).mean() > 2 * np.abs(cubic[far]).mean()
    assert TASK.log_likelihoods(theta[:1], np.full((1, 10), 1e3), "cubic")[0] == -np.inf
    apart = np.abs(exact - TASK.simulate(theta, other, "cubic"))
    assert np.median(np.abs(exact - cubic)) < 0.05 * np.median(apart), "both have the same numbers"
    squeezed = [np.arcsinh(x) for x in (exact, cubic, TASK.simulate(theta, other, "cubic"))]
    coupled = (squeezed[0] - squeezed[1]).var()
    assert coupled < 0.1 * squeezed[0].var() and coupled < 0.1 * (squeezed[0] - squeezed[2]).var()


def test_the_evidence_is_the_mean_likelihood_over_the_prior(rng: np.random.Generator) -> None:
    x = TASK.simulate(TASK.prior.sample(rng, 3), TASK.noise(rng, 3), "exact")
    theta = TASK.prior.sample(rng, 40_000)
    for row, found in zip(x, TASK.log_evidence(x), strict=True):
        log_p = TASK.log_likelihood(theta, row)
        expected = logsumexp(log_p) - np.log(len(theta))
        p = np.exp(log_p - expected)
        assert abs(found - expected) < 4.5 * p.std() / np.sqrt(len(theta)) + 0.01


def test_the_evidence_scales_as_location_and_scale_do(rng: np.random.Generator) -> None:
    """Far from the bounds of both: with deviations s times as large it is s^(2 - n) times as large."""
    theta = np.tile([1.5, 0.3, 1.0, 2.0], (2, 1))
    x, s = TASK.simulate(theta, TASK.noise(rng, 2), "exact"), 0.05
    found = TASK.log_evidence(1.5 + s * (x - 1.5)) - TASK.log_evidence(x)
    assert np.abs(found - (2 - 10) * np.log(s)).max() < 0.01


def test_draws_have_the_moments_of_the_posterior(rng: np.random.Generator) -> None:
    x = TASK.simulate(TASK.prior.sample(rng, 1), TASK.noise(rng, 1), "exact")
    theta = TASK.prior.sample(rng, 60_000)
    w = np.exp((log_p := TASK.log_likelihood(theta, x[0])) - logsumexp(log_p))
    draws = TASK.posterior_sample(x, rng, 3000)[:, 0]
    for power in (1, 2):
        values, own = theta**power, draws**power
        mean = w @ values
        error = np.sqrt(w**2 @ (values - mean) ** 2 + 2 * own.var(axis=0) / len(draws))
        assert (np.abs(own.mean(axis=0) - mean) < 4.5 * error).all()


def test_posteriors_hold_the_truth(rng: np.random.Generator) -> None:
    """Ranks of the truth among draws are uniform."""
    theta = TASK.prior.sample(rng, 8)
    x = TASK.simulate(theta, TASK.noise(rng, 8), "exact")
    draws = TASK.posterior_sample(x, rng, 100)
    shares = (draws < theta).mean(axis=0)
    assert (np.abs(shares.mean(axis=0) - 0.5) < 4.5 * np.sqrt(1 / 12 / 8)).all()
    outside = theta.copy()
    outside[:, 1] = 3.1
    assert (TASK.posterior_log_prob(outside[:2], x[:2]) == -np.inf).all()


def test_what_has_no_exact_posterior_is_refused() -> None:
    with pytest.raises(TaskError, match="known of level exact, not of 'cubic'"):
        TASK.posterior_log_prob(np.ones((1, 4)) * 2, np.ones((1, 10)), "cubic")
    for draws in (9, 101, 20.0, True):
        with pytest.raises(TaskError, match="a whole number draws from 10 to 100, got"):
            GAndK(draws=draws)  # type: ignore[arg-type]

"""Tasks whose nature is another: closed forms, limits and the moments of independent implementations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from veridical.tasks import Task, build
from veridical.tasks.gaussian_cloud import GaussianCloud
from veridical.tasks.gaussian_linear import GaussianLinear
from veridical.tasks.gaussian_mean import GaussianMean
from veridical.tasks.mean_reversion import MeanReversion
from veridical.tasks.moving_average import MovingAverage
from veridical.tasks.ricker import Ricker
from veridical.tasks.slcp import SLCP
from veridical.tasks.stochastic_sir import StochasticSIR, _reported_late

Array = np.ndarray


def rows(task: Task, theta: list[float], n: int, level: str, rng: np.random.Generator) -> Array:
    """Data of a level at one parameter."""
    return task.simulate(np.tile(theta, (n, 1)), task.noise(rng, n), level)


def near(values: Array, mean: float, errors: float = 4.5) -> bool:
    """Whether the mean of values is one that is known, within their Monte Carlo error."""
    return abs(values.mean() - mean) < errors * values.std() / np.sqrt(values.size)


# ---- posteriors of nature --------------------------------------------------------------------------

EXACT = [
    GaussianMean(severity=0.5),
    GaussianMean(prior_sd=10.0, unbiased=True),
    GaussianCloud(points=7),
    GaussianCloud(points=7, severity=0.3),
    GaussianLinear(3, 0.5, 0.4, real_noise_sd=0.9, severity=0.5),
]


@pytest.mark.parametrize("level", ["model", "real"])
@pytest.mark.parametrize("task", EXACT, ids=lambda task: f"{task.name}-{task.severity}")
def test_exact_posteriors_rank_the_truth_uniformly(task: Task, level: str, rng: np.random.Generator) -> None:
    """Of each level; and draws have the stated density: the entropy of a normal distribution."""
    n, draws = 2000, 99
    theta = task.prior.sample(rng, n)
    x = task.simulate(theta, task.noise(rng, n), level)
    posterior = task.posterior_sample(x, rng, draws, level)
    for j in range(theta.shape[1]):
        rank = (posterior[..., j] < theta[:, j]).sum(axis=0)
        assert stats.kstest((rank + rng.random(n)) / (draws + 1), "uniform").pvalue > 1e-4
    log_p = task.posterior_log_prob(posterior, x, level)
    entropy = 0.5 * np.log(2 * np.pi * np.e * posterior[:, :, 0].var(axis=0, ddof=1).mean())
    assert -log_p.mean() / theta.shape[1] == pytest.approx(entropy, abs=0.02)


@pytest.mark.parametrize("task", [GaussianMean(wrong="contamination"), GaussianCloud(wrong="noise")])
def test_where_nature_has_no_known_posterior_none_is_given(task: Task, rng: np.random.Generator) -> None:
    assert not task.has_posterior
    x = task.simulate(task.prior.sample(rng, 2), task.noise(rng, 2), "model")
    assert task.posterior_sample(x, rng, 3).shape[:2] == (3, 2), "the simulator's"
    with pytest.raises(NotImplementedError, match="no exact posterior at the level real"):
        task.posterior_sample(x, rng, 3, "real")


def test_the_assumed_noise_costs_what_is_published(rng: np.random.Generator) -> None:
    """Gaussian linear: mean squared errors 0.75 and 0.667 of the assumed and of the real posterior mean."""
    task = GaussianLinear(10, 0.1**0.5, 0.1**0.5, real_noise_sd=0.2**0.5)
    theta = task.prior.sample(rng, 5000)
    x = task.simulate(theta, task.noise(rng, 5000), "real")
    for level, expected in (("model", 0.75), ("real", 2 / 3)):
        errors = (task.posterior_sample(x, rng, 400, level).mean(axis=0) - theta) ** 2 / 0.1
        of_draws = task._posterior(x, level)[1] ** 2 / 0.1 / 400
        assert near(errors - of_draws, expected)


# ---- likelihoods -----------------------------------------------------------------------------------

LIKELIHOODS = [  # a task, its parameters, and a step from them that a few data sets can bear
    (GaussianMean(), [1.0], 0.05),
    (GaussianCloud(points=7), [0.5, -1.0], 0.1),
    (MeanReversion(realisations=3), [0.5, 1.0], 0.02),
    (SLCP(points=5, real_noise_sd=100.0), [0.7, -2.0, -1.0, -0.9, 0.6], 0.05),
]


@pytest.mark.parametrize(("task", "theta", "step"), LIKELIHOODS, ids=lambda value: getattr(value, "name", ""))
def test_simulations_follow_the_likelihood(
    task: Task, theta: list[float], step: float, rng: np.random.Generator
) -> None:
    """The mean of p(x | other) / p(x | theta) over simulations at theta is one, whatever the other is."""
    at = np.array([theta, np.array(theta) + step])
    log_p = np.array([task.log_likelihood(at, one) for one in rows(task, theta, 400, "model", rng)])
    ratio = np.exp(log_p[:, 1] - log_p[:, 0])
    assert 1e-3 < ratio.std() / 20 < 0.2 and near(ratio, 1.0)


def test_the_density_of_two_summaries_integrates_to_one() -> None:
    task = GaussianMean(repeats=6, unbiased=True)
    mean, variance = np.linspace(-2, 4, 301), np.linspace(1e-4, 12, 801)
    density = np.array(
        [[task.log_likelihood(np.ones((1, 1)), np.array([m, v]))[0] for v in variance] for m in mean]
    )
    assert np.trapezoid(np.trapezoid(np.exp(density), variance), mean) == pytest.approx(1, abs=2e-3)
    assert task.log_likelihood(np.ones((1, 1)), np.array([1.0, -1.0])).tolist() == [-np.inf]


# ---- what nature does ------------------------------------------------------------------------------


def test_the_real_variance_lies_seven_standard_deviations_out(rng: np.random.Generator) -> None:
    model, real = (rows(GaussianMean(), [3.0], 4000, level, rng)[:, 1] for level in ("model", "real"))
    assert near(model, 0.99) and model.std() == pytest.approx(np.sqrt(2 * 99) / 100, rel=0.05)
    assert near(real, 1.98) and (real.mean() - model.mean()) / model.std() == pytest.approx(7, abs=0.4)


@pytest.mark.parametrize("severity", [1.0, 0.5])
def test_contamination_adds_its_share_of_variance(severity: float, rng: np.random.Generator) -> None:
    task = GaussianMean(unbiased=True, wrong="contamination", severity=severity)
    mean, variance = rows(task, [1.0], 4000, "real", rng).T
    assert near(mean, 1.0) and near(variance, 1 + 0.2 * severity * 3)


def test_the_noise_of_a_cloud_has_no_centre(rng: np.random.Generator) -> None:
    task = GaussianCloud(wrong="noise", severity=0.6)
    theta = np.full((500, 2), 50.0)
    x = task.simulate(theta, task.noise(rng, 500), "real")
    replaced = x[..., 0] < 25
    assert (replaced.sum(axis=1) == 30).all(), "a share 0.5 s of 100 points"
    assert near(replaced.mean(axis=0), 0.3) and replaced.any(axis=0).all(), "at any place"
    assert near(x[replaced], 0.0) and x[replaced].var() == pytest.approx(9 * 10 / 49 / 8, rel=0.03)


def test_contamination_of_slcp_is_that_of_its_last_point(rng: np.random.Generator) -> None:
    task = SLCP(points=5, real_noise_sd=100.0, severity=0.5)
    theta, noise = task.prior.sample(rng, 4000), task.noise(rng, 4000)
    added = task.simulate(theta, noise, "real") - task.simulate(theta, noise, "model")
    assert (added[:, :8] == 0).all() and added[:, 8:].std() == pytest.approx(50, rel=0.05)


def test_moving_average_and_volatility_have_their_moments(rng: np.random.Generator) -> None:
    for theta in (-0.7, 0.4):
        square, product = rows(MovingAverage(), [theta], 4000, "model", rng).T
        assert near(square, 1 + theta**2) and near(product, theta * 99 / 100)
    theta, noise = np.linspace(-1, 1, 20_000)[:, None], MovingAverage().noise(rng, 20_000)
    square, product = MovingAverage().simulate(theta, noise, "real").T
    assert near(square, np.exp(-7.36 + 0.5 * 0.36**2 / (1 - 0.81))) and near(product, 0.0)
    np.testing.assert_array_equal(square, MovingAverage().simulate(0 * theta, noise, "real")[:, 0])


@pytest.mark.parametrize(
    ("theta", "means", "sds"),
    [
        ([0.5, 1.0], [9.30, 7.11, 4.88, 3.36], [0.22, 0.41, 0.49, 0.51]),
        ([-0.5, 1.0], [10.70, 14.24, 24.6, 68.7], [0.22, None, None, None]),
    ],
)
def test_mean_reversion_has_the_moments_of_its_recursion(
    theta: list[float], means: list[float], sds: list[float | None], rng: np.random.Generator
) -> None:
    """At steps 1, 5, 12 and 24, and by m + (10 - m) (1 - k d)^t."""
    task = MeanReversion(step=5 / 26)
    x = rows(task, theta, 200, "model", rng).reshape(-1, 25)
    exact = np.e + (10 - np.e) * (1 - theta[0] * task.step) ** np.arange(25)
    np.testing.assert_allclose(exact[[1, 5, 12, 24]], means, rtol=2e-3)
    assert all(near(x[:, t], exact[t]) for t in range(1, 25))
    for t, sd in zip((1, 5, 12, 24), sds, strict=True):
        assert sd is None or x[:, t].std() == pytest.approx(sd, abs=0.01)


@pytest.mark.parametrize("name", ["ricker", "mean_reversion"])
@pytest.mark.parametrize("severity", [1.0, 0.5])
def test_some_realisations_of_nature_have_other_parameters(
    name: str, severity: float, rng: np.random.Generator
) -> None:
    task = build({"name": name, "settings": {"realisations": 20, "severity": severity}})
    other = {"ricker": [4.0, 100.0], "mean_reversion": [-0.5, 1.0]}[name]
    theta, noise, kept = task.prior.sample(rng, 3), task.noise(rng, 3), 20 - round(4 * severity)
    real, model = (task.simulate(theta, noise, level) for level in ("real", "model"))
    np.testing.assert_array_equal(real[:, :kept], model[:, :kept])
    contaminated = task.simulate(np.tile(other, (3, 1)), noise, "model")
    np.testing.assert_array_equal(real[:, kept:], contaminated[:, kept:])


def test_ricker_counts_have_the_moments_of_an_independent_implementation(rng: np.random.Generator) -> None:
    x = rows(Ricker(), [4.0, 10.0], 40, "model", rng)
    of_series = x.mean(axis=2).ravel()
    assert near(of_series, 40.7, 5) and x.std() == pytest.approx(70.8, rel=0.02)
    assert (x == 0).mean() == pytest.approx(0.44, abs=0.01) and np.median(x) == 2
    assert np.quantile(x, 0.99) == pytest.approx(286, rel=0.03)
    other = rows(Ricker(), [4.0, 100.0], 20, "model", rng)
    assert near(other.mean(axis=2).ravel(), 406, 5) and (other == 0).mean() == pytest.approx(0.33, abs=0.01)


def test_stochastic_sir_has_the_moments_of_an_independent_implementation(rng: np.random.Generator) -> None:
    """Means, standard deviations and shifts of 8,000 draws."""
    task, n = StochasticSIR(), 3000
    theta, noise = task.prior.sample(rng, n), task.noise(rng, n)
    assert task.prior.log_prob(theta)[0] == pytest.approx(np.log(8))
    model, real = (task.simulate(theta, noise, level) for level in ("sde", "real"))
    means, sds = (
        np.array([7.30, 0.20, 9.40, 3.91, 4.05, 0.9980]),
        np.array([1.51, 6.42, 1.52, 0.67, 0.60, 0.0014]),
    )
    assert (np.abs(model.mean(axis=0) - means) < 4.5 * sds * np.sqrt(1 / n + 1 / 8000) + 0.005).all()
    np.testing.assert_allclose(model.std(axis=0)[:5], sds[:5], rtol=0.06)
    shift = (real - model) / sds
    assert shift[:, 5].mean() == pytest.approx(-2.93, abs=0.25) and np.median(shift[:, 5]) == pytest.approx(
        -2.2, abs=0.25
    )
    assert np.abs(shift[:, [0, 1, 3, 4]].mean(axis=0)).max() < 0.03 and 0.02 < shift[:, 2].mean() < 0.08


def test_without_diffusion_the_stochastic_sir_is_the_ordinary_one(rng: np.random.Generator) -> None:
    """Its final size solves s = 0.999 exp(-R (1 - s)): nothing else stops the epidemic within a year."""
    from scipy.optimize import brentq

    from veridical.tasks.stochastic_sir import _infected

    gamma, beta = np.array([0.2]), np.array([0.45])
    seen = _infected(gamma, beta, np.zeros((1, 3640)))
    left = brentq(lambda s: s - 0.999 * np.exp(-2.25 * (1 - s)), 0.01, 0.9)
    assert gamma[0] * seen.sum() == pytest.approx(1 - left, rel=0.02)


def test_weekends_are_reported_on_mondays_and_nothing_is_lost() -> None:
    seen = np.arange(1.0, 366.0)[None]
    late = _reported_late(seen, 0.05)
    assert late.sum() == pytest.approx(seen.sum())
    np.testing.assert_allclose(
        (late / seen)[0, [0, 1, 2, 4, 7, 8, 9, 359]], [1, 0.95, 0.95, 1, 1, 0.95, 0.95, 0.95]
    )
    assert late[0, 3] == pytest.approx(4 + 0.05 * (2 + 3))


def test_days_that_are_dequantised_round_to_the_days(rng: np.random.Generator) -> None:
    theta, noise = StochasticSIR().prior.sample(rng, 50), StochasticSIR().noise(rng, 50)
    smooth, whole = (StochasticSIR(dequantised=d).simulate(theta, noise, "sde") for d in (True, False))
    np.testing.assert_allclose(np.round(np.exp(smooth[:, 3:5])), np.round(np.exp(whole[:, 3:5])))
    assert (smooth[:, 3:5] != whole[:, 3:5]).all()
    np.testing.assert_array_equal(smooth[:, [0, 1, 2, 5]], whole[:, [0, 1, 2, 5]])

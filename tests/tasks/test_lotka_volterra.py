"""The two predator-prey tasks: integrators against closed orders and scipy, coupling, likelihoods."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import solve_ivp

from veridical.errors import DataError
from veridical.tasks.lotka_volterra import LotkaVolterra, euler_counts, rk4_log_counts
from veridical.tasks.lotka_volterra_bf import LotkaVolterraBF

TYPICAL = np.array([0.55, 0.028, 0.80, 0.024, 33.0, 5.9, 0.25, 0.25])


def exact_counts(rates: np.ndarray, start: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Counts of one parameter at `times`, shape (K, 2), from an adaptive method of order eight."""
    a, b, c, d = rates

    def slope(_: float, z: np.ndarray) -> list[float]:
        return [a - b * np.exp(z[1]), -c + d * np.exp(z[0])]

    span = (times[0], times[-1])
    found = solve_ivp(slope, span, np.log(start), "DOP853", times, rtol=1e-11, atol=1e-11)
    return np.exp(found.y.T)


def draws(rng: np.random.Generator, n: int) -> np.ndarray:
    """Parameters as in the posterior of the pelts, shape (n, 8)."""
    return TYPICAL * np.exp(0.1 * rng.standard_normal((n, 8)))


def test_integrators_have_their_orders(rng: np.random.Generator) -> None:
    theta = draws(rng, 20)
    rates, start = theta[:, :4].T.copy(), theta[:, 4:6].T.copy()
    exact = rk4_log_counts(rates, np.log(start), 1 / 640, 640, 8)

    def rk4_error(steps: int) -> float:
        return np.abs(rk4_log_counts(rates, np.log(start), 1 / steps, steps, 8) - exact).max()

    def euler_error(steps: int) -> float:
        return np.abs(np.log(euler_counts(rates, start, 1 / steps, steps, 8)) - exact).max()

    assert np.log2(rk4_error(10) / rk4_error(20)) == pytest.approx(4, abs=0.3)
    assert np.log2(euler_error(200) / euler_error(400)) == pytest.approx(1, abs=0.1)


def test_both_fidelities_agree_with_an_adaptive_solver(rng: np.random.Generator) -> None:
    task, theta = LotkaVolterra(), draws(rng, 4)
    silent = {"observation": np.zeros((4, 21, 2))}
    ode, euler = (task.simulate(theta, silent, fidelity) for fidelity in ("ode", "euler"))
    for i in range(4):
        exact = exact_counts(theta[i, :4], theta[i, 4:6], np.arange(21.0))
        np.testing.assert_allclose(ode[i], exact, rtol=1e-5)
        gap = np.abs(np.log(euler[i] / exact))
        assert gap[:3].max() < 0.2 and gap.max() > 0.01, "the crude level follows, and is crude"
    np.testing.assert_allclose(ode[:, 0], theta[:, 4:6], rtol=1e-12)


def test_the_levels_share_their_noise(rng: np.random.Generator) -> None:
    task, theta = LotkaVolterra(), draws(rng, 30)
    noise = task.noise(rng, 30)
    silent = {"observation": np.zeros((30, 21, 2))}
    residuals = [
        np.log(task.simulate(theta, noise, fidelity) / task.simulate(theta, silent, fidelity))
        for fidelity in task.fidelities
    ]
    np.testing.assert_allclose(residuals[0], residuals[1], atol=1e-10)
    np.testing.assert_allclose(residuals[1], theta[:, None, 6:8] * noise["observation"], atol=1e-10)


def test_euler_fails_where_counts_leave_the_positive_numbers(rng: np.random.Generator) -> None:
    task = LotkaVolterra()
    theta = np.stack([TYPICAL] * 4)
    theta[1, 1] = 8.0  # hares are eaten faster than there are any
    theta[2, 0] = 2e3  # explodes
    theta[3, 2] = 50.0  # lynx die faster than there are any
    x = task.simulate(theta, task.noise(rng, 4), "euler")
    assert np.isfinite(x.reshape(4, -1)).all(axis=1).tolist() == [True, False, False, False]
    assert np.isnan(x[1:]).all()


def test_share_of_failures_under_the_prior(rng: np.random.Generator) -> None:
    """Measured once on 1e5 draws: 4.3 % at h = 0.05, none for the log counts."""
    task, n = LotkaVolterra(), 4000
    theta, noise = task.prior.sample(rng, n), task.noise(rng, n)
    failed = np.isnan(task.simulate(theta, noise, "euler")).any(axis=(1, 2)).mean()
    assert abs(failed - 0.043) < 4 * (0.043 * 0.957 / n) ** 0.5
    ode = task.simulate(theta, noise, "ode")
    assert np.isfinite(ode).all() and (ode > 0).all()


def test_the_prior_is_that_of_the_issue(rng: np.random.Generator) -> None:
    rate, contact = stats.truncnorm(-2, np.inf, 1, 0.5), stats.truncnorm(-1, np.inf, 0.05, 0.05)
    count, spread = stats.lognorm(1, scale=10), stats.lognorm(1, scale=np.exp(-1))
    theirs = [rate, contact, rate, contact, count, count, spread, spread]
    task = LotkaVolterra()
    assert task.parameter_names == ("a", "b", "c", "d", "u0", "v0", "sd_u", "sd_v")
    theta = task.prior.sample(rng, 5000)
    expected = sum(d.logpdf(theta[:, j]) for j, d in enumerate(theirs))
    np.testing.assert_allclose(task.prior.log_prob(theta), expected, rtol=1e-9)
    for j, distribution in enumerate(theirs):
        assert stats.kstest(theta[:, j], distribution.cdf).pvalue > 1e-4


def test_log_likelihood_is_the_log_normal_density_around_the_state(rng: np.random.Generator) -> None:
    task, theta = LotkaVolterra(), draws(rng, 5)
    x = task.simulate(theta, task.noise(rng, 5), "ode")[0]
    state = task.simulate(theta, {"observation": np.zeros((5, 21, 2))}, "ode")
    expected = stats.lognorm(theta[:, None, 6:8], scale=state).logpdf(x).sum(axis=(1, 2))
    np.testing.assert_allclose(task.log_likelihood(theta, x), expected)


def test_log_likelihood_of_simulated_data_has_the_mean_of_a_chi_square(rng: np.random.Generator) -> None:
    """At the true parameters minus twice the quadratic part is chi-square with 42 degrees of freedom."""
    task, n = LotkaVolterra(), 400
    x = task.simulate(np.stack([TYPICAL] * n), task.noise(rng, n), "ode")
    constant = -np.log(x).sum(axis=(1, 2)) - 42 * np.log(0.25 * np.sqrt(2 * np.pi))
    log_p = np.array([task.log_likelihood(TYPICAL[None], one)[0] for one in x[:40]])
    squares = -2 * (log_p - constant[:40])
    assert abs(squares.mean() - 42) < 4 * np.sqrt(84 / 40)


def test_log_likelihood_at_absurd_parameters_is_minus_infinity_without_a_warning() -> None:
    task = LotkaVolterra()
    theta = np.stack([TYPICAL, TYPICAL])
    theta[1, 0], theta[1, 3] = 1e4, 1e4
    log_p = task.log_likelihood(theta, np.full((21, 2), 10.0))
    assert np.isfinite(log_p[0]) and log_p[1] == -np.inf


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_log_likelihood_refuses_data_that_no_log_normal_gives(bad: float) -> None:
    x = np.full((21, 2), 10.0)
    x[3, 1] = bad
    with pytest.raises(DataError, match="expected positive finite pelts"):
        LotkaVolterra().log_likelihood(TYPICAL[None], x)


def test_case_study_agrees_with_an_adaptive_solver(rng: np.random.Generator) -> None:
    task = LotkaVolterraBF()
    theta = np.concatenate([task.prior.sample(rng, 4), [[3.9, 0.2, 3.9, 3.9]]])
    noise = task.noise(rng, 5)
    x = task.simulate(theta, noise, "ode") - 0.1 * noise["observation"]
    for i, rates in enumerate(theta):
        exact = exact_counts(rates, np.ones(2), 5 * np.arange(0, 100, 10) / 99)
        np.testing.assert_allclose(x[i], exact, atol=1e-4)
    np.testing.assert_allclose(x[:, 0], 1, rtol=1e-12)


def test_case_study_likelihood_and_prior(rng: np.random.Generator) -> None:
    task = LotkaVolterraBF()
    theta = task.prior.sample(rng, 6)
    x = task.simulate(theta, task.noise(rng, 6), "ode")[2]
    state = task.simulate(theta, {"observation": np.zeros((6, 10, 2))}, "ode")
    expected = stats.norm(state, 0.1).logpdf(x).sum(axis=(1, 2))
    np.testing.assert_allclose(task.log_likelihood(theta, x), expected)
    z = np.log((theta - 0.1) / (4.0 - theta))
    slope = np.log(3.9) - np.logaddexp(0, z) - np.logaddexp(0, -z)
    np.testing.assert_allclose(task.prior.log_prob(theta), (stats.norm.logpdf(z) - slope).sum(axis=1))


def test_ode_data_are_positive_where_the_lynx_all_but_die_out() -> None:
    task = LotkaVolterra()
    theta = np.array([[0.05, 0.2, 60.0, 1e-6, 5.0, 5.0, 0.1, 0.1]])  # lynx fall by a factor e^-60 a year
    noise = {"observation": np.zeros((1, 21, 2))}
    x = task.simulate(theta, noise, "ode")
    assert (x > 0).all()
    assert x.min() == np.exp(-690.0)
    assert np.isfinite(task.log_likelihood(theta, x[0])).all()

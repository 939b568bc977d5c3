"""Predators and prey event by event: each kind of event alone is known exactly; what the levels share."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from veridical.tasks.stochastic_lotka_volterra import (
    StochasticLotkaVolterra,
    poisson_quantile,
    uniforms,
)

TASK = StochasticLotkaVolterra()
TIMES = np.arange(1, 11)
RANDOM = ("langevin", "tau_leap", "jumps")


def counts(rates: list[float], level: str, n: int, rng: np.random.Generator) -> np.ndarray:
    return TASK.counts(np.tile(np.log(rates), (n, 1)), TASK.noise(rng, n), level)


def require_moments(found: np.ndarray, mean: np.ndarray, variance: np.ndarray, bias: float = 0.0) -> None:
    """Means and variances (10,) of n rows (n, 10) but for their errors, and a relative bias."""
    n = len(found)
    assert (np.abs(found.mean(axis=0) - mean) < 4.5 * np.sqrt(variance / n) + bias * mean).all()
    fourth = ((found - found.mean(axis=0)) ** 4).mean(axis=0)
    error = np.sqrt((fourth - found.var(axis=0) ** 2) / n)
    assert (np.abs(found.var(axis=0) - variance) < 4.5 * error + 5 * bias * variance).all()


@pytest.mark.parametrize("level", RANDOM)
def test_of_births_alone_prey_are_a_yule_process(level: str, rng: np.random.Generator) -> None:
    found, growth = counts([0.1, 1e-12, 1e-12], level, 1000, rng), np.exp(0.1 * TIMES)
    bias = 0.0 if level == "jumps" else 0.011  # of growth by 1 + a h in place of exp(a h), to t = 10
    require_moments(found[..., 0], 100 * growth, 100 * growth * (growth - 1), bias)
    assert np.abs(found[..., 1] - 50).max() < 0.01


@pytest.mark.parametrize("level", RANDOM)
def test_of_deaths_alone_predators_are_binomial(level: str, rng: np.random.Generator) -> None:
    found, left = counts([1e-12, 1e-12, 0.1], level, 2000, rng), np.exp(-0.1 * TIMES)
    bias = 0.0 if level == "jumps" else 0.011
    require_moments(found[..., 1], 50 * left, 50 * left * (1 - left), bias)
    assert np.abs(found[..., 0] - 100).max() < 0.01


def test_of_predation_alone_the_law_of_jumps_is_that_of_the_master_equation(rng: np.random.Generator) -> None:
    found = counts([1e-12, 0.002, 1e-12], "jumps", 1000, rng)
    assert np.array_equal(found.sum(axis=2), np.full((1000, 10), 150.0)), "each prey becomes a predator"
    prey = np.arange(101.0)
    rates = 0.002 * prey * (150 - prey)
    step, p = expm(np.diag(-rates) + np.diag(rates[1:], 1)), np.eye(101)[100]  # of columns
    means, squares = [], []
    for _ in TIMES:
        p = step @ p
        means.append(p @ prey)
        squares.append(p @ prey**2)
    require_moments(found[..., 0], np.array(means), np.array(squares) - np.square(means))
    limit = np.array([np.searchsorted(np.cumsum(p), q) for q in (0.1, 0.5, 0.9)])
    below = (found[:, -1, 0][:, None] <= limit).mean(axis=0)
    share = np.cumsum(p)[limit]
    assert (np.abs(below - share) < 4.5 * np.sqrt(share * (1 - share) / 1000) + 1e-12).all()


def test_the_cheapest_level_is_the_solution_of_the_equations(rng: np.random.Generator) -> None:
    theta = TASK.prior.sample(rng, 4)
    found = TASK.counts(theta, TASK.noise(rng, 4), "ode")
    for rates, path in zip(np.exp(theta), found, strict=True):
        birth, meal, death = rates

        def slope(
            _: float, s: np.ndarray, b: float = birth, m: float = meal, d: float = death
        ) -> list[float]:
            return [b * s[0] - m * s[0] * s[1], m * s[0] * s[1] - d * s[1]]

        exact = solve_ivp(slope, (0, 10), [100.0, 50.0], t_eval=TIMES, rtol=1e-10, atol=1e-8).y.T
        assert np.allclose(path, exact, rtol=1e-4)


def test_chance_lets_species_die_out(rng: np.random.Generator) -> None:
    theta, noise = TASK.prior.sample(rng, 400), TASK.noise(rng, 400)
    exact = TASK.counts(theta, noise, "jumps")
    assert np.array_equal(exact, np.rint(exact)) and (exact >= 0).all()
    gone = exact == 0
    assert gone[:, -1, 0].mean() > 0.02, "prey die out"
    assert (gone[:, 1:] | ~gone[:, :-1]).all(), "for good"
    assert TASK.counts(theta, noise, "ode").min() > 0
    steps = [TASK.counts(theta, noise, level) for level in ("langevin", "tau_leap")]
    assert min(s.min() for s in steps) >= 0 and np.array_equal(steps[1], np.rint(steps[1]))


def test_levels_have_the_known_spread_and_share_their_numbers(rng: np.random.Generator) -> None:
    n = 800
    theta, noise, other = TASK.prior.sample(rng, n), TASK.noise(rng, n), TASK.noise(rng, n)
    x = {level: TASK.simulate(theta, noise, level) for level in TASK.fidelities}
    for level, mean, sd in (
        ("ode", 4.03, 1.20),
        ("langevin", 3.84, 1.50),
        ("tau_leap", 3.85, 1.50),
        ("jumps", 3.89, 1.46),
    ):
        error = x[level].mean(axis=(1, 2)).std() / np.sqrt(n)
        assert abs(x[level].mean() - mean) < 4.5 * error + 0.01 and abs(x[level].std() - sd) < 0.08
    coupled = (x["tau_leap"] - x["langevin"]).var(axis=0).mean()
    apart = (x["tau_leap"] - TASK.simulate(theta, other, "langevin")).var(axis=0).mean()
    assert coupled < 0.5 * apart
    for level in TASK.fidelities:
        data = x[level] - np.log1p(TASK.counts(theta, noise, level))
        assert np.allclose(data, 0.1 * noise["observation"], atol=1e-12)


def test_rows_of_too_many_events_fail(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    monkeypatch.setattr("veridical.tasks.stochastic_lotka_volterra.MOST_EVENTS", 700)
    theta = np.log([[0.5, 1e-9, 1e-9], [1e-9, 1e-9, 1.0], [1e-9, 1e-9, 1e-9]])
    x = TASK.simulate(theta, TASK.noise(rng, 3), "jumps")
    assert np.isnan(x[0]).all() and np.isfinite(x[1:]).all()


def test_poisson_quantiles(rng: np.random.Generator) -> None:
    mean, u = rng.gamma(0.5, 8.0, (3, 3000)), rng.random((3, 3000))
    mean[0, :5] = 0.0
    assert np.array_equal(poisson_quantile(u, mean), stats.poisson(mean).ppf(u))
    assert poisson_quantile(np.array([1 - 1e-12]), np.array([5.0]))[0] == stats.poisson(5).ppf(1 - 1e-12)


def test_numbers_of_a_key_are_those_of_splitmix64(rng: np.random.Generator) -> None:
    for count, output in enumerate((0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F)):  # from 0
        upper, lower = uniforms(np.zeros(1, np.uint64), count)
        assert [int(upper[0] * 2**32), int(lower[0] * 2**32)] == [output >> 32, output & (2**32 - 1)]
    keys = rng.integers(0, 2**64, 20_000, dtype=np.uint64)
    both = np.stack(uniforms(keys, 12_345))
    assert min(stats.kstest(part, "uniform").pvalue for part in both) > 1e-4
    following = np.stack(uniforms(keys, 12_346))
    assert np.abs(np.corrcoef(np.concatenate([both, following])) - np.eye(4)).max() < 4.5 / np.sqrt(20_000)

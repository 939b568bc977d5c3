"""The epidemic wave: what its equations and its noise must keep, and weekends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import solve_ivp

from veridical.tasks.seir import SEIR

DATA = Path(__file__).parents[2] / "config" / "data"
THETA = np.array([[1.6, 0.7, 30.0, 300.0, 8.0]])


def test_expected_cases_are_those_of_the_equations() -> None:
    """Within what four steps a day make of them."""
    before, after, change, start, _ = THETA[0]

    def rates(t: float, state: np.ndarray) -> list[float]:
        s, e, i, _ = state
        infected = (before if t < change else after) / 5 * s * i / 1e6
        return [-infected, infected - e / 3, e / 3 - i / 5, e / 3]

    first = [0.95e6 - 1.6 * start, 0.6 * start, start, 0.0]
    solved = solve_ivp(rates, (0, 56), first, t_eval=np.arange(57), rtol=1e-9, max_step=0.1)
    np.testing.assert_allclose(SEIR().expected(THETA)[0], 0.4 * np.diff(solved.y[3]), rtol=0.05)


def test_cases_stay_or_grow_as_the_reproduction_number_says() -> None:
    """(1 + 3 g)(1 + 5 g) = R s gives the rate g of growth, while few are immune."""
    few = np.array([[1.5, 1.5, 10.0, 0.1, 5.0], [1 / 0.95, 1 / 0.95, 10.0, 0.1, 5.0]])
    growth = np.diff(np.log(SEIR().expected(few)[:, [40, 55]]))[:, 0] / 15
    assert (1 + 3 * growth[0]) * (1 + 5 * growth[0]) == pytest.approx(1.5 * 0.95, rel=0.01)
    assert growth[1] == pytest.approx(0, abs=1e-4)


def test_the_day_of_the_change_has_no_jumps() -> None:
    theta = np.repeat(THETA, 400, axis=0)
    theta[:, 2] = np.linspace(20, 22, 400)
    steps = np.diff(SEIR().expected(theta).sum(axis=1))
    assert (steps > 0).all() and steps.max() < 1.2 * steps.min()


@pytest.mark.parametrize("k", [0.5, 8.0])
def test_counts_are_negative_binomial(k: float, rng: np.random.Generator) -> None:
    theta = np.repeat(THETA, 3000, axis=0)
    theta[:, 4] = k
    x, mean = SEIR().simulate(theta, SEIR().noise(rng, 3000), "seir"), SEIR().expected(theta[:1])[0]
    law = stats.nbinom(k, k / (k + mean))
    below = law.cdf(x - 1) + rng.random(x.shape) * law.pmf(x)
    for day in (0, 30, 55):
        assert stats.kstest(below[:, day], "uniform").pvalue > 1e-4
    expected = law.logpmf(x[:20]).sum(axis=1)
    found = [SEIR().log_likelihood(theta[:1], one)[0] for one in x[:20]]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_weeks_are_sums_of_days(rng: np.random.Generator) -> None:
    theta, noise = SEIR().prior.sample(rng, 20), SEIR().noise(rng, 20)
    days, weeks = (SEIR(weekly=weekly).simulate(theta, noise, "seir") for weekly in (False, True))
    np.testing.assert_array_equal(weeks, np.stack([d.sum(axis=1) for d in np.split(days, 8, axis=1)], axis=1))
    assert SEIR().has_likelihood and not SEIR(weekly=True).has_likelihood


@pytest.mark.parametrize("severity", [1.0, 0.5])
def test_weekends_are_seen_on_mondays(severity: float, rng: np.random.Generator) -> None:
    task = SEIR(weekend=0.8, severity=severity)
    theta, noise = np.repeat(THETA, 50, axis=0), task.noise(rng, 50)
    x, late = (task.simulate(theta, noise, level) for level in ("seir", "real"))
    weekend = np.arange(56) % 7 >= 5
    np.testing.assert_array_equal(late[:, weekend], x[:, weekend] - np.rint(0.8 * severity * x[:, weekend]))
    np.testing.assert_array_equal(late[:, :54].sum(axis=1), x[:, :54].sum(axis=1))
    other = ~weekend & (np.arange(56) % 7 != 0)
    np.testing.assert_array_equal(late[:, other], x[:, other])
    assert (np.rint(late) == late).all() and (late >= 0).all()


def test_the_real_waves_are_whole_and_their_weeks_are_sums() -> None:
    """And half of the countries report no case on any weekend."""
    days, weeks = (
        np.genfromtxt(
            DATA / f"covid19_europe_autumn_2020_{each}.csv", delimiter=",", names=True, skip_header=4
        )
        for each in ("days", "weeks")
    )
    for country in ("CH", "DE", "ES", "FR", "GB", "SE"):
        x = days[country].reshape(8, 7)
        assert (x == np.rint(x)).all() and (x >= 0).all()
        np.testing.assert_array_equal(x.sum(axis=1), weeks[country])
        assert (x[:, 5:] == 0).all() == (country in ("CH", "ES", "SE"))

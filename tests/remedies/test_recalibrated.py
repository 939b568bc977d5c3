"""Recalibration of density levels: closed forms of normal answers, planted faults, guarantees of ranks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from tests.remedies.shifted_task import SHIFTED
from tests.remedies.test_importance import Stated
from veridical import methods, seeds
from veridical.errors import TrainingError
from veridical.estimators.base import Estimator, Material, Rows
from veridical.estimators.prior_settings import PriorSettings
from veridical.remedies.conformal import ranks
from veridical.remedies.recalibrated import Recalibrated, fit_beta, log_g
from veridical.tasks.priors import Product, Uniform
from veridical.training.session import Session

FREE = replace(SHIFTED, bounds=np.array([(-np.inf, np.inf)]), x_shape=(1,))


def generator(*path: str | int) -> np.random.Generator:
    return seeds.generator(20261130, "test", "recalibrated", *path)


class Believed(Stated):
    """theta ~ N(x, sd^2), where it is N(x, 1)."""

    settings = PriorSettings()

    def __init__(self, sd: float, bagged: bool = False) -> None:
        super().__init__(FREE, lambda one: stats.norm(one[0], sd))
        self._bagged = bagged

    @property
    def bagged(self) -> bool:
        return self._bagged


def pairs(n: int, *path: str | int) -> Rows:
    rng = generator(*path)
    x = 3 * rng.standard_normal((n, 1))
    return Rows(x + rng.standard_normal((n, 1)), x, np.zeros(n, bool))


def fit(rows: Rows, parent: Estimator, **settings: Any) -> Recalibrated:
    spec = {"type": "recalibrated", "of": "parent", **settings}
    material = Material(calibration=rows, parent=parent)
    found = methods.fit(spec, FREE, material, Session(1, ("recalibrated", 0)))[0]
    assert isinstance(found, Recalibrated)
    return found


@pytest.mark.parametrize(
    ("n", "both"), [(8, (None, None)), (50, (46, 48)), (100, (91, 93)), (200, (181, 183))]
)
def test_ranks_hold_what_they_promise(n: int, both: tuple[int | None, int | None]) -> None:
    """Coverage of the set below the k-th of n levels is Beta(k, n + 1 - k)."""
    assert ranks(n) == both
    if both[0] is None or both[1] is None:
        return
    assert 0.9 <= stats.beta.mean(both[0], n + 1 - both[0]) <= 0.9 + 1 / (n + 1)
    assert stats.beta.sf(0.88, both[1], n + 1 - both[1]) >= 0.9
    assert stats.beta.sf(0.88, both[1] - 1, n + 2 - both[1]) < 0.9


@pytest.mark.parametrize("shape", [(1.0, 1.0), (0.5, 0.6), (2.0, 0.4), (3.0, 7.0)])
def test_the_density_of_levels_integrates_to_one(shape: tuple[float, float]) -> None:
    """By the midpoint rule in ten thousand cells."""
    levels = (np.arange(10_000) + 0.5) / 10_000
    assert np.exp(log_g(levels, np.array(shape))).mean() == pytest.approx(1, abs=1e-3)


def test_planted_levels_are_found() -> None:
    """Of 2,000 levels of a Beta density, to 5 errors by the Fisher information."""
    levels = generator("levels").beta(1.6, 0.8, 2000)
    from scipy.special import polygamma

    a, b = 1.6, 0.8
    information = np.diag(polygamma(1, [a, b])) - polygamma(1, a + b)
    errors = np.sqrt(np.diag(np.linalg.inv(information)) / 2000)
    assert (np.abs(fit_beta(levels) - [a, b]) < 5 * errors + 0.02).all()


def test_a_fit_that_is_too_narrow_is_widened() -> None:
    """N(x, 0.7^2) where N(x, 1) is right loses log 0.7 + (0.7^-2 - 1) / 2 = 0.164 nats; most come back.

    Nine tenths hold 90 % to 4 errors of 200 pairs and 1,000 rows.
    """
    parent = Believed(0.7)
    found, test = fit(pairs(200, "narrow"), parent), pairs(1000, "narrow", "test")
    exact = stats.norm.logpdf(test.theta, test.x).mean()
    before, after = (each.log_prob(test.theta, test.x).mean() for each in (parent, found))
    assert exact - before > 0.1 and exact - after < 0.05
    levels = 1 - 2 * stats.norm.sf(np.abs(test.theta - test.x)[:, 0] / 0.7)
    masses = np.interp(levels, np.arange(2002) / 2001, np.r_[0, np.cumsum(found._weights)] / 2001)
    error = np.sqrt(0.09 * (1 / 200 + 1 / 1000))
    assert (masses < 0.9).mean() == pytest.approx(0.9, abs=4 * error)


def test_draws_follow_the_density_and_say_what_they_are_worth() -> None:
    """On a grid, by Kolmogorov and Smirnov; the integral within the error that is told."""
    found = fit(pairs(200, "narrow"), Believed(0.7))
    x = np.array([[0.7]])
    theta = np.linspace(-3, 4.4, 4000)
    density = np.exp(found.log_prob(theta[:, None, None], x)[:, 0])
    mass = np.cumsum(density) * (theta[1] - theta[0])
    assert mass[-1] == pytest.approx(1, abs=5 * found.mass_error)
    draws, log_p, worth = found.drawn(x, 1000, generator("draws"))
    np.testing.assert_allclose(log_p, found.log_prob(draws, x))
    cdf = lambda v: np.interp(v, theta, mass / mass[-1])  # noqa: E731
    assert stats.kstest(draws[:, 0, 0], cdf).pvalue > 1e-4
    assert 1000 <= worth["ess"][0, 0] <= 20_000


@pytest.mark.parametrize("parent", [Believed(1.0), Believed(0.5, bagged=True)])
def test_an_honest_answer_or_a_mixture_of_fits_stays_as_it_is(parent: Believed) -> None:
    """To the bit, with the sets beside it."""
    found, x = fit(pairs(200, "honest"), parent), np.array([[0.7], [2.0]])
    assert not found.changes and found.bagged == parent.bagged
    for one, other in zip(
        found.sample_and_log_prob(x, 5, generator("same")),
        parent.sample_and_log_prob(x, 5, generator("same")),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    told = found.transforms()
    assert told["beta"] is None and told["set_90"]["rank"] == 181 and told["strict_set_90"]["rank"] == 183


def test_it_is_used_no_oftener_than_chance_allows() -> None:
    """Twice the gain on uniform levels is at most chi squared, two degrees of freedom: e^-2 of 200 sets."""
    used = 0
    for i in range(200):
        levels = generator("chance", i).random(100)
        used += log_g(levels, fit_beta(levels)).sum() > 2
    expected = np.exp(-2)
    assert used / 200 < expected + 4 * np.sqrt(expected * (1 - expected) / 200)


def test_sets_by_rank_hold_nine_tenths_of_a_wrong_answer() -> None:
    """Mean coverage of 20 sets of 50 pairs: that of Beta(46, 5), to 4 errors."""
    parent = Believed(0.7)
    covered = []
    for i in range(20):
        told = fit(pairs(50, "set", i), parent, draws=500).transforms()["set_90"]["mass"]
        radius = stats.norm.ppf((1 + told) / 2) * 0.7
        covered.append(2 * stats.norm.cdf(radius) - 1)
    spread = stats.beta.std(46, 5) / np.sqrt(20)
    assert np.mean(covered) == pytest.approx(46 / 51, abs=4 * spread + 0.01)


def test_pairs_are_answered_by_the_levels_of_others() -> None:
    """A pair that is moved far out changes no answer to itself, and some to others."""
    rows, parent = pairs(50, "apart"), Believed(0.5)
    theta = rows.theta.copy()
    theta[7] += 100.0
    both = [fit(each, parent).apart(each) for each in (rows, replace(rows, theta=theta))]
    for (held, one), (again, other) in zip(*both, strict=True):
        np.testing.assert_array_equal(held, again)
        assert isinstance(one, Recalibrated) and isinstance(other, Recalibrated)
        assert np.array_equal(one.shape, other.shape) == (7 in held)


def test_what_it_refuses() -> None:
    with pytest.raises(TrainingError, match="expected at least 10 labelled real rows, got 5"):
        fit(pairs(5, "few"), Believed(1.0))
    ridge = methods.fit({"type": "ridge"}, FREE, Material(calibration=pairs(40, "r")), Session(1, ("r", 0)))[
        0
    ]
    assert isinstance(fit(pairs(40, "r"), ridge).parent, type(ridge)), "ridge leaves pairs out"
    mlp = methods.fit({"type": "mlp"}, FREE, Material(calibration=pairs(40, "r")), Session(1, ("m", 0)))[0]
    with pytest.raises(TrainingError, match="'mlp' has learned from labelled pairs"):
        fit(pairs(40, "r"), mlp)


def test_where_all_densities_are_equal_nothing_changes() -> None:
    """Levels of ties are those of their middle, and g over them has a mean of one: no gain out of nothing."""
    box = replace(FREE, bounds=np.array([(0.0, 1.0)]))
    uniform = Product({"share": Uniform(0.0, 1.0)})
    parent = methods.fit({"type": "prior"}, box, Material(prior=uniform), Session(1, ("prior", 0)))[0]
    theta = 0.1 * generator("ties").random((100, 1))
    rows = Rows(theta, np.zeros((100, 1)), np.zeros(100, bool))
    spec = {"type": "recalibrated", "of": "parent", "draws": 200, "least_gain": 0.0}
    found = methods.fit(
        spec, box, Material(calibration=rows, parent=parent), Session(1, ("recalibrated", 0))
    )[0]
    assert isinstance(found, Recalibrated)
    np.testing.assert_allclose(found.levels, 0.5, atol=0.01)
    np.testing.assert_allclose(found.log_prob(theta[:5, None], rows.x[:1]), 0.0, atol=1e-9)


def test_pairs_beyond_the_bounds_are_refused() -> None:
    rows = pairs(40, "bounds")
    inside = replace(FREE, bounds=np.array([(-1.0, 1.0)]))

    class Bounded(Believed):
        def log_prob(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
            return np.where(np.abs(theta[..., 0]) < 1, super().log_prob(theta, x), -np.inf)

    spec = {"type": "recalibrated", "of": "parent"}
    material = Material(calibration=rows, parent=Bounded(1.0))
    with pytest.raises(TrainingError, match=r"pair \d+ has no density .* outside of their bounds"):
        methods.fit(spec, inside, material, Session(1, ("recalibrated", 0)))

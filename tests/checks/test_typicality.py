"""Typicality of an observation: exact under the simulator, alarmed by what the simulator cannot make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from veridical.checks.base import monte_carlo_p
from veridical.checks.typicality import Typicality, holm, mahalanobis, set_p_value, tail_p
from veridical.errors import DataError, ShapeError

from .gaussian_model import Draws, value

Fitted = Callable[..., Draws]

K = 4


def _skewed(rng: np.random.Generator, n: int) -> np.ndarray:
    """Summaries of a well-specified simulator: correlated, skewed, nothing like Gaussian."""
    z = rng.exponential(size=(n, K))
    return z @ np.triu(np.ones((K, K)))


@pytest.fixture
def fitted(rng: np.random.Generator) -> Fitted:
    """Draws with the summaries given, and mean and covariance of 5,000 training rows."""
    training = _skewed(rng, 5000)

    def make(summary: np.ndarray | None) -> Draws:
        n = 1 if summary is None else len(summary)
        return Draws(
            ("a",),
            np.zeros((2, n, 1)),
            summary=summary,
            summary_mean=training.mean(axis=0),
            summary_cov=np.cov(training.T),
        )

    return make


@pytest.mark.parametrize("size", [1, 5])
def test_p_values_are_uniform_under_the_simulator(
    size: int, fitted: Fitted, rng: np.random.Generator
) -> None:
    """For single observations and for sets, whatever the distribution of the summaries."""
    check = Typicality(permutations=99)
    p_values = []
    for _ in range(300):
        null, observed = fitted(_skewed(rng, 199)), fitted(_skewed(rng, size))
        p_values.append(value(check.run(observed, rng, null=null), "mahalanobis_p").value)
    jitter = rng.random(300) / (200 if size == 1 else 100)  # p-values are multiples of this step
    assert stats.kstest(np.array(p_values) - jitter, "uniform").pvalue > 1e-4


def of_members(rng: np.random.Generator, n: int, only_second: float = 0.0) -> Draws:
    """Two summaries by each of three members, who nearly agree, and one of them sees a misfit."""
    common = rng.normal(size=(n, 2))
    each = [common + 0.1 * rng.normal(size=(n, 2)) for _ in range(3)]
    each[1] = each[1] + only_second
    fit = {"summary_mean": np.zeros(6), "summary_cov": 1.01 * np.eye(6), "summarisers": 3}
    return Draws(("a",), np.zeros((2, n, 1)), summary=np.hstack(each), **fit)


def test_what_a_single_member_of_an_ensemble_sees_is_seen(rng: np.random.Generator) -> None:
    """And nothing is spent on their number: p-values stay uniform."""
    check, found = Typicality(permutations=99), []
    for _ in range(200):
        result = check.run(of_members(rng, 1), rng, null=of_members(rng, 199))
        found.append(value(result, "member_p").value - rng.random() / 200)
    assert stats.kstest(found, "uniform").pvalue > 1e-4
    far, null = of_members(rng, 1, 5.0), of_members(rng, 999)
    assert value(check.run(far, rng, null=null), "member_p").value == 1 / 1000
    first = [replace(d, summary=d.summary[:, :2], summarisers=1) for d in (far, null)]
    first = [replace(d, summary_mean=np.zeros(2), summary_cov=1.01 * np.eye(2)) for d in first]
    of_first = check.run(first[0], rng, null=first[1])
    assert value(of_first, "member_p").value > 0.01


def test_a_planted_misspecification_is_atypical(fitted: Fitted, rng: np.random.Generator) -> None:
    null = fitted(_skewed(rng, 500))
    strange = fitted(np.array([[1.0, 2.0, 3.0, -10.0]]))  # sums of positive numbers grow; these do not
    result = Typicality().run(strange, rng, null=null)
    assert result.passed is False
    assert value(result, "mahalanobis_p").value == 1 / 501
    assert value(result, "mahalanobis").value > result.curves["null"].max()


def test_a_summary_that_never_moved_is_not_overlooked(rng: np.random.Generator) -> None:
    """A dead unit in training that comes alive on the observation is the plainest sign of all."""
    training = _skewed(rng, 2000)
    training[:, 2] = 0.0
    held_out, observed = _skewed(rng, 200), training[:1].copy()
    held_out[:, 2] = 0.0
    observed[0, 2] = 0.5
    fit = {"summary_mean": training.mean(axis=0), "summary_cov": np.cov(training.T)}
    draws = Draws(("a",), np.zeros((2, 1, 1)), summary=observed, **fit)
    null = Draws(("a",), np.zeros((2, 200, 1)), summary=held_out, **fit)
    result = Typicality().run(draws, rng, null=null)
    assert result.p_value == 1 / 201


def test_a_small_null_cannot_decide(fitted: Fitted, rng: np.random.Generator) -> None:
    result = Typicality().run(fitted(_skewed(rng, 1) - 50), rng, null=fitted(_skewed(rng, 50)))
    assert result.passed is None
    assert "50 held-out simulations cannot tell" in result.notes[0]


def test_distances_of_a_gaussian_are_chi(rng: np.random.Generator) -> None:
    chol = np.array([[2.0, 0, 0], [1, 1, 0], [0, 3, 0.1]])
    points = rng.normal(size=(4000, 3)) @ chol.T + 5
    found = mahalanobis(points, np.full(3, 5.0), chol @ chol.T)
    assert stats.kstest(found, stats.chi(3).cdf).pvalue > 1e-4


def test_the_p_value_is_never_zero() -> None:
    null = np.arange(1.0, 10.0)
    assert monte_carlo_p(100.0, null) == 0.1
    assert monte_carlo_p(0.0, null) == 1.0
    np.testing.assert_allclose(monte_carlo_p(np.array([9.0, 9.5, 1.0]), null), [0.2, 0.1, 1.0])
    with pytest.raises(DataError, match="NaN"):
        monte_carlo_p(np.nan, null)
    with pytest.raises(DataError):
        monte_carlo_p(1.0, null[:0])


def test_sets_add_up_what_single_observations_cannot_show(rng: np.random.Generator) -> None:
    null, observed = rng.normal(size=500), rng.normal(size=40) + 0.8
    assert set_p_value(observed, null, 999, rng) <= 0.002
    assert np.median(monte_carlo_p(observed, null)) > 0.05


def test_what_is_missing_is_named(fitted: Fitted, rng: np.random.Generator) -> None:
    null, good = fitted(_skewed(rng, 200)), fitted(_skewed(rng, 1))
    check = Typicality()
    with pytest.raises(DataError, match="draws of simulated test sets"):
        check.run(good, rng)
    for error, message, draws in (
        (DataError, "learned summaries of the data", fitted(None)),
        (DataError, "mean of the training summaries", Draws(("a",), good.draws, summary=good.summary)),
        (ShapeError, "summary", fitted(np.zeros((1, K + 1)))),
        (DataError, "summary: expected finite numbers", fitted(np.full((1, K), np.nan))),
    ):
        with pytest.raises(error, match=message):
            check.run(draws, rng, null=null)


def members(result: object, name: str) -> dict[int, float]:
    return {m.extra["observation"]: m.value for m in result.metrics() if m.name == name}  # type: ignore[attr-defined]


def test_one_wild_member_is_found_in_a_set_and_only_it(fitted: Fitted, rng: np.random.Generator) -> None:
    """Its share is as small as R allows; where that is too large for n members, the tail says so."""
    for r, name in ((2_500, "member_p"), (500, "member_tail_p")):
        observed = _skewed(rng, 20)
        observed[3] = 1e4
        result = Typicality(permutations=99).run(fitted(observed), rng, null=fitted(_skewed(rng, r)))
        found = members(result, name)
        assert [i for i, p in found.items() if p < 0.01 / 3 or (p < 0.01 and name == "member_p")] == [3]
        least = {m.extra["least_p"] for m in result.metrics() if m.name == "member_p"}
        assert least == {20 / (r + 1)}
        assert ("member_tail_p" in {m.name for m in result.metrics()}) == (name == "member_tail_p")


def test_members_are_held_against_labelled_data_too(fitted: Fitted, rng: np.random.Generator) -> None:
    typical = np.tile(_skewed(rng, 999).mean(axis=0), (2, 1))
    observed, null = fitted(60 + typical), fitted(_skewed(rng, 999))
    labelled = fitted(60 + _skewed(rng, 999))
    result = Typicality(permutations=99).run(observed, rng, null=null, labelled=labelled)
    assert max(members(result, "member_p").values()) == pytest.approx(2 / 1000)
    assert min(members(result, "labelled_member_p").values()) > 0.01


def test_holm_is_family_wise(rng: np.random.Generator) -> None:
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03])), [0.03, 0.06, 0.06])
    smallest = np.array([holm(rng.random(20)).min() for _ in range(4_000)])
    assert np.mean(smallest < 0.1) == pytest.approx(1 - 0.995**20, abs=4 * np.sqrt(0.09 / 4_000))


@pytest.mark.parametrize("r", [300, 2_000])
def test_the_continued_tail_keeps_its_level_at_light_and_heavy_tails(
    r: int, rng: np.random.Generator
) -> None:
    """At most 1.5 times the nominal share of families of 20, at a nominal 0.01."""
    for draw in (lambda n: np.sqrt(rng.chisquare(4, n)), lambda n: rng.exponential(size=n)):
        rejected = [holm(tail_p(draw(20), draw(r))).min() < 0.01 for _ in range(1_000)]
        assert np.mean(rejected) < 0.015 + 4 * np.sqrt(0.015 / 1_000)
    assert tail_p(np.ones(2), np.arange(100.0)) is None, "ten rows make no tail"

"""The fraction of a class: exact maximum, both errors, their limits, coverage, bias."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, special

from tests.inference import fixed_basis
from veridical.errors import DataError
from veridical.inference import fractions as mixture_fractions
from veridical.inference import ratio_weights
from veridical.inference.fractions import Fraction
from veridical.inference.ratio_weights import Events, RatioFit

ONE, TWO = special.erf(1 / np.sqrt(2)), special.erf(2 / np.sqrt(2))


def fitted(rng: np.random.Generator, n: int = 25_000, basis: str = "in_span", kind: str = "mlc") -> RatioFit:
    return ratio_weights.fit(*fixed_basis.pair(rng, n, n, basis), kind)


def score(kappa: float, w: np.ndarray, events: Events) -> float:
    q = np.expm1(events.log_ratio(w))
    return float(events.counts @ (q / (1 + kappa * q)))


@pytest.mark.parametrize("truth", [0.0, 0.1, 0.5, 1.0])
def test_the_maximum_is_exact_also_outside_of_0_and_1(truth: float, rng: np.random.Generator) -> None:
    found = []
    for _ in range(20):
        q = np.expm1(0.6 * fixed_basis.draw(rng, 800, truth, 0.3)[:, 0])
        counts = rng.integers(1, 4, len(q)).astype(float)
        value, sigma = mixture_fractions.fit_fraction(q, counts)
        ends = (-1 / q.max() * (1 - 1e-12), -1 / q.min() * (1 - 1e-12))
        expected = optimize.brentq(lambda k, q=q, c=counts: c @ (q / (1 + k * q)), *ends, xtol=1e-13)
        assert value == pytest.approx(expected, abs=1e-9)
        assert sigma == pytest.approx(1 / np.sqrt(counts @ (q / (1 + value * q)) ** 2), rel=1e-7)
        found.append(value)
    if truth in (0.0, 1.0):
        assert min(found) < truth < max(found)


def test_an_event_of_enormous_ratio_does_not_slow_the_search() -> None:
    q = np.append(np.expm1(np.linspace(-1, 1, 101)), 1e60)
    value, sigma = mixture_fractions.fit_fraction(q, np.ones(102))
    assert abs(np.sum(q / (1 + value * q))) * sigma < 1e-8


def test_events_that_all_favour_one_class_have_no_maximum() -> None:
    for q in (np.array([0.1, 0.2]), np.array([-0.1, -0.2]), np.array([0.1, np.nan])):
        with pytest.raises(DataError, match="above and below 1"):
            mixture_fractions.fit_fraction(q, np.ones(2))


def test_errors_are_made_of_derivatives_of_the_likelihood(rng: np.random.Generator) -> None:
    """A and the curvature by finite differences of the score, in a weight and in the fraction."""
    ratio, events = fitted(rng), fixed_basis.events(fixed_basis.draw(rng, 25_000, 0.3))
    found, h = mixture_fractions.estimate(events, ratio), 1e-5
    w = ratio.weights

    def slope(step: np.ndarray, kappa_step: float) -> float:
        up = score(found.value + kappa_step, w + step, events)
        return (up - score(found.value - kappa_step, w - step, events)) / (2 * h)

    information = -slope(np.zeros(5), h)
    A = np.array([slope(row, 0.0) for row in h * np.eye(5)])
    assert found.statistical == pytest.approx(information**-0.5, rel=1e-6)
    expected = np.sqrt(A @ ratio.covariance @ A) / information
    assert found.ratio == pytest.approx(expected, rel=1e-5)
    assert found.total == pytest.approx(np.hypot(found.statistical, found.ratio))


def test_limits_of_the_error() -> None:
    """Many fit events leave sigma_MLE; many unlabelled events leave the part of the ratio."""

    def at(fit_events: float, events: float) -> Fraction:
        ratio = ratio_weights.fit(*(fixed_basis.expected(fit_events, k) for k in (1, 0)))
        return mixture_fractions.estimate(fixed_basis.expected(events, 0.1), ratio)

    usual, rich, long = at(25e3, 25e3), at(25e5, 25e3), at(25e3, 25e5)
    assert usual.total > 1.2 * usual.statistical
    assert rich.total == pytest.approx(rich.statistical, rel=0.01)
    assert long.statistical == pytest.approx(usual.statistical / 10, rel=0.01)
    assert long.ratio == pytest.approx(usual.ratio, rel=0.01)
    assert long.total > long.ratio > 8 * long.statistical
    assert usual.value == pytest.approx(0.1, abs=1e-3)


@pytest.fixture(scope="module", params=["mlc", "bce"])
def toys(request: pytest.FixtureRequest) -> dict[float, list[Fraction]]:
    rng = np.random.Generator(np.random.PCG64(9))
    found: dict[float, list[Fraction]] = {0.1: [], 0.5: []}
    for _ in range(300):
        ratio = fitted(rng, kind=request.param)
        for kappa, fractions in found.items():
            events = fixed_basis.events(fixed_basis.draw(rng, 25_000, kappa))
            fractions.append(mixture_fractions.estimate(events, ratio))
    return found


@pytest.mark.parametrize("kappa", [0.1, 0.5])
def test_intervals_cover_as_often_as_they_say(kappa: float, toys: dict[float, list[Fraction]]) -> None:
    """Three binomial errors of 300 toys: 8.1 % at one sigma, 3.6 % at two. Without the part of the ratio they
    cover far too rarely, 0.54 to 0.60 at one sigma.
    """
    fractions = toys[kappa]
    off = np.array([f.value - kappa for f in fractions])
    z = np.abs(off / np.array([f.total for f in fractions]))
    z_lr = np.abs([float(f.z(kappa)) for f in fractions])
    for level, reach in ((ONE, 1), (TWO, 2)):
        tolerance = 3 * np.sqrt(level * (1 - level) / 300)
        assert abs((z < reach).mean() - level) < tolerance
        assert abs((z_lr < reach).mean() - level) < tolerance
    partial = np.abs(off / np.array([f.statistical for f in fractions]))
    alone = special.erf(np.mean([f.statistical / f.total for f in fractions]) / np.sqrt(2))
    assert alone < 0.62
    assert abs((partial < 1).mean() - alone) < 3 * np.sqrt(alone * (1 - alone) / 300)
    assert (partial < 1).mean() < (z < 1).mean() - 0.04
    assert np.std(off) == pytest.approx(np.mean([f.total for f in fractions]), rel=4 / np.sqrt(600))


def test_the_two_deviations_agree_to_first_order(toys: dict[float, list[Fraction]]) -> None:
    for kappa, fractions in toys.items():
        parabola = np.array([(f.value - kappa) / f.total for f in fractions])
        likelihood = np.array([float(f.z(kappa)) for f in fractions])
        assert (np.sign(parabola) == np.sign(likelihood)).all()
        np.testing.assert_allclose(likelihood, parabola, rtol=0.1, atol=1e-6)


def test_the_likelihood_is_not_defined_everywhere(rng: np.random.Generator) -> None:
    q = np.expm1(rng.normal(size=50))
    value, sigma = mixture_fractions.fit_fraction(q, np.ones(50))
    fraction = Fraction(value, sigma, 0.0, 0.0, q, np.ones(50))
    z = fraction.z(np.array([-2 / q.max(), value, -2 / q.min()]))
    assert z[0] == np.inf and z[1] == 0 and z[2] == -np.inf


def test_bias_is_second_order_in_the_weights_alone_where_they_are_known(rng: np.random.Generator) -> None:
    """Without an error of the weights, its two terms cancel: the score is the influence itself."""
    ratio = RatioFit.fixed(fitted(rng).weights)
    found = mixture_fractions.estimate(fixed_basis.events(fixed_basis.draw(rng, 5000, 0.1)), ratio)
    assert found.ratio == 0 and found.total == found.statistical
    assert abs(found.bias) < 1e-12


def test_bias_is_that_of_the_expansion(rng: np.random.Generator) -> None:
    """The maximum as a function of the weights, by finite differences: its mean bends with C.

    With expected numbers of events the score has no noise, and the terms that are left are
    tr(C d2 kappa / dw2) / 2 + beta . dkappa / dw.
    """
    events = fixed_basis.expected(25e3, 0.1, separation=0.3)
    ratio = ratio_weights.fit(*(fixed_basis.expected(25e3, k, separation=0.3) for k in (1, 0)))
    h, p = 1e-3, 5

    def value(w: np.ndarray) -> float:
        return mixture_fractions.fit_fraction(np.expm1(events.log_ratio(w)), events.counts)[0]

    axes, w = h * np.eye(p), ratio.weights
    bend = np.array(
        [
            [value(w + a + b) - value(w + a - b) - value(w - a + b) + value(w - a - b) for a in axes]
            for b in axes
        ]
    ) / (4 * h**2)
    slope = np.array([value(w + a) - value(w - a) for a in axes]) / (2 * h)
    expected = 0.5 * np.sum(bend * ratio.covariance) + slope @ ratio.bias
    assert mixture_fractions.estimate(events, ratio).bias == pytest.approx(expected, rel=1e-3)


def test_bias_is_that_of_toys(rng: np.random.Generator) -> None:
    """More functions than needed bias the fraction upwards, by more than three errors of 400 toys here."""
    found = []
    for _ in range(400):
        ratio = fitted(rng, 8000, "many")
        events = fixed_basis.events(fixed_basis.draw(rng, 25_000, 0.1), "many")
        found.append(mixture_fractions.estimate(events, ratio))
    value, bias = (np.array([getattr(f, name) for f in found]) for name in ("value", "bias"))
    error = value.std() / np.sqrt(len(found))
    assert bias.mean() > 3 * error
    assert value.mean() - 0.1 == pytest.approx(bias.mean(), abs=4 * error)


def test_duplicated_functions_leave_the_answer_alone() -> None:
    """kappa and sigma to 1 % of sigma, under ridges up to 1e-4, at expected events.

    A ridge pulls the weights by an amount in proportion to it, ten times more for some random events.
    """
    pair = [fixed_basis.expected(25_000, k) for k in (1, 0)]
    data = fixed_basis.expected(25_000, 0.1)

    def double(events: Events) -> Events:
        return Events.of(np.hstack([events.functions, events.functions[:, 1:]]), events.counts)

    plain = mixture_fractions.estimate(data, ratio_weights.fit(*pair))
    for ridge in (0.0, 1e-6, 1e-5, 1e-4):
        ratio = ratio_weights.fit(*map(double, pair), ridge=ridge)
        found = mixture_fractions.estimate(double(data), ratio)
        assert found.value == pytest.approx(plain.value, abs=0.01 * plain.total)
        assert found.total == pytest.approx(plain.total, rel=0.01)

"""Fits of template-adapted mixtures: limits with known answers, covariance, coverage, profile, symmetries."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import special

from tests.inference.mass_plane import BACKGROUND, SIGNAL, Plane
from veridical.errors import DataError
from veridical.inference import fractions
from veridical.inference.adapted import Objective, Templates
from veridical.inference.adapted_fits import AdaptedFit, Profile, fit, scan

KAPPA, N = 1 / 11, 11_000
ONE, TWO = special.erf(1 / np.sqrt(2)), special.erf(2 / np.sqrt(2))


def generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def hellinger(log_p: np.ndarray, log_q: np.ndarray) -> float:
    return float(np.sqrt(max(1 - np.exp(0.5 * (log_p + log_q)).sum(), 0)))


@pytest.fixture(scope="module")
def plane() -> Plane:
    return Plane.wrong(generator(5))


@pytest.fixture(scope="module")
def toy(plane: Plane) -> AdaptedFit:
    return fit(plane.objective(generator(6)))


def test_with_right_shapes_it_is_the_fit_of_a_mixture(rng: np.random.Generator) -> None:
    """One right template of each class: the fraction is the maximum of the likelihood, but for the finite
    reference, whose part of the error is 0.2 sigma with 20 times as many events as data.
    """
    plane, off = Plane(SIGNAL[:, None], BACKGROUND[:, None]), []
    for _ in range(10):
        objective = plane.objective(rng, N, KAPPA, times=20)
        found = fit(objective)
        data = objective.data
        excess = np.expm1(data.signal[:, 0] - data.background[:, 0])
        value, sigma = fractions.fit_fraction(excess, data.counts)
        other = np.sqrt(found.samples[1:, 0, 0].sum())
        off.append((found.kappa - value) / other)
        assert other < 0.3 * sigma
        assert np.sqrt(found.samples[0, 0, 0]) == pytest.approx(sigma, rel=0.05)
        assert not found.ambiguous and found.ridge_share < 1e-9
    assert np.abs(off).max() < 3.5 and 0.4 < np.std(off) < 1.8


def test_expected_data_in_the_span_give_the_true_fraction_and_shapes(plane: Plane) -> None:
    """Without a ridge that matters, and data without noise, to rounding; the ridge then biases it."""
    found = fit(plane.expected(N, KAPPA, ridge=1e-6))
    assert found.kappa == pytest.approx(KAPPA, abs=1e-5)
    at = found.objective.shapes[1].at(found.theta)
    for u, target in zip(at[1:3], plane.target, strict=True):
        np.testing.assert_allclose(np.log(u) + plane.log_pool, target, atol=0.01)
    biased = fit(plane.expected(N, KAPPA))
    assert 0.05 < abs(biased.kappa - KAPPA) / biased.sigma < 1
    # one Newton step of the objective without its ridge undoes most of that
    assert abs(biased.kappa - biased.ridge_pull - KAPPA) < 0.5 * abs(biased.kappa - KAPPA)


def test_norms_are_one_at_the_minimum(toy: AdaptedFit) -> None:
    """Whatever the strength of the constraint: the fit needs no more than its being there."""
    _, reference, penalty = toy.objective.shapes
    at = penalty.at(toy.theta)
    assert abs(penalty.mean(at.signal - at.background)) < 1e-6
    assert abs(reference.mean(reference.at(toy.theta).total) - 1) < 1e-6


def test_the_constraint_has_no_strength(toy: AdaptedFit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("veridical.inference.adapted.CONSTRAINT", 0.01)
    weak = fit(toy.objective)
    assert weak.kappa == pytest.approx(toy.kappa, abs=1e-5 * toy.sigma)
    assert weak.sigma == pytest.approx(toy.sigma, rel=1e-6)


def test_order_of_templates_and_starts_do_not_matter(toy: AdaptedFit) -> None:
    """Another order eliminates another weight."""
    order, other = np.array([3, 0, 5, 1, 4, 2]), np.array([5, 2, 0, 4, 3, 1])

    def shuffled(t: Templates) -> Templates:
        return Templates(t.signal[:, order], t.background[:, other], t.counts)

    samples = {name: shuffled(getattr(toy.objective, name)) for name in ("data", "reference", "penalty")}
    found = fit(replace(toy.objective, **samples), starts=(0.25,))
    assert found.kappa == pytest.approx(toy.kappa, abs=1e-4 * toy.sigma)
    assert found.sigma == pytest.approx(toy.sigma, rel=1e-4)
    for one, two, way in zip(found.weights, toy.weights, (order, other), strict=True):
        np.testing.assert_allclose(one, two[way], atol=1e-4)


def test_twice_the_same_templates_change_nothing_but_the_ridge(toy: AdaptedFit) -> None:
    """Directions that are exactly flat have the curvature of the ridge and no influence on the fraction.

    Shared between two copies, the weights pay half the ridge.
    """

    def doubled(t: Templates) -> Templates:
        return Templates(np.hstack([t.signal] * 2), np.hstack([t.background] * 2), t.counts)

    samples = {name: doubled(getattr(toy.objective, name)) for name in ("data", "reference", "penalty")}
    found = fit(Objective(**samples, ridge=(2.0, 2.0)))
    assert found.kappa == pytest.approx(toy.kappa, abs=1e-4 * toy.sigma)
    assert found.sigma == pytest.approx(toy.sigma, rel=1e-4)


@pytest.fixture(scope="module")
def toys(plane: Plane) -> list[AdaptedFit]:
    rng = generator(11)
    return [fit(plane.objective(rng), starts=(0.1,)) for _ in range(120)]


def test_intervals_cover_as_often_as_they_say(toys: list[AdaptedFit]) -> None:
    """Up to 0.80 is allowed at one sigma: low fluctuations of the fraction come with a small error."""
    z = np.array([(found.kappa - KAPPA) / found.sigma for found in toys])
    root = np.array([Profile(found).z(KAPPA) for found in toys])
    for deviations in (z, root):
        for level, reach, most in ((ONE, 1, 0.80), (TWO, 2, 1.0)):
            tolerance = 3 * np.sqrt(level * (1 - level) / len(toys))
            assert level - tolerance < np.mean(np.abs(deviations) < reach) < max(most, level + tolerance)
    assert np.std([found.kappa for found in toys]) == pytest.approx(
        np.mean([found.sigma for found in toys]), rel=0.2
    )


def test_each_sample_has_its_share_of_the_error(plane: Plane, toys: list[AdaptedFit]) -> None:
    """Fits that share the data scatter by what the reference and the penalty sample are said to add."""
    rng = generator(12)
    shares = np.mean([found.samples[:, 0, 0] for found in toys], axis=0)
    shares /= shares.sum()
    assert 0.1 < shares[1] < 0.4 and shares[2] < 0.02
    first, found = toys[0].objective, []
    for _ in range(40):
        samples = [plane.templates(plane.counts(rng, 4 * N)) for _ in range(2)]
        found.append(fit(replace(first, reference=samples[0], penalty=samples[1]), starts=(0.1,)))
    stated = np.sqrt(np.mean([other.samples[1:, 0, 0].sum() for other in found]))
    assert np.std([other.kappa for other in found]) == pytest.approx(stated, rel=4 / np.sqrt(80))


def test_a_single_simulator_does_not_cover(plane: Plane) -> None:
    rng, held = generator(13), []
    for k in range(6):
        alone = Plane(plane.signal[:, [k]], plane.background[:, [k]])
        for _ in range(5):
            found = fit(alone.objective(rng), starts=(0.1,))
            held.append(abs(found.kappa - KAPPA) < found.sigma)
    assert np.mean(held) < 0.2


def test_more_templates_trade_bias_for_error(plane: Plane) -> None:
    """With expected data: the bias in errors falls and the error grows; shapes come closer to the truth."""
    found = [
        fit(Plane(plane.signal[:, :k], plane.background[:, :k]).expected(N, KAPPA)) for k in (1, 2, 4, 6)
    ]
    bias = np.array([abs(f.kappa - KAPPA) / f.sigma for f in found])
    assert bias[0] > 2 and bias[-1] < 0.5 and bias[-1] < bias[-2] + 0.1
    assert found[-1].sigma > 1.5 * found[0].sigma
    at = found[-1].objective.shapes[1].at(found[-1].theta)
    for u, target, templates in zip(at[1:3], plane.target, (plane.signal, plane.background), strict=True):
        raw = [hellinger(column, target) for column in templates.T]
        assert hellinger(np.log(u) + plane.log_pool, target) < min(raw)


def test_the_profile_is_that_of_fits_at_given_fractions(toy: AdaptedFit) -> None:
    profile = Profile(toy)
    for z in (-2.0, -1.0, 1.0, 2.0):
        kappa = profile.limit(z)
        assert profile.z(kappa) == pytest.approx(z, abs=1e-3)
        assert (kappa - toy.kappa) * z < 0
        assert kappa == pytest.approx(toy.kappa - z * toy.sigma, abs=0.7 * toy.sigma)
    assert profile.z(toy.kappa) == 0 and profile.limit(0) == toy.kappa
    near = toy.kappa + 0.01 * toy.sigma
    assert profile.z(near) == pytest.approx(-0.01, rel=0.02)


def test_a_scan_of_the_ridge_shows_what_it_decides(toy: AdaptedFit) -> None:
    found = scan(toy.objective, (0.01, 1.0, 100.0))
    assert found[1].kappa == pytest.approx(toy.kappa, abs=1e-6)
    assert min(found[0].sigma, found[1].sigma) > 1.5 * found[2].sigma
    shares = [entry.ridge_share for entry in found]
    assert 0 < shares[0] < shares[1] < shares[2] <= 1


def test_the_error_of_the_log_ratios_adds_in_quadrature(toy: AdaptedFit) -> None:
    lever = toy.hessian[:, :2]  # so that its part of the error is that of the parameters themselves
    found = toy.with_ratios(lever, np.diag([9e-4, 1.0]))
    assert found.ratio == pytest.approx(0.03) and found.statistical == toy.sigma
    assert np.hypot(found.observed, found.simulated) == pytest.approx(found.sigma) and found.simulated > 0.03
    assert found.sigma == pytest.approx(np.hypot(0.03, toy.sigma))
    assert Profile(found).z(0.05) == pytest.approx(Profile(toy).z(0.05) * toy.sigma / found.sigma)


def test_classes_of_the_same_shape_are_refused(rng: np.random.Generator) -> None:
    """Signal and background of the same template: any fraction fits as well."""
    plane = Plane.wrong(rng, 1)
    same = Plane(plane.background, plane.background)
    with pytest.raises(DataError, match=r"no start of 0\.1, 0\.02, 0\.3 leads to a minimum"):
        fit(same.objective(rng, 500, ridge=0.0))

"""Distances to a reference: the optimal classifier's value, errors, effective sample sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from veridical.checks.exact import on_grid, optimal_accuracy
from veridical.checks.two_sample import TwoSample, c2st, difference, effective_sizes, held
from veridical.errors import DataError, ShapeError

from .gaussian_model import Draws, value


def test_exact_samples_cannot_be_told_apart(rng: np.random.Generator) -> None:
    accuracy = c2st(rng.normal(size=(2000, 2)), rng.normal(size=(2000, 2)), rng)
    assert accuracy.shape == (5,)
    assert abs(accuracy.mean() - 0.5) < 4 * 0.5 / np.sqrt(4000)


def test_few_draws_train_the_classifier_too(rng: np.random.Generator) -> None:
    """With 100 draws a side the classifier still finds what is plain to see."""
    accuracy = c2st(rng.normal(size=(100, 1)), rng.normal(size=(100, 1)) + 3, rng).mean()
    assert accuracy > stats.norm.cdf(1.5) - 4 * np.sqrt(0.93 * 0.07 / 200) - 0.05


@pytest.mark.parametrize("shift", [0.5, 1.5])
def test_shifted_gaussians_reach_the_optimal_accuracy(shift: float, rng: np.random.Generator) -> None:
    """1/2 + TV/2 = Phi(shift / 2) for unit Gaussians; a trained classifier may lose a little of it."""
    reference, draws = rng.normal(size=(2000, 2)), rng.normal(size=(2000, 2))
    draws[:, 0] += shift
    scale = np.array([1e-3, 1e6])  # units must not matter
    accuracy = c2st(reference * scale, draws * scale, rng).mean()
    optimum = stats.norm.cdf(shift / 2)
    error = np.sqrt(optimum * (1 - optimum) / 4000)
    assert optimum - 4 * error - 0.02 < accuracy < optimum + 4 * error


def test_classes_are_balanced(rng: np.random.Generator) -> None:
    """Ten times as many draws on one side must not lift the accuracy above one half."""
    accuracy = c2st(rng.normal(size=(200, 1)), rng.normal(size=(2000, 1)), rng, patience=5)
    assert abs(accuracy.mean() - 0.5) < 4 * 0.5 / np.sqrt(400)


def test_the_grid_gives_the_optimal_accuracy() -> None:
    grid = np.linspace(-12, 13, 4001)
    for shift in (0.0, 1.0, 3.0):
        p, q = stats.norm.logpdf(grid)[None] + 7, stats.norm.logpdf(grid, shift)[None]
        found = optimal_accuracy(on_grid(p, q, grid[1] - grid[0]))
        assert found == pytest.approx(stats.norm.cdf(shift / 2), abs=1e-5)


def test_moments_and_their_errors(rng: np.random.Generator) -> None:
    """Over repeats, differences scatter about the truth as their errors say."""
    z = []
    for _ in range(300):
        reference = 5 + 2 * rng.normal(size=(300, 1))
        draws = 6 + 3 * rng.normal(size=(200, 1))
        d = difference(draws, reference)
        z.append([(d.shift[0] - 0.5) / d.shift_stderr[0], (d.ratio[0] - 1.5) / d.ratio_stderr[0]])
    spread = np.std(z, axis=0, ddof=1)
    assert np.all(np.abs(np.mean(z, axis=0)) < 4 / np.sqrt(300) + 0.1)  # ratios of estimates lean a little
    assert np.all(np.abs(spread - 1) < 4 / np.sqrt(2 * 300) + 0.05)


def test_autocorrelated_references_have_larger_errors(rng: np.random.Generator) -> None:
    def run(attrs: dict[str, Any]) -> Any:
        draws = Draws(("a", "b"), rng.normal(size=(400, 1, 2)))
        reference = Draws(("a", "b"), rng.normal(size=(400, 1, 2)), attrs=attrs)
        return TwoSample(patience=2, folds=2).run(draws, rng, reference=reference)

    plain, correlated = run({}), run({"ess": {"b": 25.0, "a": 400.0}})
    assert value(plain, "mean_shift_sd", "b").stderr == pytest.approx(np.sqrt(2 / 400), rel=0.15)
    assert value(correlated, "mean_shift_sd", "b").stderr == pytest.approx(
        np.sqrt(1 / 400 + 1 / 25), rel=0.15
    )
    assert value(correlated, "mean_shift_sd", "a").stderr == pytest.approx(np.sqrt(2 / 400), rel=0.15)
    assert value(correlated, "c2st").stderr >= 0.5 / np.sqrt(400 + 25) * 0.99


def test_a_wrong_posterior_is_measured(rng: np.random.Generator) -> None:
    reference = Draws(("a", "b"), rng.normal(size=(4000, 1, 2)))
    draws = Draws(("a", "b"), rng.normal(size=(4000, 1, 2)) * [1.0, 0.5] - [2.0, 0.0])
    result = TwoSample(draws=500, patience=5).run(draws, rng, reference=reference)
    for name, parameter, expected in (
        ("mean_shift_sd", "a", 2.0),
        ("mean_shift_sd", "b", 0.0),
        ("sd_ratio", "a", 1.0),
        ("sd_ratio", "b", 0.5),
    ):
        found = value(result, name, parameter)
        assert abs(found.value - expected) < 4 * found.stderr, (name, parameter)
    assert value(result, "mean_shift_sd").value == pytest.approx(1.0, abs=0.1)
    assert result.curves["signed_shift_sd"][0] < -1.8
    assert value(result, "c2st").value > 0.8
    null = value(result, "c2st_null")
    assert abs(null.value - 0.5) < 4 * null.stderr
    assert null.stderr >= 0.5 / np.sqrt(1000) * 0.99


def test_a_reference_that_has_not_converged_shows_in_the_null(rng: np.random.Generator) -> None:
    """Its two halves come from different modes: no distance to it means anything then."""
    chain = rng.normal(size=(1000, 1, 1))
    chain[500:] += 3
    draws = Draws(("a",), rng.normal(size=(1000, 1, 1)))
    result = TwoSample().run(draws, rng, reference=Draws(("a",), chain))
    null = value(result, "c2st_null")
    assert abs(null.value - stats.norm.cdf(1.5)) < 4 * null.stderr + 0.02


def test_references_that_do_not_fit_are_refused(rng: np.random.Generator) -> None:
    draws = Draws(("a",), rng.normal(size=(100, 1, 1)))
    check = TwoSample()
    with pytest.raises(DataError, match="expected draws of a reference, got none"):
        check.run(draws, rng)
    for error, message, reference in (
        (DataError, r"expected parameters \['a'\], got \['b'\]", Draws(("b",), draws.draws)),
        (ShapeError, "reference", Draws(("a",), rng.normal(size=(100, 2, 1)))),
        (DataError, "at least 20 draws and 40", Draws(("a",), draws.draws[:30])),
    ):
        with pytest.raises(error, match=message):
            check.run(draws, rng, reference=reference)
    with pytest.raises(DataError, match="zero width"):
        difference(draws.draws[:, 0], np.zeros((50, 1)))
    for ess in ({"b": 3.0}, [1.0, 2.0], [0.0]):
        with pytest.raises(DataError, match="positive ess"):
            effective_sizes(Draws(("a",), draws.draws, attrs={"ess": ess}))
    assert effective_sizes(Draws(("a",), draws.draws, attrs={"ess": 50.0})) == [50.0]


def test_what_intervals_are_worth_sees_shift_and_width_together(rng: np.random.Generator) -> None:
    """Phi(shift + 1.645 sd) - Phi(shift - 1.645 sd), by observation; errors of quantiles and of the share."""
    shift, sd = np.array([0.0, 0.49, 1.0, 0.0]), np.array([1.0, 0.67, 1.0, 0.5])
    draws = (shift + sd * rng.normal(size=(8_000, 4)))[..., None]
    found = held(draws, rng.normal(size=(8_000, 4, 1)))[:, 0]
    z = stats.norm.ppf(0.95) * sd
    exact = stats.norm.cdf(shift + z) - stats.norm.cdf(shift - z)
    np.testing.assert_allclose(found, exact, atol=4 * np.sqrt(2 * 0.25 / 8_000))


def test_the_worst_observation_stands_for_the_set(rng: np.random.Generator) -> None:
    """Five twice too narrow and five 1.5 times too wide have the average width of a right answer."""
    sd = np.array([0.5] * 5 + [1.5] * 5)
    own = Draws(("a",), (sd * rng.normal(size=(2_000, 10)))[..., None])
    exact = Draws(("a",), rng.normal(size=(4_000, 10, 1)))
    result = TwoSample(draws=40, folds=2, max_iterations=2, patience=2).run(own, rng, reference=exact)
    assert value(result, "sd_ratio", "a").value == pytest.approx(1.0, abs=0.02)
    assert value(result, "reference_coverage", "a", 0.9).value == pytest.approx(0.59, abs=0.05)
    assert value(result, "reference_coverage", "a", 0.9).extra["observation"] < 5
    assert value(result, "reference_width", "a").value == pytest.approx(1.5, abs=0.1)

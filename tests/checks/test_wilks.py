"""Sets by the likelihood-ratio statistic of Gaussian means: right, too narrow, shifted, without a peer."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from veridical import checks
from veridical.checks.wilks import mcnemar_p
from veridical.errors import DataError

from .gaussian_model import gaussian

SD = np.array([0.5, 0.3])
AXES = [(np.arange(n) + 0.5) / n * 8 - 4 for n in (40, 60)]


def log_l(x: np.ndarray, sd: np.ndarray = SD, shift: float = 0.0) -> np.ndarray:
    """Log likelihoods of two means on the grid, for x (N, 2)."""
    theta = np.stack(np.meshgrid(*AXES, indexing="ij"), axis=-1)
    return np.asarray(-0.5 * (((x[:, None, None] - shift - theta) / sd) ** 2).sum(axis=-1))


def surfaces(
    rng: np.random.Generator, n: int = 120, scale: float = 1.0, shift: float = 0.0
) -> dict[str, np.ndarray]:
    """What the check is handed of a likelihood whose standard deviations are so many times the exact ones."""
    truth = rng.normal(scale=0.5, size=(n, 2))
    x = truth + SD * rng.normal(size=(n, 2))
    exact, own = log_l(x), log_l(x, scale * SD, shift)
    return {"truth": truth, "log_l": own, "log_l_exact": exact, "axis_0": AXES[0], "axis_1": AXES[1]}


def judged(rng: np.random.Generator, arrays: dict[str, np.ndarray]) -> checks.CheckResult:
    draws = gaussian(rng, 1.0, n=3, s=20, d=2)
    return checks.build("wilks").run(draws, rng, surfaces=arrays)


def numbers(result: checks.CheckResult, level: float | None = None) -> dict[str, tuple[float, float]]:
    """Values and errors by name, those of all parameters at a level or without one."""
    found = [m for m in result.table if m.level in (None, level) and not m.parameter]
    return {m.name: (m.value, m.stderr or 0.0) for m in found}


def test_the_exact_likelihood_agrees_with_itself_and_with_the_chi_squared(rng: np.random.Generator) -> None:
    result = judged(rng, surfaces(rng, 400))
    found = numbers(result, 0.95)
    assert (result.passed, result.p_value) == (True, 1.0)
    assert found["lrt_mse"][0] == found["lrt_mse_grid"][0] == found["wilks_difference"][0] == 0.0
    for level in (0.6827, 0.9, 0.95):
        share, error = numbers(result, level)["wilks_coverage"]
        assert abs(share - level) < 4 * error
        assert error == pytest.approx(np.sqrt(level * (1 - level) / 400), rel=0.25)
    profiles = [m for m in result.table if m.name == "wilks_profile"]
    assert len(profiles) == 6 and all(abs(m.value - m.level) < 4 * m.stderr for m in profiles)  # type: ignore[operator]
    area = np.pi * stats.chi2(2).ppf(0.95) * SD.prod() / 64
    assert found["wilks_area"][0] == pytest.approx(area, rel=0.02)
    p = stats.kstest(result.curves["statistic"], stats.chi2(2).cdf).pvalue
    assert p > 1e-3


@pytest.mark.parametrize("scale", [0.7, 1.4])
def test_a_likelihood_of_the_wrong_width_has_the_coverage_that_follows(
    scale: float, rng: np.random.Generator
) -> None:
    """Its statistic is the exact one in the square of the scale."""
    result = judged(rng, surfaces(rng, 400, scale))
    found = numbers(result, 0.9)
    expected = stats.chi2(2).cdf(scale**2 * stats.chi2(2).ppf(0.9))
    assert abs(found["wilks_coverage"][0] - expected) < 4 * found["wilks_coverage"][1]
    difference, error = found["wilks_difference"]
    assert abs(difference - (expected - 0.9)) < 4 * error
    squares, error = found["lrt_mse"]
    assert abs(squares - (1 / scale**2 - 1) ** 2 * 8) < 4 * error  # E s^2 = 8 of two degrees of freedom
    assert result.passed is False and result.p_value is not None and result.p_value < 1e-4


def test_a_shift_is_seen_in_the_estimates(rng: np.random.Generator) -> None:
    shifts = [m for m in judged(rng, surfaces(rng, 200, shift=0.2)).table if m.name == "mle_shift"]
    assert [m.parameter for m in shifts] == list(gaussian(rng, 1.0, n=1, s=2, d=2).names)
    assert [m.value for m in shifts] == pytest.approx([0.2 / 8, 0.2 / 8], abs=1e-9)


def test_without_an_exact_likelihood_there_is_no_verdict(rng: np.random.Generator) -> None:
    arrays = surfaces(rng)
    del arrays["log_l_exact"]
    result = judged(rng, arrays)
    assert result.passed is None and result.p_value is None
    assert {m.name for m in result.table} == {"wilks_coverage", "wilks_area", "wilks_profile"}


def test_the_test_against_the_exact_likelihood_keeps_its_size(rng: np.random.Generator) -> None:
    """Statistics with as much noise either way are right as often."""
    rejected = 0
    for _ in range(200):
        s = stats.chi2(2).rvs(size=(2, 200), random_state=rng)
        noise = rng.random(200) < 0.3
        own = np.where(noise, s[1], s[0]) < 4.0
        rejected += mcnemar_p(own, s[0] < 4.0) < 0.05
    assert rejected <= stats.binom(200, 0.05).ppf(0.999)


def test_arrays_that_do_not_fit_are_refused(rng: np.random.Generator) -> None:
    arrays = surfaces(rng)
    with pytest.raises(DataError, match="expected log likelihoods on a grid, got none"):
        checks.build("wilks").run(gaussian(rng, 1.0, n=3, s=20, d=2), rng)
    del arrays["axis_1"]
    with pytest.raises(DataError, match="expected truth, axes and log_l, got"):
        judged(rng, arrays)

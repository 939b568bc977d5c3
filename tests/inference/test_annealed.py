"""Spike and slab errors and annealed populations, against closed forms and integrals in one dimension."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import ndtri

from veridical import seeds
from veridical.inference import annealed
from veridical.inference.convergence import rank_rhat
from veridical.inference.spike_and_slab import FAR, SpikeAndSlab

Array = np.ndarray
ERRORS = SpikeAndSlab()


def generators(n: int, *path: int | str) -> list[np.random.Generator]:
    return [seeds.generator(5, "test", "annealed", *path, i) for i in range(n)]


@pytest.mark.parametrize("errors", [ERRORS, SpikeAndSlab(0.2, 0.05, 1.0)])
def test_normal_numbers_become_errors_of_the_law(errors: SpikeAndSlab) -> None:
    """By the tails at a grid of u: to a thousandth, and to a hundredth far out, where cells are wide."""
    u = np.concatenate([np.linspace(-4, 4, 801), [-5.9, 5.9]])
    e, slope = errors.error(u)
    np.testing.assert_allclose(-ndtri(errors.above(np.abs(e))), np.abs(u), rtol=1e-3, atol=2e-3)
    assert (np.sign(e) == np.sign(u)).all() and (slope > 0).all()
    h = 1e-6
    np.testing.assert_allclose((errors.error(u + h)[0] - errors.error(u - h)[0]) / (2 * h), slope, rtol=0.1)
    far, _ = errors.error(np.array([FAR, FAR + 1, -FAR - 1]))
    assert far[1] > far[0] > 1e6 and far[2] == -far[1]
    half = stats.norm.pdf(0, scale=errors.spike) * (1 - errors.share)
    slab = errors.share / (np.pi * errors.slab)
    assert errors.slab_probability(np.zeros(1))[0] == pytest.approx(slab / (slab + half))


def test_normal_targets_of_several_rows_come_out_within_their_error() -> None:
    """Given y = u + N(0, s^2), u has mean y / (1 + s^2) and variance s^2 / (1 + s^2); two numbers depend."""
    y, s = np.array([[0.0, 1.0], [4.0, -4.0], [0.5, 0.5]]), np.array([1.0, 0.3, 0.1])
    mix = np.array([[1.0, 0.8], [0.0, 0.6]])  # x = u mix

    def likelihood(u: Array, rows: Array) -> tuple[Array, Array]:
        off = (y[rows] - u @ mix) / s[rows][:, None]
        return -0.5 * (off**2).sum(axis=1), off / s[rows][:, None] @ mix.T

    u = annealed.sample(likelihood, 2, 2000, generators(3, "normal"))
    for i in range(3):
        precision = np.eye(2) + mix @ mix.T / s[i] ** 2
        mean = np.linalg.solve(precision, mix @ y[i] / s[i] ** 2)
        sd = np.sqrt(np.diag(np.linalg.inv(precision)))
        effective = 400  # of 2,000 particles that were resampled on the way
        assert (np.abs(u[i].mean(axis=0) - mean) < 4.5 * sd / effective**0.5).all()
        np.testing.assert_allclose(u[i].std(axis=0), sd, rtol=5 / (2 * effective) ** 0.5)


def test_a_thorough_course_has_populations_agree_on_a_thin_sheet() -> None:
    """Four numbers whose differences are known to 0.005; their mean is N(0, 1/4), and hard to move along."""
    differences = np.eye(4) - 0.25

    def likelihood(u: Array, rows: Array) -> tuple[Array, Array]:
        off = u @ differences / 0.005
        return -0.5 * (off**2).sum(axis=1), -off @ differences / 0.005

    spread = {}
    for name, course in (("quick", annealed.QUICK), ("thorough", annealed.THOROUGH)):
        u = annealed.sample(likelihood, 4, 48, generators(16, "sheet"), course).mean(axis=2)
        spread[name] = u.mean(axis=1).std(ddof=1)
        assert np.abs(u.mean()) < 4.5 * spread[name] / 16**0.5
    assert spread["thorough"] < 0.7 * spread["quick"]
    assert spread["thorough"] < 0.5 * 0.5, "half a standard deviation of the common part"


@pytest.mark.parametrize("y", [0.0, 1.5, 5.0, 40.0])
def test_data_without_errors_follow_the_integral_and_populations_agree(y: float) -> None:
    """Of x ~ N(0, 1): p(x | y) is N(x) p(y - x) on a grid, and P(z = 1 | y) follows from both evidences."""
    grid = np.concatenate([np.linspace(-9, 9, 36_001), y + np.linspace(-0.1, 0.1, 4001)])
    grid = np.unique(grid)
    spike, slab = (
        half * law(y - grid, scale=scale) * stats.norm.pdf(grid)
        for half, law, scale in ((0.5, stats.norm.pdf, 0.01), (0.5, stats.cauchy.pdf, 0.25))
    )
    evidence = [np.trapezoid(part, grid) for part in (spike, slab)]
    expected = evidence[1] / sum(evidence)
    mass = np.concatenate([[0.0], np.cumsum(np.diff(grid) * ((spike + slab)[1:] + (spike + slab)[:-1]) / 2)])

    def likelihood(u: Array, rows: Array) -> tuple[Array, Array]:
        error, slope = ERRORS.error(u)
        return stats.norm.logpdf(y - error).sum(axis=1), (y - error) * slope

    u = annealed.sample(likelihood, 1, 500, generators(8, "y", str(y)))
    x = y - ERRORS.error(u)[0][..., 0]
    assert rank_rhat(x) < 1.05
    slabs = ERRORS.slab_probability(y - x).mean(axis=1)
    error = max(slabs.std(ddof=1) / 8**0.5, 0.005)
    assert abs(slabs.mean() - expected) < 4.5 * error, (slabs, expected)
    found = stats.kstest(x.ravel(), lambda at: np.interp(at, grid, mass / mass[-1]))
    assert found.statistic < 2.2 / 800**0.5, "of 4,000 draws, a fifth independent"


def test_a_row_depends_neither_on_others_nor_on_what_cannot_be() -> None:
    """The same alone; where the likelihood is undefined no particle ends."""

    def likelihood(u: Array, rows: Array) -> tuple[Array, Array]:
        with np.errstate(invalid="ignore", divide="ignore"):
            return 3 * np.log(u[:, 0]) - rows * u[:, 0], 3 / u - rows[:, None]

    whole = annealed.sample(likelihood, 1, 60, generators(3, "rows"))
    alone = annealed.sample(lambda u, rows: likelihood(u, rows + 1), 1, 60, generators(3, "rows")[1:2])
    np.testing.assert_allclose(alone[0], whole[1])
    assert (whole > 0).all() and not np.allclose(whole[0], whole[2])

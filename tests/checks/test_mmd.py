"""Summary-space MMD: the published table of two Gaussians, exact p-values however few the simulations are."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from veridical.checks.base import monte_carlo_p
from veridical.checks.mmd import SCALES, Reference, jackknife, kernel_matrix
from veridical.checks.mmd_null import Pool, fresh_sets, rejections, subsets

SHIFT = np.array([1.0, 0.0])
# N_o: median and 95 % quantile of the null root MMD, power against a shift of one mean by one
TABLE = {
    1: (2.69, 3.08, 0.12),
    2: (1.91, 2.20, 0.22),
    5: (1.20, 1.40, 0.47),
    10: (0.85, 0.99, 0.77),
    50: (0.39, 0.445, 1.0),
}


@pytest.fixture(scope="module")
def reference() -> Reference:
    """1,000 draws of N(0, I)."""
    return Reference.of(np.random.Generator(np.random.PCG64(7)).normal(size=(1000, 2)))


def _sets(rng: np.random.Generator, n: int, sets: int) -> np.ndarray:
    return fresh_sets(rng.normal(size=(n * sets, 2)), n, sets)


@pytest.mark.parametrize("n", TABLE)
def test_size_and_power_are_those_of_the_table(n: int, reference: Reference) -> None:
    """Size 0.05 +- 0.03, power within 0.1, null median and critical value within 5 %."""
    rng = np.random.Generator(np.random.PCG64(n))
    repeats = {1: 1500, 2: 1000, 5: 700, 10: 500, 50: 300}[n]
    median, critical, power = TABLE[n]
    null = reference.distances(_sets(rng, n, max(repeats, 700)))
    assert np.median(null) == pytest.approx(median, rel=0.05)
    assert np.quantile(null, 0.95) == pytest.approx(critical, rel=0.05)
    fresh = _sets(rng, n, repeats)
    assert rejections(reference.distances(fresh), null, 0.05).mean() == pytest.approx(0.05, abs=0.03)
    found = rejections(reference.distances(fresh[:250] + SHIFT), null, 0.05).mean()
    assert found == pytest.approx(power, abs=0.1)


def test_the_kernels_are_their_definitions(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(7, 3)), rng.normal(size=(5, 3))
    squared = ((a[:, None] - b) ** 2).sum(axis=-1)
    gaussian = sum(np.exp(-squared / (2 * w)) for w in SCALES)
    quadratic = sum(w / (w + squared) for w in SCALES)
    np.testing.assert_allclose(kernel_matrix(a, b), gaussian)
    np.testing.assert_allclose(kernel_matrix(a, b, "inverse_multiquadratic"), quadratic)
    assert len(SCALES) == 19
    np.testing.assert_allclose(np.diag(kernel_matrix(1e6 + a, 1e6 + a)), 19)


def test_the_root_of_the_biased_statistic(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(40, 2)), rng.normal(size=(6, 2)) + 1
    squared = kernel_matrix(a, a).mean() + kernel_matrix(b, b).mean() - 2 * kernel_matrix(a, b).mean()
    reference = Reference.of(a)
    assert reference.distances(b[None])[0] == pytest.approx(np.sqrt(squared))
    assert reference.distances(b[:, None])[3] == pytest.approx(reference.distances(b[None, 3:4])[0])
    assert reference.distances(a[None])[0] == pytest.approx(0, abs=1e-7)


def test_indexed_sets_are_the_sets_themselves(rng: np.random.Generator) -> None:
    reference, points = Reference.of(rng.normal(size=(50, 2))), rng.normal(size=(20, 2))
    judged = rng.normal(size=(4, 2)) + 1
    pool = Pool(reference, points, 4)
    found = pool.judge(pool.kernels(judged), 30, rng)
    assert found.value == pytest.approx(reference.distances(judged[None])[0])
    joined = np.concatenate([points, judged])
    assert found.null == pytest.approx(reference.distances(joined[found.rows]))
    later = pool.kernels(np.concatenate([points[:3], judged])).rows(np.arange(3, 7))
    assert pool.judge(later, 5, rng).value == pytest.approx(found.value)


def test_sets_are_drawn_without_replacement_and_evenly(rng: np.random.Generator) -> None:
    rows = subsets(10, 4, 5000, rng)
    assert all(len(set(row)) == 4 for row in rows[:200].tolist())
    counts = np.bincount(rows.ravel(), minlength=10)
    assert stats.chisquare(counts).pvalue > 1e-4
    assert (np.sort(subsets(3, 3, 2, rng)) == np.arange(3)).all()


@pytest.mark.parametrize(("n", "rows"), [(3, 40), (20, 30), (20, 100)])
def test_p_values_stay_valid_however_much_sets_share(n: int, rows: int, rng: np.random.Generator) -> None:
    """Sets of twenty out of thirty rows: permuting with the set judged keeps p-values uniform."""
    p_values = []
    for _ in range(400):
        reference = Reference.of(rng.normal(size=(60, 2)))
        pool = Pool(reference, rng.normal(size=(rows, 2)), n)
        found = pool.judge(pool.kernels(rng.normal(size=(n, 2))), 99, rng)
        p_values.append(monte_carlo_p(found.value, found.null))
    assert stats.kstest(np.array(p_values) - rng.random(400) / 100, "uniform").pvalue > 1e-4


def test_sharing_without_the_set_judged_would_not_be_valid(rng: np.random.Generator) -> None:
    """Why sets are drawn from the joined rows: of the pool alone they vary too little."""
    rejected = []
    for _ in range(100):
        reference = Reference.of(rng.normal(size=(60, 2)))
        points = rng.normal(size=(25, 2))
        null = reference.distances(points[subsets(25, 20, 59, rng)])
        rejected.append(rejections(reference.distances(rng.normal(size=(1, 20, 2))), null, 0.05)[0])
    assert np.mean(rejected) > 0.15


def test_the_jackknife_is_the_spread_over_sets(reference: Reference, rng: np.random.Generator) -> None:
    """Away from the null, where the root is smooth."""
    sets = _sets(rng, 20, 150) + 2
    spread = reference.distances(sets).std(ddof=1)
    found = np.mean([jackknife(one, reference) for one in sets[:30]])
    assert found == pytest.approx(spread, rel=0.25)

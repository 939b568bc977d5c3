"""Summary-space MMD: the published table of two Gaussians, exact p-values however few the simulations are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from veridical.checks.base import monte_carlo_p
from veridical.checks.detection import (
    SCALES,
    Detection,
    Pool,
    Reference,
    Whitening,
    fresh_sets,
    jackknife,
    kernel_matrix,
    mmd,
    rejections,
    subsets,
)
from veridical.errors import DataError, ShapeError

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
    assert mmd(a, b) == pytest.approx(np.sqrt(squared))
    assert Reference.of(a).distances(b[None])[0] == pytest.approx(mmd(a, b))
    assert Reference.of(a).distances(b[:, None])[3] == pytest.approx(mmd(a, b[3:4]))
    assert mmd(a, a) == 0


def test_indexed_sets_are_the_sets_themselves(rng: np.random.Generator) -> None:
    reference, points = Reference.of(rng.normal(size=(50, 2))), rng.normal(size=(20, 2))
    judged = rng.normal(size=(4, 2)) + 1
    pool = Pool(reference, points, 4)
    found = pool.judge(pool.kernels(judged), 30, rng)
    assert found.value == pytest.approx(mmd(reference.points, judged))
    joined = np.concatenate([points, judged])
    assert found.null == pytest.approx([mmd(reference.points, joined[rows]) for rows in found.rows])
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


def test_whitening_makes_lengths_mahalanobis_distances(rng: np.random.Generator) -> None:
    chol = np.array([[2.0, 0, 0], [1, 1, 0], [0, 3, 0.1]])
    points = rng.normal(size=(5000, 3)) @ chol.T + 4
    white = Whitening.of(points)(points)
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-10)
    np.testing.assert_allclose(np.cov(white.T), np.eye(3), atol=5e-3)
    centred = points - points.mean(axis=0)
    squared = np.einsum("ni,ij,nj->n", centred, np.linalg.inv(np.cov(points.T)), centred)
    np.testing.assert_allclose(np.linalg.norm(white, axis=1), np.sqrt(squared), rtol=5e-3)


def test_a_summary_that_never_moved_is_not_overlooked(
    gaussian: Callable[..., Any], rng: np.random.Generator
) -> None:
    simulated, observed = gaussian(rng, 1.0, n=400, s=3, d=2), gaussian(rng, 1.0, n=1, s=3, d=2)
    dead = replace(simulated, summary=simulated.summary * [1.0, 0.0])
    assert Detection().run(replace(observed, summary=np.array([[0.0, 0.1]])), rng, null=dead).passed is False


def _with(gaussian: Callable[..., Any], rng: np.random.Generator, n: int, shift: float = 0.0) -> Any:
    model = gaussian(rng, 1.0, n=n, s=3, d=2)
    scale = np.array([100.0, 0.01])  # units of summaries must not matter
    return replace(model, summary=(model.summary + shift) * scale)


def test_the_check_holds_its_level(gaussian: Callable[..., Any], rng: np.random.Generator) -> None:
    """Correlated with nothing, 300 simulations, sets of ten: the whole check, whitening included."""
    check = Detection(null_sets=99, sets=20)
    p_values = []
    for _ in range(120):
        result = check.run(_with(gaussian, rng, 10), rng, null=_with(gaussian, rng, 120))
        p_values.append(result.p_value)
    jitter = rng.random(120) / 100
    assert stats.kstest(np.array(p_values) - jitter, "uniform").pvalue > 1e-4


@pytest.mark.parametrize(("n", "simulated"), [(1, 900), (1, 4000), (20, 400), (3, 30_000)])
def test_size_power_and_alarm_of_the_check(
    n: int,
    simulated: int,
    gaussian: Callable[..., Any],
    rng: np.random.Generator,
    value: Callable[..., Any],
) -> None:
    """Few and many simulations, by fresh sets and by permutation; the planted fault is a shift by four sd."""
    check = Detection(null_sets=999, sets=100, reference=400)
    strange = check.run(_with(gaussian, rng, n, 6.0), rng, null=_with(gaussian, rng, simulated))
    assert strange.passed is False
    assert value(strange, "mmd_p").value == pytest.approx(1 / (len(strange.curves["null"]) + 1))
    assert value(strange, "summary_mahalanobis_p").value < 0.01
    assert strange.curves["observed"][0] > strange.curves["critical"][0]
    size, power = (value(strange, name, level=0.05) for name in ("size", "power"))
    assert abs(size.value - 0.05) < 4 * size.stderr + 0.01
    expected = {1: 0.13, 3: 0.33, 20: 0.97}[n]
    assert abs(power.value - expected) < 4 * power.stderr + 0.05
    assert ("share no row" in strange.notes[0]) == (n != 20)


def test_labelled_data_do_not_meet_simulations_of_the_same_parameters(
    gaussian: Callable[..., Any], make_draws: Any, rng: np.random.Generator
) -> None:
    simulated = _with(gaussian, rng, 200)
    real = replace(_with(gaussian, rng, 200), truth=simulated.truth)
    result = Detection(observations=30, null_sets=99, sets=20).run(real, rng, null=simulated)
    assert result.notes[0].startswith("85 simulated data sets as reference, 43 for the null")
    assert "30 of 200 data sets were compared" in result.notes[1]


def test_a_small_null_cannot_decide(gaussian: Callable[..., Any], rng: np.random.Generator) -> None:
    result = Detection(alpha=0.01).run(_with(gaussian, rng, 1), rng, null=_with(gaussian, rng, 200))
    assert result.passed is None
    assert "cannot tell" in result.notes[-1]


def test_the_jackknife_is_the_spread_over_sets(reference: Reference, rng: np.random.Generator) -> None:
    """Away from the null, where the root is smooth."""
    sets = _sets(rng, 20, 150) + 2
    spread = reference.distances(sets).std(ddof=1)
    found = np.mean([jackknife(one, reference) for one in sets[:30]])
    assert found == pytest.approx(spread, rel=0.25)


def test_what_cannot_be_judged_is_refused(gaussian: Callable[..., Any], rng: np.random.Generator) -> None:
    check, simulated = Detection(), _with(gaussian, rng, 100)
    with pytest.raises(DataError, match="draws of simulated test sets"):
        check.run(simulated, rng)
    with pytest.raises(DataError, match="simulated test sets themselves"):
        check.run(simulated, rng, null=simulated)
    with pytest.raises(DataError, match="at least 40 simulated data sets"):
        check.run(_with(gaussian, rng, 1), rng, null=_with(gaussian, rng, 39))
    with pytest.raises(DataError, match="learned summaries of the data"):
        check.run(replace(simulated, summary=None), rng, null=simulated)
    with pytest.raises(DataError, match="summary: expected finite numbers"):
        check.run(replace(simulated, summary=simulated.summary * np.nan), rng, null=simulated)
    with pytest.raises(ShapeError, match="expected as many as in simulation, 2, got 1"):
        check.run(replace(simulated, summary=simulated.summary[:, :1]), rng, null=simulated)

"""Coverage of methods that learned from pairs: laws in closed form, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from scipy import stats

from veridical.checks.coverage import GAP_LEVELS, coverage_gap
from veridical.coordinates import dataset_cells
from veridical.evidence.metrics import Row, row
from veridical.report import by_pairs
from veridical.report.judging import BAD, CAUTION, GOOD, Evidence, majority
from veridical.report.labelled_rules import labelled_coverage

Array = np.ndarray


def test_what_pairs_let_sets_hold_is_beta_distributed(rng: np.random.Generator) -> None:
    levels = np.array([0.5, 0.9])
    b = by_pairs.held_by(50, levels, (20_000,), rng)
    for j, k in enumerate((26, 46)):
        assert stats.kstest(b[:, j], stats.beta(k, 51 - k).cdf).pvalue > 1e-4
    between = np.cov(b.T)[0, 1]
    assert between == pytest.approx(26 * (51 - 46) / (51**2 * 52), abs=6e-5)
    assert (by_pairs.held_by(5, np.array([0.9]), (3,), rng) == 1).all(), "no rank of five holds 90 %"


def test_the_bridge_has_the_variance_of_rows_and_pairs_together() -> None:
    expected = np.sqrt(2 / np.pi) * np.mean(np.sqrt(np.multiply(GAP_LEVELS, 1 - np.array(GAP_LEVELS))))
    for pairs, rows in ((200, 1000), (1000, 300)):
        found = by_pairs._gaps(pairs, rows).mean()
        assert found == pytest.approx(expected * np.sqrt(1 / pairs + 1 / rows), rel=0.03)


def test_probabilities_of_gaps_fall_from_one_and_a_gap_that_is_not_a_number_has_none() -> None:
    found = [by_pairs.gap_p(gap, 200, 1000) for gap in (0.0, 0.025, 0.06, 0.5)]
    assert found == sorted(found, reverse=True) and found[0] == 1.0
    assert found[-1] == 1 / (1 + by_pairs.NULL_DRAWS)
    assert by_pairs.gap_p(float("nan"), 200, 1000) == 0.0


@pytest.mark.parametrize(("pairs", "rows", "least"), [(50, 1000, 0.805), (200, 1000, 0.851), (5, 1000, 0)])
def test_the_least_share_that_is_seen_is_that_of_the_beta_binomial_law(
    pairs: int, rows: int, least: float
) -> None:
    assert by_pairs.least_seen(pairs, rows, 0.025) == pytest.approx(least)


def test_means_over_replicates_scatter_as_pairs_by_replicate_and_rows_in_common() -> None:
    one, ten = (by_pairs._means(200, 1000, k) for k in (1, 10))
    mean = 181 / 201
    pairs, rows = mean * (1 - mean) / 202, mean * (1 - mean) / 1000
    for found, k in ((one, 1), (ten, 10)):
        assert found.mean() == pytest.approx(mean, abs=1e-3)
        assert found.std() == pytest.approx(np.sqrt(pairs / k + rows), rel=0.05)
    low, high = by_pairs.mean_range(200, 1000, 3, 3)
    assert 0.84 < low < 0.88 < 0.92 < high < 0.95


# ---- planted faults --------------------------------------------------------------------------------


def metrics_of(levels: Array, pairs: int | None, seed: int) -> list[Row]:
    """What check `coverage` measures of levels (m, 2) of two parameters and of joint regions."""
    m, gaps = len(levels), coverage_gap(levels)
    about = {"method": "one", "budget": 1, "seed": seed, "n_calibration": pairs, **dataset_cells("real")}
    found = [row(**about, metric="coverage_p", value=1e-4)]  # what a null without pairs says
    for j, name in enumerate("ab"):
        own = {**about, "parameter": name}
        found.append(row(**own, metric="coverage", level=0.9, n=m, value=(levels[:, j] <= 0.9).mean()))
        found.append(row(**own, metric="coverage_gap", n=m, value=gaps[j], stderr=0.0))
    joint = (levels[:, 2] <= 0.9).mean()
    found.append(row(**about, metric="hpd_coverage", level=0.9, n=m, value=joint))
    return [*found, row(**about, metric="hpd_coverage_gap", n=m, value=gaps[2], stderr=0.0)]


def outcome(change: Callable[[Array], Array], pairs: int | None = 200, m: int = 1000) -> int:
    """The outcome in most of three replicates, whose levels are even but for a change to those of `b`."""
    even = (np.arange(m) + 0.5) / m
    levels = np.stack([even, change(even), even], axis=1)
    rows = [one for seed in range(3) for one in metrics_of(levels, pairs, seed)]
    found = labelled_coverage(Evidence(rows, "one", 1, "real", pairs))
    assert found is not None
    return majority(found[0].values())


def bent(v: Array, centre: float, tail: float) -> Array:
    """Levels of which 50 % sets hold one share, and 90 % sets another."""
    return np.interp(v, [0, centre, tail, 1], [0, 0.5, 0.9, 1])


@pytest.mark.parametrize(
    ("centre", "tail", "pairs", "expected"),
    [
        (0.50, 0.90, 200, GOOD),
        (0.50, 0.90, 50, CAUTION),  # few pairs buy no trust
        (0.46, 0.87, 200, GOOD),  # as 200 pairs may be off
        (0.46, 0.835, 200, CAUTION),  # in no single replicate too little, but in the mean of three
        (0.45, 0.80, 200, BAD),
        (0.45, 0.80, 50, CAUTION),  # as 50 pairs may be off
        (0.55, 0.95, 200, CAUTION),
        (0.68, 0.91, 200, CAUTION),  # right at 90 %, the centre too wide
        (0.68, 0.91, 10_000, CAUTION),
        (0.53, 0.91, 10_000, GOOD),  # too small a gap to matter, however many pairs
    ],
)
def test_faults_are_held_against_what_pairs_explain(
    centre: float, tail: float, pairs: int, expected: int
) -> None:
    assert outcome(partial(bent, centre=centre, tail=tail), pairs) == expected


def test_a_method_without_pairs_is_held_against_rows_alone() -> None:
    half = partial(bent, centre=0.63, tail=0.9)
    assert outcome(half, None) == CAUTION
    assert outcome(half, 200) == GOOD, "within what 200 pairs explain"

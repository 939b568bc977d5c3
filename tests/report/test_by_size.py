"""Coverage judged by its size: exact tables of the binomial law, and what passes them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from veridical.report import by_size, levels
from veridical.report.by_size import Counted
from veridical.report.judging import BAD, CANNOT_TELL, CAUTION, GOOD

NEEDED = {
    0.80: {20: 20, 50: 45, 75: 67, 100: 87, 150: 129, 200: 170, 500: 416, 1000: 822},
    0.74: {20: 19, 50: 43, 75: 63, 100: 82, 150: 121, 200: 159},
}
BAD_AT_MOST = {20: 13, 50: 36, 100: 77, 200: 159, 500: 408, 1000: 827}


@pytest.mark.parametrize(("excluded", "table"), NEEDED.items())
def test_the_least_number_held_is_that_of_the_exact_test(excluded: float, table: dict[int, int]) -> None:
    for n, k in table.items():
        assert by_size.least_held(n, excluded) == k
        assert binom.sf(k - 1, n, excluded) <= 0.05 < binom.sf(k - 2, n, excluded)


def test_the_largest_number_that_is_bad_is_that_of_the_exact_test() -> None:
    for n, k in BAD_AT_MOST.items():
        assert by_size.most_held(n, 0.85, 0.025) == k
        assert binom.cdf(k, n, 0.85) <= 0.025 < binom.cdf(k + 1, n, 0.85)


@pytest.mark.parametrize(
    ("n", "shares"),
    [(50, (0.88, 0.59, 0.35)), (100, (1.0, 0.98, 0.96)), (150, (1.0, 1.0, 1.0)), (200, (0.99, 0.96, 0.93))],
)
def test_right_answers_pass_as_often_as_the_law_says(n: int, shares: tuple[float, ...]) -> None:
    assert [round(by_size.passes(n, d), 2) for d in (1, 4, 8)] == list(shares)


def test_rows_from_which_a_right_answer_passes() -> None:
    assert [by_size.enough(d) for d in (1, 8)] == [43, 76]


def counted(n: int, *held: int) -> Counted:
    return Counted(held, n, sum(held) / len(held) / n)


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (counted(100, 90), GOOD),
        (counted(100, 84), CAUTION),  # excludes 0.74, but its mean not 0.80
        (counted(100, 85), GOOD),
        (counted(100, 82, 95, 95, 95), GOOD),
        (counted(100, 81, 95, 95, 95), CAUTION),
        (counted(100, 77), BAD),
        (counted(100, 77, 95, 95, 95), CAUTION),  # Bonferroni over parameters
        (counted(200, 170), GOOD),
        (counted(200, 169), CAUTION),
        (counted(200, 200), CAUTION),  # too wide
        (counted(20, 17), CANNOT_TELL),
        (counted(20, 20), GOOD),  # no other minimum of rows
        (counted(20, 10), BAD),
    ],
)
def test_counts_are_judged_by_what_they_exclude(found: Counted, outcome: int) -> None:
    assert by_size.judge(found) == outcome


def test_rivals_on_the_same_rows_share_the_level() -> None:
    assert by_size.judge(counted(100, 86)) == GOOD
    assert by_size.judge(counted(100, 86), rivals=17) == CAUTION


@pytest.mark.parametrize(("coverage", "n"), [(0.74, 100), (0.80, 200), (0.80, 1000)])
@pytest.mark.parametrize("d", [1, 8])
def test_an_answer_that_is_wrong_in_one_parameter_passes_in_five_percent_at_most(
    coverage: float, n: int, d: int
) -> None:
    """Exactly, over the wrong parameter, whatever the others do: they can only fail too."""
    rest = [round(0.95 * n)] * (d - 1)
    passing = [k for k in range(n + 1) if by_size.judge(counted(n, k, *rest)) in (GOOD,)]
    assert sum(binom.pmf(passing, n, coverage)) <= 0.05


def test_rows_as_clusters_widen_the_interval_of_the_mean() -> None:
    """By the factor that they add to independent counts; no factor makes it narrower than those."""
    held, independent = (90,) * 4, (0.9 * 0.1 / 400) ** 0.5
    for factor, stderr in ((1.0, 0.0), (1.0, independent / 2), (2.0, 2 * independent)):
        found = by_size.lower_end(Counted(held, 100, 0.9, stderr), 0.05)
        assert found == pytest.approx(0.9 - 1.6449 * factor * independent, abs=1e-4)


def test_what_labelled_data_do_not_clear_leaves_their_own_alarms_room() -> None:
    """Of right answers: coverage on 100 or 200 rows, and by the union bound what stands beside it."""
    stands = sum(map(levels.caution, ("local ranks", "local classifier")))
    stands += sum(map(levels.bad, ("predictive", "members")))
    assert stands == pytest.approx(0.03)
    for n in (100, 200):
        assert 1 - by_size.passes(n, 8) + stands < 0.105


@pytest.mark.parametrize(("pairs", "point"), [(50, 0.808), (100, 0.836), (200, 0.856)])
def test_what_so_many_pairs_allow(pairs: int, point: float, rng: np.random.Generator) -> None:
    """Against simulated calibrations: the coverage of the k-th smallest of n uniform levels is itself."""
    k = int(np.ceil(0.9 * (pairs + 1)))
    simulated = np.sort(rng.random((20_000, pairs)), axis=1)[:, k - 1]
    assert by_size.as_good_as(pairs) == pytest.approx(point, abs=5e-4)
    assert np.mean(simulated < point) == pytest.approx(0.025, abs=4 * np.sqrt(0.025 * 0.975 / 20_000))

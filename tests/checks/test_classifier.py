"""The classifier of two samples: closed forms, size, and what it sees that a mean distance does not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from veridical.checks.base import monte_carlo_p
from veridical.checks.classifier import classify, means, sets_of, whitened_features
from veridical.checks.detection import Detection

from .gaussian_model import gaussian, value


def test_sets_and_their_means(rng: np.random.Generator) -> None:
    values = rng.normal(size=(30, 4))
    sets = sets_of(30, 5, 20, rng)
    assert sets.shape == (21, 5) and sets[0].tolist() == [0, 1, 2, 3, 4]
    assert all(len(set(rows)) == 5 for rows in sets.tolist())
    np.testing.assert_allclose(means(values, sets), values[sets].mean(axis=1), atol=1e-12)
    np.testing.assert_array_equal(means(values, sets_of(30, 1, 20, rng)), values)


def test_its_separation_is_hotellings_statistic(rng: np.random.Generator) -> None:
    """n times T of the linear features is Hotelling's T² of the set's mean of scores, whatever its scale."""
    pool = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 3))
    linear, both = whitened_features(pool)
    assert (linear.shape, both.shape) == ((400, 3), (400, 9))
    np.testing.assert_allclose(both.T @ both / 400, np.eye(9), atol=1e-8)
    again, _ = whitened_features(np.exp(pool))  # only ranks matter, in the central 95 %
    set_mean = linear[:8].mean(axis=0)
    assert (set_mean**2).sum() == pytest.approx((again[:8].mean(axis=0) ** 2).sum(), rel=0.4)


def test_few_rows_have_few_features(rng: np.random.Generator) -> None:
    assert [u.shape[1] for u in whitened_features(rng.normal(size=(100, 5)))] == [5, 10]  # no products
    assert [u.shape[1] for u in whitened_features(rng.normal(size=(60, 5)))] == [5]
    assert [u.shape[1] for u in whitened_features(np.ones((60, 2)))] == [1, 1]  # nothing varies


@pytest.mark.parametrize("n", [1, 5])
def test_its_level_is_kept_for_any_law(n: int, rng: np.random.Generator) -> None:
    p = []
    for _ in range(120):
        pool = rng.standard_t(2, size=(99 + n, 2)) ** 3
        found = classify(pool, n, 99, rng)
        p.append(monte_carlo_p(found.statistic, found.null))
    assert stats.kstest(np.array(p) - rng.random(120) / 100, "uniform").pvalue > 1e-4


def test_it_sees_shifts_scatter_and_correlations(rng: np.random.Generator) -> None:
    simulated = rng.normal(size=(800, 3))
    for planted in (lambda x: x + np.eye(3)[0], lambda x: 2 * x, lambda x: x[:, [0, 0, 2]]):
        found = classify(np.concatenate([planted(rng.normal(size=(40, 3))), simulated]), 40, 199, rng)
        assert monte_carlo_p(found.statistic, found.null) <= 0.02
        assert found.auc > 0.55


def test_the_area_is_that_of_rows_not_seen(rng: np.random.Generator) -> None:
    """Chance where nothing differs, however many features there are; 1 where all does."""
    areas = [classify(rng.normal(size=(320, 5)), 20, 1, rng).auc for _ in range(60)]
    assert np.mean(areas) == pytest.approx(0.5, abs=5 * np.std(areas) / 60**0.5)
    far = classify(np.concatenate([rng.normal(size=(20, 5)) + 9, rng.normal(size=(300, 5))]), 20, 1, rng)
    assert far.auc > 0.99
    assert classify(rng.normal(size=(50, 2)), 2, 9, rng).auc is None


def test_detection_has_it_where_asked_for_and_is_the_same_beside_it(rng: np.random.Generator) -> None:
    simulated, observed = gaussian(rng, n=400, s=3, d=2), gaussian(rng, n=20, s=3, d=2)
    options = {"null_sets": 199, "sets": 30}

    def run(**more: bool):  # type: ignore[no-untyped-def]
        return Detection(**options, **more).run(
            observed, np.random.Generator(np.random.PCG64(3)), null=simulated
        )

    without, beside = run(), run(classifier=True)
    assert beside.metrics()[: len(without.metrics()) - 2] == without.metrics()[:-2]
    assert beside.metrics()[-2:] == without.metrics()[-2:] and beside.p_value == without.p_value
    assert {m.name for m in beside.metrics()} - {m.name for m in without.metrics()} == {
        *("c2st_p", "c2st_auc", "c2st_power", "c2st_size")
    }
    size, power = (value(beside, f"c2st_{name}", level=0.05) for name in ("size", "power"))
    assert abs(size.value - 0.05) < 4 * size.stderr + 0.01 and power.value > 0.8

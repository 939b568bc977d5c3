"""Detection: the check holds its level, finds planted shifts, and refuses what it cannot judge."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from veridical.checks.detection import Detection, Whitening
from veridical.errors import DataError, ShapeError

from .gaussian_model import gaussian, value


def test_whitening_makes_lengths_mahalanobis_distances(rng: np.random.Generator) -> None:
    chol = np.array([[2.0, 0, 0], [1, 1, 0], [0, 3, 0.1]])
    points = rng.normal(size=(5000, 3)) @ chol.T + 4
    white = Whitening.of(points)(points)
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-10)
    np.testing.assert_allclose(np.cov(white.T), np.eye(3), atol=5e-3)
    centred = points - points.mean(axis=0)
    squared = np.einsum("ni,ij,nj->n", centred, np.linalg.inv(np.cov(points.T)), centred)
    np.testing.assert_allclose(np.linalg.norm(white, axis=1), np.sqrt(squared), rtol=5e-3)


def test_a_summary_that_never_moved_is_not_overlooked(rng: np.random.Generator) -> None:
    simulated, observed = gaussian(rng, 1.0, n=400, s=3, d=2), gaussian(rng, 1.0, n=1, s=3, d=2)
    dead = replace(simulated, summary=simulated.summary * [1.0, 0.0])
    assert Detection().run(replace(observed, summary=np.array([[0.0, 0.1]])), rng, null=dead).passed is False


def _with(rng: np.random.Generator, n: int, shift: float = 0.0) -> Any:
    model = gaussian(rng, 1.0, n=n, s=3, d=2)
    scale = np.array([100.0, 0.01])  # units of summaries must not matter
    return replace(model, summary=(model.summary + shift) * scale)


def test_the_check_holds_its_level(rng: np.random.Generator) -> None:
    """Correlated with nothing, 300 simulations, sets of ten: the whole check, whitening included."""
    check = Detection(null_sets=99, sets=20)
    p_values = []
    for _ in range(120):
        result = check.run(_with(rng, 10), rng, null=_with(rng, 120))
        p_values.append(result.p_value)
    jitter = rng.random(120) / 100
    assert stats.kstest(np.array(p_values) - jitter, "uniform").pvalue > 1e-4


def test_what_a_single_member_of_an_ensemble_sees_is_seen(rng: np.random.Generator) -> None:
    def with_members(n: int, only_second: float = 0.0) -> Any:
        model = _with(rng, n)
        other = (
            model.summary
            + rng.normal(size=model.summary.shape) * [10.0, 0.001]
            + only_second * np.array([100.0, 0.01])
        )
        return replace(model, summary=np.hstack([model.summary, other]), summarisers=2)

    check, null = Detection(null_sets=999, sets=20), with_members(4000)
    assert value(check.run(with_members(3, 5.0), rng, null=null), "mmd_p").value < 0.005
    assert value(check.run(with_members(3), rng, null=null), "mmd_p").value > 0.005


@pytest.mark.parametrize(("n", "simulated"), [(1, 900), (1, 4000), (20, 400), (3, 30_000)])
def test_size_power_and_alarm_of_the_check(n: int, simulated: int, rng: np.random.Generator) -> None:
    """Few and many simulations, by fresh sets and by permutation; the planted fault is a shift by four sd."""
    check = Detection(null_sets=999, sets=100, reference=400)
    strange = check.run(_with(rng, n, 6.0), rng, null=_with(rng, simulated))
    assert strange.passed is False
    assert value(strange, "mmd_p").value == pytest.approx(1 / (len(strange.curves["null"]) + 1))
    assert value(strange, "summary_mahalanobis_p").value < 0.01
    assert strange.curves["observed"][0] > strange.curves["critical"][0]
    size, power = (value(strange, name, level=0.05) for name in ("size", "power"))
    assert abs(size.value - 0.05) < 4 * size.stderr + 0.01
    expected = {1: 0.13, 3: 0.33, 20: 0.97}[n]
    assert abs(power.value - expected) < 4 * power.stderr + 0.05
    assert ("share no row" in strange.notes[0]) == (n != 20)


def test_labelled_data_do_not_meet_simulations_of_the_same_parameters(rng: np.random.Generator) -> None:
    simulated = _with(rng, 200)
    real = replace(_with(rng, 200), truth=simulated.truth)
    result = Detection(observations=30, null_sets=99, sets=20).run(real, rng, null=simulated)
    assert result.notes[0].startswith("85 simulated data sets as reference, 43 for the null")
    assert "30 of 200 data sets were compared" in result.notes[1]


def test_a_small_null_cannot_decide(rng: np.random.Generator) -> None:
    result = Detection(alpha=0.01).run(_with(rng, 1), rng, null=_with(rng, 200))
    assert result.passed is None
    assert "cannot tell" in result.notes[-1]


def test_a_level_real_that_equals_the_simulator_is_told_and_not_judged(rng: np.random.Generator) -> None:
    simulated = _with(rng, 100)
    result = Detection().run(simulated, rng, null=simulated)
    assert not result.metrics() and result.passed is None
    assert "simulated test sets themselves" in result.notes[0]


def test_what_cannot_be_judged_is_refused(rng: np.random.Generator) -> None:
    check, simulated = Detection(), _with(rng, 100)
    with pytest.raises(DataError, match="draws of simulated test sets"):
        check.run(simulated, rng)
    with pytest.raises(DataError, match="at least 40 simulated data sets"):
        check.run(_with(rng, 1), rng, null=_with(rng, 39))
    with pytest.raises(DataError, match="learned summaries of the data"):
        check.run(replace(simulated, summary=None), rng, null=simulated)
    with pytest.raises(DataError, match="summary: expected finite numbers"):
        check.run(replace(simulated, summary=simulated.summary * np.nan), rng, null=simulated)
    with pytest.raises(ShapeError, match="expected as many as in simulation, 2, got 1"):
        check.run(replace(simulated, summary=simulated.summary[:, :1]), rng, null=simulated)

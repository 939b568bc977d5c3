"""Recalibration behind a flow: planted Student errors, closed forms, a shift that no draw reaches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from tests.remedies.shifted_task import SHIFTED, rows
from veridical import methods, seeds
from veridical.errors import TrainingError
from veridical.estimators.base import Estimator, Material, Rows
from veridical.estimators.npe import NPE
from veridical.remedies.base_space import RecalibratedBase, fit_student
from veridical.remedies.recalibrated import Recalibrated
from veridical.training.session import Session

SPEC = {"type": "recalibrated", "of": "parent", "space": "base"}


def generator(*path: str | int) -> np.random.Generator:
    return seeds.generator(20261130, "test", "base space", *path)


def fit(pairs: Rows, parent: Estimator, **settings: Any) -> RecalibratedBase:
    material = Material(calibration=pairs, parent=parent)
    found = methods.fit({**SPEC, **settings}, SHIFTED, material, Session(1, ("recalibrated", 0)))[0]
    assert isinstance(found, RecalibratedBase)
    return found


@pytest.fixture(scope="module")
def recalibrated(npe: NPE) -> RecalibratedBase:
    return fit(rows(200, True, generator("pairs")), npe)


def test_a_planted_student_is_found() -> None:
    """C to 5 errors of 2,000 rows (a variance of t_5 weights has a relative error of about 2 / n^0.5)."""
    rng, scatter = generator("student"), np.array([[4.0, 1.0], [1.0, 1.0]])
    noise = rng.standard_normal((2000, 2)) @ np.linalg.cholesky(scatter).T
    factor, nu = fit_student(noise / np.sqrt(rng.chisquare(5, 2000) / 5)[:, None])
    assert nu in (3, 5, 10)
    adjusted = factor @ factor.T if nu == 5 else scatter
    np.testing.assert_allclose(adjusted, scatter, atol=5 * 2 / np.sqrt(2000) * 4)


def test_the_noise_behind_draws_is_the_noise_they_were_made_of(npe: NPE) -> None:
    x = rows(3, False, generator("x")).x
    noise = generator("noise").standard_normal((30, 1))
    index = np.repeat(np.arange(3), 10)
    draws = npe.push(noise, npe.contexts(x), index)[0]
    np.testing.assert_allclose(npe.base(draws[:, None], x[:1])[:10, 0], noise[:10], atol=1e-3)
    log_p = npe.log_prob(draws[:10, None], x[:1])[:, 0]
    slope = np.exp(log_p - stats.norm.logpdf(noise[:10, 0]))
    step = 1e-6
    behind = [npe.base(draws[:10, None] + s, x[:1])[:, 0, 0] for s in (-step, step)]
    np.testing.assert_allclose((behind[1] - behind[0]) / (2 * step), slope, rtol=1e-2)


def test_its_density_integrates_to_one_and_draws_follow_it(recalibrated: RecalibratedBase) -> None:
    x = rows(1, True, generator("one")).x
    theta = (np.arange(20_000) + 0.5) / 20_000
    density = np.exp(recalibrated.log_prob(theta[:, None, None], x)[:, 0])
    assert density.mean() == pytest.approx(1, abs=0.02)  # slopes are steep near the bounds
    draws, log_p = recalibrated.sample_and_log_prob(x, 1000, generator("draws"))
    np.testing.assert_allclose(log_p, recalibrated.log_prob(draws, x))
    masses = np.interp(draws[:, 0, 0], theta, np.cumsum(density) / density.sum())
    assert stats.kstest(masses, "uniform").pvalue > 1e-4
    assert (recalibrated.log_prob(np.array([[[1.5]]]), x) == -np.inf).all()


def test_where_no_draw_comes_near_the_truth_its_sets_hold_nine_tenths(
    npe: NPE, recalibrated: RecalibratedBase
) -> None:
    """Real data are moved by several posterior sd: to 4 errors of 200 pairs and 1,000 rows."""
    test = rows(1000, True, generator("test"))
    behind = np.abs(npe.base(test.theta, test.x)[:, 0])
    assert np.mean(behind < 1.645) < 0.5, "the parent is far too sure"
    error = np.sqrt(0.09 * (1 / 200 + 1 / 1000))
    told = recalibrated.transforms()
    assert np.mean(behind <= told["set_90"]["radius"]) == pytest.approx(0.9, abs=4 * error)
    assert told["strict_set_90"]["radius"] >= told["set_90"]["radius"]
    before, after = (one.log_prob(test.theta, test.x).mean() for one in (npe, recalibrated))
    assert after > before + 0.5


def test_pairs_are_answered_by_what_others_say(npe: NPE) -> None:
    pairs = rows(50, True, generator("apart"))
    theta = pairs.theta.copy()
    theta[7] = 0.999
    moved = Rows(theta, pairs.x, pairs.validation)
    both = [fit(each, npe).apart(each) for each in (pairs, moved)]
    assert sorted(np.concatenate([held for held, _ in both[0]])) == list(range(50))
    for (held, one), (_, other) in zip(*both, strict=True):
        assert isinstance(one, RecalibratedBase) and isinstance(other, RecalibratedBase)
        assert np.array_equal(one.factor, other.factor) == (7 in held)


def test_it_comes_back_from_its_arrays(npe: NPE, recalibrated: RecalibratedBase) -> None:
    again = Recalibrated.from_arrays(recalibrated.settings, SHIFTED, recalibrated.arrays(), npe)
    test = rows(5, True, generator("again"))
    np.testing.assert_array_equal(
        again.log_prob(test.theta, test.x), recalibrated.log_prob(test.theta, test.x)
    )


def test_what_it_refuses(npe: NPE) -> None:
    with pytest.raises(
        TrainingError, match="expected at least 10 labelled real rows for 1 parameters, got 5"
    ):
        fit(rows(5, True, generator("few")), npe)
    settings = methods.typed("recalibrated", SPEC)
    for kind, spec in (("npe", {"flow": "flow_matching"}), ("npe", {"flow": "mixture"}), ("ridge", {})):
        reason = settings.misfit(methods.typed(kind, {"type": kind, **spec}), "other")
        assert reason is not None and "maps normal numbers one to one" in reason
    assert settings.misfit(methods.typed("npe", {"type": "npe", "flow": "maf"}), "other") is None
    ridge = methods.fit(
        {"type": "ridge"},
        SHIFTED,
        Material(calibration=rows(40, True, generator("ridge"))),
        Session(1, ("r", 0)),
    )[0]
    with pytest.raises(TrainingError, match="`space: base` needs an `npe`"):
        fit(rows(40, True, generator("ridge")), ridge)

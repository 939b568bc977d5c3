"""Fields that correct a posterior: a planted shift, pairs of the simulator itself, honesty of the folds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.remedies.shifted_task import PRIOR, SHIFTED, rows, simulator
from veridical import methods, seeds
from veridical.errors import TrainingError
from veridical.estimators.base import Estimator, Material, Rows
from veridical.estimators.npe import NPE
from veridical.remedies.fmcpe import FMCPE
from veridical.training.session import Session

MOMENT = {"steps": 5, "looks": 1, "repeats": 2, "centres": 50, "width": 8, "blocks": 1}
SHORT = {"steps": 150, "looks": 10, "repeats": 10, "centres": 100, "width": 16, "blocks": 1}


def generator(*path: str | int) -> np.random.Generator:
    return seeds.generator(20261130, "test", "fmcpe", *path)


def fit(pairs: Rows, parent: Estimator, **settings: Any) -> FMCPE:
    spec = {"type": "fmcpe", "of": "npe", **settings}
    material = Material(calibration=pairs, parent=parent, prior=PRIOR, simulate=simulator())
    found = methods.fit(spec, SHIFTED, material, Session(1, ("fmcpe", 0)))[0]
    assert isinstance(found, FMCPE)
    return found


def test_a_planted_shift_is_put_right(npe: NPE) -> None:
    """theta ~ U(0, 1) has log density 0, its exact posterior about 1.7; the parent is off by 0.3."""
    found = fit(rows(50, True, generator("pairs")), npe, condition="data", **SHORT)
    test = rows(100, True, generator("test"))
    assert npe.log_prob(test.theta, test.x).mean() < -2
    assert found.log_prob(test.theta, test.x).mean() > 0.5
    assert found.both == (found.scores[1] > found.scores[0])
    alone = found.log_prob(test.theta[:1], test.x[:1])
    np.testing.assert_allclose(alone, found.log_prob(test.theta, test.x)[:1], atol=1e-8)


def test_pairs_of_the_simulator_leave_an_answer_near_the_parents(npe: NPE) -> None:
    """Behind by what the blur of summaries costs, 0.35 for twice the variance, and learning: 0.8."""
    found = fit(rows(50, False, generator("simulated")), npe, condition="data", flows="data", **SHORT)
    test = rows(100, False, generator("simulated test"))
    behind = npe.log_prob(test.theta, test.x) - found.log_prob(test.theta, test.x)
    assert behind.mean() < 0.8


def test_a_member_has_not_seen_what_it_answers_apart(npe: NPE) -> None:
    """Other labels of one fold change all members but that which answers it."""
    pairs = rows(15, True, generator("few"))
    theta = pairs.theta.copy()
    theta[::5] = 1 - theta[::5]
    others = replace(pairs, theta=theta)
    found = [fit(each, npe, **MOMENT) for each in (pairs, others)]
    same = [
        all(np.array_equal(one.arrays()[k], a) for k, a in other.arrays().items())
        for one, other in zip(found[0].members, found[1].members, strict=True)
    ]
    assert same == [True, False, False, False, False]
    parts = found[0].apart(pairs)
    assert np.array_equal(np.sort(np.concatenate([r for r, _ in parts])), np.arange(15))
    assert all(np.array_equal(r % 5, np.full(3, k)) for k, (r, _) in enumerate(parts))
    with pytest.raises(TrainingError, match=r"15 labelled pairs, and these 15 are others"):
        found[0].apart(others)


def test_refusals(npe: NPE) -> None:
    with pytest.raises(TrainingError, match="at least 10 labelled real rows, got 9"):
        fit(rows(9, True, generator("nine")), npe, **MOMENT)
    prior = methods.fit({"type": "prior"}, SHIFTED, Material(prior=PRIOR), Session(1, ("prior", 0)))[0]
    with pytest.raises(TrainingError, match="needs the encoder of an npe"):
        fit(rows(12, True, generator("twelve")), prior, **MOMENT)

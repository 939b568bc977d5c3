"""Cross-fitted J-NPE: its limits, who has seen which pair, the common look, a shift, what builds on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.remedies.shifted_task import PRIOR, SHIFTED, rows, simulate, simulator
from veridical import methods, seeds
from veridical.errors import TrainingError
from veridical.estimators.apart import FOLDS, folds
from veridical.estimators.base import Estimator, Material, Rows
from veridical.estimators.npe import NPE
from veridical.estimators.npe_settings import NPESettings
from veridical.remedies.cross_joint import CrossJNPE
from veridical.remedies.cross_joint_settings import CrossJNPESettings
from veridical.remedies.cross_joint_training import Training, rows_of
from veridical.tasks.base import Array
from veridical.tasks.priors import Product, Uniform
from veridical.training.session import Session, TrainingResult

BRIEF = {"steps": 4, "looks": 1, "batch_size": 16}
RUN = Session(1, ("cross_j_npe", 0))


def generator(*path: str | int) -> np.random.Generator:
    return seeds.generator(20261130, "test", "cross_j_npe", *path)


def pairs(n: int, real: bool = True) -> Rows:
    return replace(rows(n, real, generator("pairs", n)), validation=np.zeros(n, bool))


def material(npe: Estimator, learned: Rows, **changes: Any) -> Material:
    known: dict[str, Any] = {"calibration": learned, "parent": npe, "prior": PRIOR, "simulate": simulator()}
    return Material(**{**known, **changes})


def fit(npe: Estimator, learned: Rows, **settings: Any) -> tuple[CrossJNPE, TrainingResult]:
    spec = {"type": "cross_j_npe", "of": "npe", **settings}
    found, result = methods.fit(spec, SHIFTED, material(npe, learned), RUN)
    assert isinstance(found, CrossJNPE) and result is not None
    return found, result


def training(npe: NPE, learned: Rows, **settings: Any) -> Training:
    data = material(npe, learned)
    return Training(CrossJNPESettings(of="npe", **settings), npe, learned, data, RUN)


def score(found: CrossJNPE, learned: Rows) -> float:
    """The mean of log(0.98 q + 0.02 p) of pairs, by what has not seen them; the log prior is 0."""
    log_q: Array = np.empty(len(learned))
    for held, one in found.apart(learned):
        log_q[held] = one.log_prob(learned.theta[held], learned.x[held])
    return float(np.log(0.98 * np.exp(log_q) + 0.02).mean())


def test_a_shift_is_put_right(npe: NPE) -> None:
    """The posterior is off by several of its widths; the prior's log density is 0, the exact answer's 1.7."""
    learned, test = pairs(100), rows(500, True, generator("test"))
    found, result = fit(npe, learned, steps=200, looks=20, learning_rate=3e-3)
    before, after = (one.log_prob(test.theta, test.x).mean() for one in (npe, found))
    assert after > 1.0 and after > before + 2
    assert result.rounds[0]["step"] == 0 and result.best > 0


def test_without_a_step_it_is_the_posterior(npe: NPE) -> None:
    learned, x, grid = pairs(20), rows(3, True, generator("x")).x, np.full((3, 1), 0.4)
    found, result = fit(npe, learned, steps=0)
    np.testing.assert_allclose(found.log_prob(grid, x), npe.log_prob(grid, x), rtol=1e-12)
    assert (result.steps, result.best, len(result.rounds)) == (0, 0, 1)
    draws, log_q = found.sample_and_log_prob(x, 50, generator("draws"))
    np.testing.assert_allclose(log_q, npe.log_prob(draws, x), rtol=1e-12)


def test_where_no_step_helps_it_is_the_posterior(npe: NPE) -> None:
    """Pairs are simulations, which it was trained for, and a learning rate of one breaks it at once."""
    learned, grid = pairs(20, real=False), np.full((20, 1), 0.4)
    found, result = fit(npe, learned, learning_rate=1.0, steps=60, looks=20, patience=3)
    assert result.best == 0 and result.stopped_early and result.steps == 9
    np.testing.assert_allclose(found.log_prob(grid, learned.x), npe.log_prob(grid, learned.x), rtol=1e-12)


def test_no_pair_is_answered_by_a_fit_that_has_seen_it(npe: NPE) -> None:
    """Labels of one fifth are changed: what answers this fifth stays as it is, to the bit, alone."""
    learned, x, grid = pairs(20), rows(3, True, generator("x")).x, np.full((3, 1), 0.4)
    theta = learned.theta.copy()
    theta[1::5] = 1 - theta[1::5]
    changed = replace(learned, theta=theta)
    (one, first), (other, second) = (fit(npe, each, **BRIEF) for each in (learned, changed))
    assert first.best == second.best == 1
    parts = list(zip(one.apart(learned), other.apart(changed), strict=True))
    same = [np.array_equal(a.log_prob(grid, x), b.log_prob(grid, x)) for (_, a), (_, b) in parts]
    assert same == [False, True, False, False, False]
    for (held, _), (_, mask) in zip(one.apart(learned), folds(20), strict=True):
        np.testing.assert_array_equal(held, np.flatnonzero(mask))
    with pytest.raises(TrainingError, match="from 20 labelled pairs, and these 20 are others"):
        one.apart(changed)


@pytest.mark.parametrize(("n", "half"), [(12, 36), (23, 64)])
def test_batches_hold_pairs_of_other_folds_alone(npe: NPE, n: int, half: int) -> None:
    """At most four times each, beside as many simulations, which are the same for all fits."""
    learned = pairs(n)
    made = training(npe, learned, steps=3)
    assert made.half == half
    for k, (_, held) in enumerate(folds(n)):
        chosen = made._pairs(k)
        assert len(chosen) == half and not held[chosen].any() and np.bincount(chosen).max() <= 4
    z = npe.parameters.forward(learned.theta)[0].astype(np.float32)
    for theta, x in made._batches():
        assert theta.shape == (FOLDS, 2 * half, 1) and x.shape == (FOLDS, 2 * half, 2)
        assert all(np.array_equal(theta[0, :half], theta[k, :half]) for k in range(FOLDS))
        for k, (learn, _) in enumerate(folds(n)):
            assert np.isin(theta[k, half:].numpy(), z[learn]).all()


def test_one_look_is_best_for_all_fits_together(npe: NPE) -> None:
    learned = pairs(40)
    found, result = fit(npe, learned, steps=30, looks=10, learning_rate=1e-2)
    best = min(entry["validation_loss"] for entry in result.rounds)
    assert result.rounds[result.best]["validation_loss"] == best
    assert score(found, learned) == pytest.approx(-best)
    assert found.bagged


def test_fits_together_are_fits_one_by_one(npe: NPE, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the rounding of single precision."""
    learned = pairs(20)
    one, _ = fit(npe, learned, **BRIEF)
    monkeypatch.setattr(type(npe.settings.summary), "stackable", False)
    other, _ = fit(npe, learned, **BRIEF)
    for name, array in one.arrays().items():
        np.testing.assert_allclose(array, other.arrays()[name], rtol=1e-3, atol=1e-4)


def test_simulations_are_distorted_as_those_of_the_posterior_were(npe: NPE) -> None:
    """Noise of three standard deviations on standardised numbers, and none on pairs."""
    augmented = npe.settings.training.model_copy(update={"augment": 3.0})
    noisy = replace(npe, settings=npe.settings.model_copy(update={"training": augmented}))
    learned = pairs(20)
    spread: list[Any] = []
    for parent in (npe, noisy):
        made = training(parent, learned, steps=20)
        spread.append([x[0, part].std() for _, x in made._batches() for part in (slice(64), slice(64, None))])
    plain, loud = np.reshape(spread, (2, 20, 2)).mean(axis=1)
    assert loud[0] == pytest.approx(np.hypot(plain[0], 3.0), rel=0.1)
    assert loud[1] == pytest.approx(plain[1])


def test_stored_simulations_stand_in_and_failed_ones_are_replaced(npe: NPE) -> None:
    stored, learned = rows(50, False, generator("stored")), pairs(20)
    settings = CrossJNPESettings(of="npe", simulations=50)
    taken = rows_of(settings, Material(simulations=stored))
    theta, x = taken(200, generator("taken"))
    at = [np.flatnonzero(stored.theta[:, 0] == one)[0] for one in theta[:, 0]]
    np.testing.assert_array_equal(x, stored.x[at])
    assert settings.fresh_rows == 50

    def failing(share: float) -> Callable[..., Array]:
        def half(theta: Array, rng: np.random.Generator) -> Array:
            x = simulate(theta, rng)
            x[rng.random(len(x)) < share] = np.nan
            return x

        return half

    own = CrossJNPESettings(of="npe")
    theta, x = rows_of(own, material(npe, learned, simulate=simulator(failing(0.5))))(100, generator("half"))
    assert theta.shape == (100, 1) and np.isfinite(x).all()
    np.testing.assert_allclose(x[:, 0], theta[:, 0], atol=0.5)
    with pytest.raises(TrainingError, match="all 9 simulations at draws of the prior failed"):
        rows_of(own, material(npe, learned, simulate=simulator(failing(1.1))))(9, generator("all"))
    with pytest.raises(TrainingError, match="set `simulations` to a number of stored ones"):
        rows_of(own, material(npe, learned, simulate=None))


def test_others_build_on_its_answers_to_pairs_not_seen(npe: NPE) -> None:
    """A mixture is not recalibrated; stacked, it outweighs the posterior that it started from."""
    learned = pairs(40)
    found, _ = fit(npe, learned, steps=40, looks=4, learning_rate=3e-3)
    after = Material(calibration=learned, parent=found, prior=PRIOR)
    spec: dict[str, Any] = {"type": "recalibrated", "of": "joint"}
    last: Any = methods.fit(spec, SHIFTED, after, Session(1, ("last", 0)))[0]
    assert not last.changes and len(last.levels) == 40
    beside = replace(after, beside=[npe])
    spec = {"type": "stacked", "of": "joint", "beside": ["npe"]}
    stack: Any = methods.fit(spec, SHIFTED, beside, Session(1, ("stack", 0)))[0]
    assert stack.weights[0] > 0.5 > stack.weights[1] and stack.bagged
    assert [len(held) for held, _ in stack.apart(learned)] == [8] * FOLDS


def test_what_it_refuses(npe: NPE) -> None:
    learned = pairs(20)
    with pytest.raises(TrainingError, match="expected at least 10 labelled real rows, got 9"):
        fit(npe, pairs(9))
    narrow = material(npe, learned, prior=Product({"share": Uniform(0.0, 0.5)}))
    spec: dict[str, Any] = {"type": "cross_j_npe", "of": "npe"}
    with pytest.raises(TrainingError, match="have no density under the prior"):
        methods.fit(spec, SHIFTED, narrow, RUN)
    mlp, _ = methods.fit({"type": "mlp"}, SHIFTED, Material(calibration=learned), Session(1, ("mlp", 0)))
    with pytest.raises(TrainingError, match="needs the encoder of an npe"):
        methods.fit(spec, SHIFTED, material(npe, learned, parent=mlp), RUN)
    spoilt = replace(learned, x=np.full_like(learned.x, 1e30))
    with pytest.raises(TrainingError, match="the loss is not finite at step"):
        fit(npe, spoilt)
    spec = {"type": "j_npe", "training": {"epochs": 1}, "flow": {"transforms": 1, "hidden": [4]}}
    known = Material(rows(100, False, generator("known")), learned)
    joint, _ = methods.fit(spec, SHIFTED, known, Session(1, ("joint", 0)))
    with pytest.raises(TrainingError, match="'j_npe' has learned from labelled pairs"):
        fit(joint, learned, steps=0)[0].apart(learned)
    settings = CrossJNPESettings(of="npe")
    assert "has learned from the labelled pairs" in str(
        settings.misfit(methods.typed("j_npe", {"type": "j_npe"}), "j")
    )
    assert settings.misfit(NPESettings(), "npe") is None and settings.needs_density
    assert settings.visits(50) == 5 * 600 * 128

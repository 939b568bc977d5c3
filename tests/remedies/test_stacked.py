"""Stacking: weights against closed forms, mixtures that lose to no component, honesty, files, studies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from tests.remedies.shifted_task import SHIFTED
from tests.remedies.test_importance import Stated
from veridical import artifacts, methods, seeds
from veridical.errors import ArtifactError, SettingError, TrainingError
from veridical.estimators.base import Estimator, Material, Rows
from veridical.estimators.prior_settings import PriorSettings
from veridical.remedies.stacked import Stacked, stacking_weights
from veridical.study import settings as study_settings
from veridical.study.layout import Layout
from veridical.study.validation import validate
from veridical.tasks.priors import Normal, Product, Uniform
from veridical.training.session import Session

FREE = replace(SHIFTED, bounds=np.array([(-np.inf, np.inf)]), x_shape=(1,))
PRIOR = Product({"share": Normal(0.0, 3.0)})


def generator(*path: str | int) -> np.random.Generator:
    return seeds.generator(20261130, "test", "stacked", *path)


class Believed(Stated):
    """theta ~ N(x + shift, sd^2), where it is N(x, 1)."""

    settings = PriorSettings()

    def __init__(self, sd: float, shift: float = 0.0) -> None:
        super().__init__(FREE, lambda one: stats.norm(one[0] + shift, sd))


def pairs(n: int, *path: str | int) -> Rows:
    rng = generator(*path)
    x = 3 * rng.standard_normal((n, 1))
    return Rows(x + rng.standard_normal((n, 1)), x, np.zeros(n, bool))


def fit(rows: Rows, parent: Estimator, *beside: Estimator) -> Stacked:
    spec = {"type": "stacked", "of": "first", "beside": [f"other{i}" for i in range(len(beside))]}
    material = Material(calibration=rows, parent=parent, beside=beside, prior=PRIOR)
    found = methods.fit(spec, FREE, material, Session(1, ("stacked", 0)))[0]
    assert isinstance(found, Stacked)
    return found


def ridge(rows: Rows) -> Estimator:
    return methods.fit({"type": "ridge"}, FREE, Material(calibration=rows), Session(1, ("ridge", 0)))[0]


def test_weights_are_where_the_penalised_log_score_is_largest() -> None:
    """Its gradient along the simplex is zero: sum_i q_ik / q_i + 1 / (K w_k) is n + 1 for each k."""
    log_q = generator("weights").normal([0.0, 0.3, -1.0], 1.0, (60, 3))
    weights = stacking_weights(log_q)
    assert weights.sum() == pytest.approx(1)
    shares = np.exp(log_q - logsumexp(np.log(weights) + log_q, axis=1, keepdims=True)).sum(axis=0)
    np.testing.assert_allclose(shares + 1 / (3 * weights), 61, rtol=1e-4)


def test_without_evidence_all_weigh_the_same_and_nothing_is_ruled_out() -> None:
    np.testing.assert_allclose(stacking_weights(np.zeros((5, 4))), 0.25)
    never = stacking_weights(np.array([[0.0, -np.inf]] * 9))
    np.testing.assert_allclose(never, [0.95, 0.05], rtol=1e-6)


@pytest.mark.parametrize("wrong", [Believed(0.1), Believed(1.0, shift=4.0), Believed(8.0)])
def test_it_loses_to_no_component(wrong: Estimator) -> None:
    """By more than 0.05 nats on 1,000 rows; the right one has nearly all of the weight, then."""
    right, test = Believed(1.0), pairs(1000, "test")
    found = fit(pairs(200, "pairs"), wrong, right)
    scores = [one.log_prob(test.theta, test.x).mean() for one in (found, right)]
    assert scores[0] > scores[1] - 0.05 and found.weights[1] > 0.85
    assert list(found.transforms()["weights"]) == ["first", "other0", "the prior"]


def test_where_all_are_wrong_the_prior_answers() -> None:
    """Ten pairs are enough to stay above the prior less 0.15 nats, where the component is hopeless."""
    found, test = fit(pairs(10, "few"), Believed(0.01, shift=9.0)), pairs(1000, "test")
    prior = found.components[-1].log_prob(test.theta, test.x).mean()
    assert found.log_prob(test.theta, test.x).mean() > prior - 0.15


def test_draws_come_from_the_components_as_their_weights_say() -> None:
    """Of two that lie far apart: counts to 4 errors of a binomial, densities those of the sum."""
    found = Stacked(
        fit(pairs(20, "d"), Believed(1.0)).settings,
        FREE,
        [Believed(1.0), Believed(1.0, 50.0)],
        np.array([0.3, 0.7]),
    )
    draws, log_p = found.sample_and_log_prob(np.array([[0.0]]), 4000, generator("draws"))
    assert (draws > 25).mean() == pytest.approx(0.7, abs=4 * np.sqrt(0.21 / 4000))
    each = [stats.norm.logpdf(draws[:, 0, 0], shift) for shift in (0.0, 50.0)]
    expected = logsumexp(np.log([[0.3], [0.7]]) + each, axis=0)
    np.testing.assert_allclose(log_p[:, 0], expected)


def test_answers_apart_do_not_know_their_pairs() -> None:
    """Of a regression that has learned from the pairs, and of one that has not: fifths, each fit without.

    Weights for a fifth come from the others' scores, by fits that have seen it: they may move by little.
    """
    rows = pairs(40, "apart")
    theta = rows.theta.copy()
    theta[7] += 20.0
    both = []
    for each in (rows, replace(rows, theta=theta)):
        both.append(fit(each, ridge(each), Believed(1.0)).apart(each))
    assert len(both[0]) == 5 and sorted(np.concatenate([held for held, _ in both[0]])) == list(range(40))
    for (held, one), (again, other) in zip(*both, strict=True):
        np.testing.assert_array_equal(held, again)
        assert isinstance(one, Stacked) and isinstance(other, Stacked)
        fits = [each.components[0].arrays()["ridge.coefficients"] for each in (one, other)]
        assert np.array_equal(*fits) == (7 in held)
        assert 7 not in held or np.abs(one.weights - other.weights).max() < 0.1


def test_files_hold_the_mixture_and_name_its_components(tmp_path: Path) -> None:
    rows = pairs(40, "files")
    first, second = ridge(rows), ridge(pairs(40, "others"))
    found, x = fit(rows, first, second), rows.x[:3]
    for name, one in {"first": first, "second": second}.items():
        artifacts.save_estimator(one, tmp_path / name)
    beside = {"parent": tmp_path / "first", "beside": [tmp_path / "second"]}
    artifacts.save_estimator(found, tmp_path / "stack", **beside)
    loaded = artifacts.load_estimator(tmp_path / "stack")
    np.testing.assert_array_equal(loaded.sample(x, 9, generator("s")), found.sample(x, 9, generator("s")))
    assert loaded.transforms() == found.transforms()
    artifacts.save_estimator(first, tmp_path / "second")
    with pytest.raises(ArtifactError, match="second: this is not the method that"):
        artifacts.load_estimator(tmp_path / "stack")


def test_what_it_refuses() -> None:
    rows = pairs(40, "refused")
    mlp = methods.fit({"type": "mlp"}, FREE, Material(calibration=rows), Session(1, ("m", 0)))[0]
    with pytest.raises(TrainingError, match="'mlp' has learned from labelled pairs"):
        fit(rows, Believed(1.0), mlp)


STUDY: dict[str, Any] = {
    "study": "s",
    "seed": 1,
    "task": "gaussian_chain",
    "budgets": [100, 200],
    "calibration": [20, 50],
    "replicates": 1,
    "estimators": {"npe": {"type": "npe"}, "ridge": {"type": "ridge"}, "mlp": {"type": "mlp"}},
    "remedies": {
        "moments": {"type": "moments", "of": "npe"},
        "last": {"type": "recalibrated", "of": "moments"},
        "stack": {"type": "stacked", "of": "last", "beside": ["ridge", "npe"]},
    },
}


def layout(**stack: Any) -> Layout:
    remedies = {**STUDY["remedies"], "stack": {**STUDY["remedies"]["stack"], **stack}}
    return Layout(study_settings.parse({**STUDY, "remedies": remedies}))


def test_a_study_makes_all_components_first() -> None:
    """Each once, with the pairs where it learns from them; their rows cost once."""
    made = layout()
    validate(made)
    runs = [run for run in made.runs if run.method == "stack"]
    assert [(run.budget, run.calibration) for run in runs] == [(200, 20), (200, 50)]
    above = [(run.method, run.budget, run.calibration) for run in made.ancestors(runs[1])]
    assert above == [("last", 200, 50), ("moments", 200, 50), ("npe", 200, None), ("ridge", 0, 50)]
    assert made.ledger(runs[1]) == {"model": 200, "real": 50}


@pytest.mark.parametrize(
    ("stack", "message"),
    [
        ({"beside": ["mlp"]}, "remedies.stack.beside: 'mlp' has learned from the labelled pairs"),
        ({"beside": ["ridg"]}, "remedies.stack builds on 'ridg', which is no method of this study. Did you"),
        ({"beside": ["stack"]}, "methods build on each other in a circle: stack"),
    ],
)
def test_what_does_not_fit_is_told_before_any_job(stack: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        validate(layout(**stack))


def test_weights_of_what_has_seen_no_pair_are_out_of_fold_too() -> None:
    """A pair that is moved far out changes the weights of all mixtures but that which answers it."""
    rows = pairs(40, "unseen")
    theta = rows.theta.copy()
    theta[7] += 20.0
    moved = replace(rows, theta=theta)
    both = [fit(each, Believed(1.0), Believed(0.3)).apart(each) for each in (rows, moved)]
    assert len(both[0]) == 5 and sorted(np.concatenate([held for held, _ in both[0]])) == list(range(40))
    for (held, one), (_, other) in zip(*both, strict=True):
        assert isinstance(one, Stacked) and isinstance(other, Stacked)
        assert np.array_equal(one.weights, other.weights) == (7 in held)


def test_pairs_that_the_prior_forbids_are_refused() -> None:
    rows = pairs(40, "forbidden")
    material = Material(calibration=rows, parent=Believed(1.0), prior=Product({"share": Uniform(-1.0, 1.0)}))
    spec = {"type": "stacked", "of": "first"}
    with pytest.raises(TrainingError, match=r"labelled pairs, the first being number .* widen the prior"):
        methods.fit(spec, FREE, material, Session(1, ("stacked", 0)))

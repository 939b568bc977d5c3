"""Transfer between levels: weights are copied, statistics follow their policy, and it pays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.estimators.small import BOX, NETWORKS, PRIOR
from tests.estimators.small import box_rows as rows
from veridical.errors import TrainingError
from veridical.estimators import npe
from veridical.estimators.base import Material, Rows, TaskInfo
from veridical.estimators.npe import NPE
from veridical.estimators.npe_settings import NPESettings
from veridical.estimators.prior import PriorEstimator
from veridical.estimators.prior_settings import PriorSettings
from veridical.networks.transforms import InputTransform
from veridical.tasks.base import Array
from veridical.tasks.ornstein_uhlenbeck import OrnsteinUhlenbeck
from veridical.training import session

SPEC = {
    **NETWORKS,
    "training": {"epochs": 2, "batch_size": 40, "schedule": "constant", "learning_rate": 1e-3},
}
STILL = {**SPEC, "start": "low", "training": {"epochs": 1, "batch_size": 40, "learning_rate": 1e-12}}
RUN = session.Session(11, ("npe", 0))


def fit(
    spec: dict[str, object] = SPEC, data: Rows | None = None, run: session.Session = RUN, **parts: object
) -> NPE:
    return NPE.fit(NPESettings(**spec), BOX, Material(data or rows(), **parts), run)[0]  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def low() -> NPE:
    """A method of the level below."""
    return fit(data=rows(shift=5.0, seed=5))


def equal(first: NPE, second: NPE) -> bool:
    a, b = first.network.state_dict(), second.network.state_dict()
    return all(torch.allclose(a[name], b[name], atol=1e-9) for name in a)


# ---- weights -------------------------------------------------------------------------------------


def test_training_begins_with_the_weights_of_the_start(low: NPE) -> None:
    assert equal(fit(STILL, parent=low), low)
    assert not equal(fit({**STILL, "start": None}), low)
    before = low.arrays()
    moved = fit({**SPEC, "start": "low"}, parent=low)
    assert not equal(moved, low)
    assert all(np.array_equal(before[name], array) for name, array in low.arrays().items())


def test_chains_of_any_length(low: NPE) -> None:
    middle = fit({**SPEC, "start": "low"}, rows(seed=6), parent=low)
    assert equal(fit({**STILL, "start": "middle"}, rows(seed=7), parent=middle), middle)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flow": {"transforms": 2, "hidden": [8], "bins": 4}}, "its flow is"),
        ({"summary": {"type": "none"}}, "its summary is"),
        ({"inputs": {"transform": "asinh"}}, "its inputs is"),
    ],
)
def test_other_networks_are_refused(low: NPE, change: dict[str, object], message: str) -> None:
    with pytest.raises(TrainingError, match=f"weights of 'low' do not fit, for {message}"):
        fit({**SPEC, "start": "low", **change}, parent=low)


def test_other_methods_and_missing_ones_are_refused(low: NPE) -> None:
    with pytest.raises(TrainingError, match="'low' is of type 'prior'"):
        fit({**SPEC, "start": "low"}, parent=PriorEstimator(PriorSettings(), BOX, PRIOR))
    with pytest.raises(TrainingError, match="needs parent"):
        fit({**SPEC, "start": "low"})
    elsewhere = replace(BOX, parameters=("a", "c"))
    with pytest.raises(TrainingError, match="its parameters is"):
        NPE.fit(NPESettings(**SPEC | {"start": "low"}), elsewhere, Material(rows(), parent=low), RUN)


# ---- statistics ----------------------------------------------------------------------------------


def test_statistics_of_x_follow_the_policy_and_those_of_theta_are_the_starts(low: NPE) -> None:
    data = rows()
    learn = data.x[~data.validation].astype(float)
    found = {}
    for policy in ("refit", "pooled", "kept"):
        fitted = fit({**STILL, "standardise": policy}, data, parent=low, prior=PRIOR)
        found[policy] = fitted.inputs
        np.testing.assert_array_equal(fitted.parameters.mean, low.parameters.mean)
        np.testing.assert_array_equal(fitted.parameters.scale, low.parameters.scale)
    np.testing.assert_allclose(found["refit"].mean, learn.mean(axis=0))
    np.testing.assert_allclose(found["refit"].scale, learn.std(axis=0))
    np.testing.assert_array_equal(found["kept"].mean, low.inputs.mean)
    np.testing.assert_array_equal(found["kept"].scale, low.inputs.scale)
    np.testing.assert_allclose(found["pooled"].mean, (learn.mean(axis=0) + low.inputs.mean) / 2)


def test_pooled_statistics_are_those_of_both_kinds_of_rows_with_equal_weight(
    rng: np.random.Generator,
) -> None:
    first, second = rng.normal(1, 2, size=(50, 3)), rng.normal(-4, 0.5, size=(5000, 3))
    pooled = InputTransform.fit(first, "none").pooled(InputTransform.fit(second, "none"))
    both = InputTransform.fit(np.concatenate([np.repeat(first, 100, axis=0), second]), "none")
    np.testing.assert_allclose(pooled.mean, both.mean)
    np.testing.assert_allclose(pooled.scale, both.scale)


def test_few_rows_take_the_statistics_of_theta_from_the_prior(monkeypatch: pytest.MonkeyPatch) -> None:
    """The logit of a uniform number is logistic: mean 0, sd pi / sqrt(3); errors from 10,000 draws."""
    data = rows(30)
    found = fit(data=data, prior=PRIOR).parameters
    expected = np.array([np.pi / np.sqrt(3), 1.0])
    assert (np.abs(found.mean) < 5 * expected / 100).all()
    np.testing.assert_allclose(found.scale, expected, rtol=0.05)
    own = fit(data=data).parameters
    np.testing.assert_allclose(own.mean[1], data.theta[~data.validation, 1].mean())
    monkeypatch.setattr(npe, "FEW_ROWS", 27)
    np.testing.assert_array_equal(fit(data=data, prior=PRIOR).parameters.mean, own.mean)


def test_parameters_outside_their_bounds_are_refused(low: NPE) -> None:
    data = rows()
    data.theta[3, 0] = 1.5
    for parts in ({}, {"prior": PRIOR}):
        with pytest.raises(TrainingError, match="row 3"):
            fit(data=data, **parts)
    with pytest.raises(TrainingError, match="row 3"):
        fit({**STILL}, data, parent=low)


# ---- the negative control ------------------------------------------------------------------------


def test_permuted_parameters_stay_within_training_and_validation_rows() -> None:
    data = rows()
    shuffled = npe._permuted(data, RUN)
    for part in (data.validation, ~data.validation):
        order = np.argsort(shuffled[part, 0]), np.argsort(data.theta[part, 0])
        np.testing.assert_array_equal(shuffled[part][order[0]], data.theta[part][order[1]])
    assert (shuffled != data.theta).any(axis=1).mean() > 0.9
    np.testing.assert_array_equal(npe._permuted(data, RUN), shuffled)
    assert (npe._permuted(data, session.Session(11, ("npe", 1))) != shuffled).any()


def test_permuted_data_teach_nothing_beyond_the_prior() -> None:
    """-log q at true parameters is not below the prior's, 0 + E[-log N(b)] = 1.42, given correct x."""
    spec = {**SPEC, "permuted": True, "training": {"epochs": 10, "batch_size": 100}}
    estimator, held_out = fit(spec, rows(2000), prior=PRIOR), rows(2000, seed=9)
    nltp = -estimator.log_prob(held_out.theta, held_out.x)
    exact = -PRIOR.log_prob(held_out.theta)
    excess = nltp - exact
    assert excess.mean() > -4 * excess.std() / np.sqrt(len(excess))
    learned = fit({**spec, "permuted": False}, rows(2000), prior=PRIOR)
    assert -learned.log_prob(held_out.theta, held_out.x).mean() < exact.mean() - 1


# ---- it pays -------------------------------------------------------------------------------------


def test_transfer_is_better_than_high_fidelity_alone() -> None:
    """2,000 crude and 100 exact runs against the latter alone: mean log density at 400 true parameters.

    Studied over five seeds, the difference is 0.3 to 0.8 nat with 10,000 crude runs.
    """
    task, rng = OrnsteinUhlenbeck(), np.random.Generator(np.random.PCG64(8))

    def simulate(n: int, level: str) -> Rows:
        theta = task.prior.sample(rng, n)
        x = task.simulate(theta, task.noise(rng, n), level).astype(np.float32)
        return Rows(theta, x, np.arange(n) % 10 == 9)

    networks = {"summary": {"type": "none"}, "flow": {"transforms": 3, "bins": 5, "hidden": [50, 50]}}
    high = {**networks, "training": {"schedule": "constant", "learning_rate": 1e-3, "batch_size": 30}}
    crude = {**networks, "training": {"learning_rate": 5e-3, "batch_size": 125, "epochs": 12}}
    info, few, test = TaskInfo.of(task), simulate(100, "hf"), simulate(400, "hf")

    def score(spec: dict[str, object], data: Rows, parent: NPE | None = None) -> tuple[NPE, Array]:
        material = Material(data, prior=task.prior, parent=parent)
        estimator, _ = NPE.fit(NPESettings(**spec), info, material, RUN)
        return estimator, estimator.log_prob(test.theta, test.x)

    low, low_score = score(crude, simulate(2000, "lf"))
    _, alone = score(high, few)
    _, transferred = score({**high, "start": "low"}, few, low)
    exact = task.posterior_log_prob(test.theta, test.x)
    gain = transferred - alone
    assert gain.mean() > 2 * gain.std() / np.sqrt(len(gain)) > 0
    assert (exact - low_score).mean() > 5
    assert (exact - transferred).mean() > -4 * (exact - transferred).std() / np.sqrt(len(exact))


def test_settings_of_transfer() -> None:
    settings = NPESettings.model_validate({"start": "low", "standardise": "pooled", "budgets": [50, 100]})
    assert NPESettings.model_validate(settings.model_dump(mode="json")) == settings
    assert NPESettings.learns == ("simulations",) and settings.parent == "low"
    for wrong in ({"standardise": "none"}, {"budgets": []}, {"budgets": [0]}):
        with pytest.raises(ValueError, match=r"Input|List"):
            NPESettings.model_validate(wrong)

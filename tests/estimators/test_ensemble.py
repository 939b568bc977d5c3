"""Ensembles: the mixture is normalised and drawn from, stacked training equals training one by one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tests.estimators.small import BOX, NETWORKS, box_rows, same
from veridical import artifacts
from veridical.errors import ArtifactError, TrainingError
from veridical.estimators import ensemble as module
from veridical.estimators.base import Estimator, Material
from veridical.estimators.ensemble import Ensemble
from veridical.estimators.ensemble_settings import EnsembleSettings
from veridical.estimators.npe import NPE
from veridical.estimators.npe_settings import NPESettings
from veridical.estimators.posterior_network import PosteriorNetwork
from veridical.training import session
from veridical.training.checkpoints import CheckpointFolder

MEMBER = {**NETWORKS, "training": {"epochs": 3, "batch_size": 40, "rounds": 3}}
RUN = session.Session(11, ("ensemble", 0))


def fit(
    run: session.Session = RUN,
    parent: Estimator | None = None,
    x_shape: tuple[int, ...] = BOX.x_shape,
    **settings: object,
) -> tuple[Ensemble, session.TrainingResult]:
    rows, task = box_rows(), replace(BOX, x_shape=x_shape)
    rows = replace(rows, x=rows.x.reshape(len(rows), *x_shape))
    spec = {"members": 3, "member": MEMBER, **settings}
    return Ensemble.fit(EnsembleSettings(**spec), task, Material(rows, parent=parent), run)


@pytest.fixture(scope="module")
def trained() -> tuple[Ensemble, session.TrainingResult]:
    """Three members, hardly trained."""
    return fit(stacked=False)


def test_the_log_density_is_that_of_the_equal_mixture(
    trained: tuple[Ensemble, session.TrainingResult], rng: np.random.Generator
) -> None:
    estimator, x = trained[0], rng.normal(size=(4, 3)).astype(np.float32)
    theta = np.stack([rng.random((5, 4)), rng.normal(size=(5, 4))], -1)
    mixture = np.mean([np.exp(member.log_prob(theta, x)) for member in estimator.members], axis=0)
    np.testing.assert_allclose(np.exp(estimator.log_prob(theta, x)), mixture, rtol=1e-12)
    outside = estimator.log_prob(np.array([[1.5, 0.0]]), x[:1])
    assert np.isneginf(outside).all()
    each = [member.summary(x) for member in estimator.members]
    np.testing.assert_array_equal(estimator.summary(x), each[0])
    np.testing.assert_array_equal(estimator.every_summary(x), np.hstack(each))
    k = each[0].shape[1]
    assert estimator.summarisers == 3 and estimator.cloud.covariance.shape == (3 * k, 3 * k)
    np.testing.assert_array_equal(
        estimator.cloud.covariance[k : 2 * k, k : 2 * k], estimator.members[1].cloud.covariance
    )
    np.testing.assert_array_equal(estimator.cloud.mean[k : 2 * k], estimator.members[1].cloud.mean)


def test_members_differ_and_share_their_transforms(trained: tuple[Ensemble, session.TrainingResult]) -> None:
    arrays = trained[0].arrays()
    names = [name for name in arrays if name.startswith("member0.network") and name.endswith("0.weight")]
    assert names
    for name in names:
        assert not np.array_equal(arrays[name], arrays[name.replace("member0", "member1")])
    for name in ("inputs.mean", "inputs.scale", "parameters.mean", "parameters.scale"):
        assert np.array_equal(arrays[f"member0.{name}"], arrays[f"member2.{name}"])


def test_a_member_trained_alone_is_the_same(trained: tuple[Ensemble, session.TrainingResult]) -> None:
    alone, _ = NPE.fit(NPESettings(**MEMBER), BOX, Material(box_rows()), session.member_run(RUN, 1))
    assert same(alone, trained[0].members[1])


@pytest.mark.parametrize(
    "summary",
    [
        {"type": "none"},
        {"type": "mlp", "hidden": [8], "features": 3},
        {"type": "deepset", "element": [8], "hidden": [8], "features": 3},
        {"type": "conv", "channels": [4], "kernel": 3, "hidden": [8], "features": 3},
        {"type": "conv", "channels": [4, 4], "patch": 3, "means": True, "hidden": [8], "features": 3},
        {"type": "image", "channels": [4, 4], "hidden": [8], "features": 3},
        {"type": "set_transformer", "width": 8, "heads": 2, "inducing": 2, "features": 3},
        {"type": "transformer", "width": 8, "heads": 2, "blocks": 1, "features": 3},
        {"type": "energy_flow", "energy": 0, "element": [8], "features": 3},
        {"type": "parts", "parts": {"a": {"entries": [0]}, "b": {"entries": [1, 2], "summary": "deepset"}}},
    ],
    ids=lambda s: s["type"],
)
@pytest.mark.parametrize("schedule", ["one_cycle", "constant"])
def test_stacked_training_equals_training_one_by_one(summary: dict[str, object], schedule: str) -> None:
    """Up to single precision, over 9 steps of a learning rate that lets no rounding error grow; a tiny
    clip shows that each member is clipped by itself.
    """
    rates = {"learning_rate": 1e-3, "schedule": schedule, "clip": 0.5}
    member = {**MEMBER, "summary": summary, "training": {**MEMBER["training"], **rates}}  # type: ignore[dict-item]
    x_shape = (1, 3) if summary["type"] in ("image", "energy_flow") else (3,)
    together, history = fit(member=member, stacked=True, x_shape=x_shape)
    alone, expected = fit(member=member, stacked=False, x_shape=x_shape)
    first, second = together.arrays(), alone.arrays()
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_allclose(first[name], second[name], rtol=1e-3, atol=2e-5, err_msg=name)
    for ours, theirs in zip(history.rounds, expected.rounds, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-4)
    assert history.steps == expected.steps and history.best == expected.best


def test_patience_is_each_members_own() -> None:
    member = {**MEMBER, "training": {"epochs": 60, "batch_size": 40, "patience": 2, "learning_rate": 0.03}}
    estimator, result = fit(member=member, stacked=True)
    for m in range(3):
        own = [entry for entry in result.rounds if entry["member"] == m]
        best = int(np.argmin([entry["validation_loss"] for entry in own]))
        assert len(own) in (best + 1 + 2, 60)
    lengths = {sum(entry["member"] == m for entry in result.rounds) for m in range(3)}
    assert len(lengths) > 1, "the members stop at different looks"
    best_of_all = min(entry["validation_loss"] for entry in result.rounds)
    assert result.rounds[result.best]["validation_loss"] == best_of_all
    assert isinstance(estimator.cloud, type(estimator.members[0].cloud))


# ---- interruptions -------------------------------------------------------------------------------


@pytest.mark.parametrize("stacked", [False, True])
def test_an_interrupted_ensemble_goes_on_as_if_undisturbed(stacked: bool, tmp_path: Path) -> None:
    """The time limit ends every attempt after one round; the last attempt has the undisturbed bits."""
    undisturbed, expected = fit(stacked=stacked)
    attempts = 0
    while True:
        attempts += 1
        try:
            with CheckpointFolder(tmp_path / "run", save_seconds=0) as folder:
                estimator, result = fit(replace(RUN, folder=folder, deadline=0.0), stacked=stacked)
            break
        except TrainingError as error:
            assert "time ends after" in str(error)
            assert attempts < 20
    assert attempts == (3 if stacked else 7)
    assert same(estimator, undisturbed)
    assert result.rounds == expected.rounds and result.best == expected.best
    assert set(result.resumed_from) == {4, 8} or result.resumed_from


def test_finished_members_are_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses: list[int] = []
    plain = PosteriorNetwork.loss

    def counted(self: PosteriorNetwork, *batch: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            losses.append(1)
            if len(losses) == 20:  # the last step of the second round of member 1
                raise OSError("the disk went away")
        return plain(self, *batch)

    monkeypatch.setattr(PosteriorNetwork, "loss", counted)
    with pytest.raises(OSError, match="disk"), CheckpointFolder(tmp_path / "run", save_seconds=0) as folder:
        fit(replace(RUN, folder=folder), stacked=False)
    before = len(losses)
    with CheckpointFolder(tmp_path / "run", save_seconds=0) as folder:
        estimator, _ = fit(replace(RUN, folder=folder), stacked=False)
        assert not list((tmp_path / "run").glob("member*/lease.json"))
        folder.clear()
    assert len(losses) - before == 8 + 12, "two rounds of member 1, and member 2"
    assert same(estimator, fit(stacked=False)[0])


# ---- transfer, artifacts, settings ---------------------------------------------------------------


def test_members_start_from_members_or_all_from_one(
    trained: tuple[Ensemble, session.TrainingResult],
) -> None:
    """With a learning rate of almost nothing, fine-tuned weights are those of the start."""
    still = {**MEMBER, "training": {"epochs": 1, "learning_rate": 1e-12, "batch_size": 40}}
    parent = trained[0]
    each, _ = fit(parent=parent, member=still, start="low")
    for mine, theirs in zip(each.members, parent.members, strict=True):
        for name, weight in mine.network.state_dict().items():
            torch.testing.assert_close(weight, theirs.network.state_dict()[name])
    one, _ = fit(parent=parent.members[2], member=still, start="low")
    for mine in one.members:
        weights = mine.network.state_dict()
        torch.testing.assert_close(weights, parent.members[2].network.state_dict())
    with pytest.raises(TrainingError, match="'low' has 3 members, expected 2"):
        fit(parent=parent, start="low", members=2)
    with pytest.raises(TrainingError, match="needs parent"):
        fit(start="low")


def test_weights_of_all_members_are_asked_for(trained: tuple[Ensemble, session.TrainingResult]) -> None:
    estimator, result = trained
    assert artifacts.history(result)["epochs"][-1]["member"] == 2
    arrays = {name: array for name, array in estimator.arrays().items() if not name.startswith("member2")}
    with pytest.raises(ArtifactError, match="expected weights of 3 members, got those of 2"):
        Ensemble.from_arrays(estimator.settings, BOX, arrays)


def test_small_batches_are_stacked_where_the_summary_can_be() -> None:
    def stacks(**settings: object) -> bool:
        return module._stacks(EnsembleSettings.model_validate(settings), 100_000)

    cpu = {"accelerator": "cpu"}
    assert stacks(member={"training": {**cpu, "batch_size": 256}})
    assert not stacks(member={"training": {**cpu, "batch_size": 1024}})
    assert stacks(member={"training": {**cpu, "batch_size": 1024}}, stacked=True)
    assert not stacks(member={"training": {**cpu, "batch_size": 256}}, stacked=False)
    assert not stacks(member={"summary": {"type": "gru"}})
    with pytest.raises(TrainingError, match="'gru' cannot be trained stacked"):
        stacks(member={"summary": {"type": "gru"}}, stacked=True)


@pytest.mark.parametrize("wrong", [{"start": "low"}, {"budgets": [100]}])
def test_keys_of_the_ensemble_are_refused_in_its_member(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="belongs to the ensemble"):
        EnsembleSettings.model_validate({"member": wrong})
    settings = EnsembleSettings.model_validate({**wrong, "member": {"fidelity": "hf"}})
    assert settings.fidelity == "hf"
    assert EnsembleSettings.model_validate(settings.model_dump(mode="json")) == settings


def test_members_take_the_decays_of_a_list_in_turn_and_none_after_a_start() -> None:
    def decays(**given: object) -> list[float]:
        settings = EnsembleSettings.model_validate(given)
        assert EnsembleSettings.model_validate(settings.model_dump(mode="json")) == settings
        return settings.decays

    assert decays(members=5, weight_decay=[0.2, 0.7]) == [0.2, 0.7, 0.2, 0.7, 0.2]
    assert decays(members=2) == [0.7, 0.7] and decays(members=2, start="low") == [0.0, 0.0]
    assert decays(members=1, start="low", member={"training": {"weight_decay": 0.1}}) == [0.1]
    with pytest.raises(ValueError, match="2 entries, expected at most 1"):
        decays(members=1, weight_decay=[0.2, 0.7])


@pytest.mark.parametrize("stacked", [True, False])
def test_members_alone_and_in_a_stack_decay_alike(stacked: bool) -> None:
    """Each as an `npe` of its decay would with the member's seeds: to rounding."""
    spec = {**NETWORKS, "training": {"epochs": 2, "batch_size": 60}}
    given = {"members": 2, "weight_decay": [0.0, 2.0], "member": spec, "stacked": stacked}
    ensemble, _ = Ensemble.fit(
        EnsembleSettings.model_validate(given), BOX, Material(box_rows(300)), session.Session(1, ("e", 0))
    )
    for m, decay in enumerate((0.0, 2.0)):
        own = NPESettings.model_validate({**spec, "training": {**spec["training"], "weight_decay": decay}})
        alone, _ = NPE.fit(own, BOX, Material(box_rows(300)), session.Session(1, ("e", 0, m)))
        for name, array in alone.arrays().items():
            np.testing.assert_allclose(ensemble.members[m].arrays()[name], array, rtol=2e-3, atol=2e-5)

"""Ensembles of density ratios: what members see, that they learn it, and that nothing disturbs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tests.estimators.small import same
from veridical import seeds
from veridical.errors import ArtifactError, TrainingError
from veridical.estimators.base import Material, TaskInfo
from veridical.estimators.ratio_settings import RatiosSettings
from veridical.estimators.ratios import Ratios
from veridical.networks import stacked
from veridical.networks.stacked import StackedMLP
from veridical.tasks.gaussian_classes import GaussianClasses
from veridical.training import session
from veridical.training.checkpoints import CheckpointFolder
from veridical.training.events import choose

RUN = session.Session(5, ("ratios", 0))
TASK = GaussianClasses(0.5)
QUICK = {"epochs": 6, "batch_size": 200, "look_every": 2}


def material(task: GaussianClasses, n: int, seed: int = 1) -> Material:
    rng = np.random.Generator(np.random.PCG64(seed))
    classes = {cls: task.draw(n, rng, cls).astype(np.float32) for cls in task.classes}
    return Material(classes=classes, validation=dict.fromkeys(classes, np.arange(n) % 10 == 9))


def train(
    members: int = 3, n: int = 600, run: session.Session = RUN, **options: Any
) -> tuple[Ratios, session.TrainingResult]:
    spec = {"members": members, "training": QUICK, **options}
    return Ratios.fit(RatiosSettings(**spec), TaskInfo.of(TASK), material(TASK, n), run)


def fit(members: int = 3, **options: Any) -> Ratios:
    return train(members, **options)[0]


@pytest.mark.parametrize("loss", ["mlc", "bce"])
def test_members_learn_the_log_ratio(loss: str) -> None:
    """Root mean square error of the mean member within two sigma: below 0.1 for log r = x, 20,000 events."""
    ratios, result = train(4, 20_000, loss=loss, training={"epochs": 12, "batch_size": 1000})
    x = np.linspace(-2, 2, 41)[:, None]
    f = ratios.functions(x)
    assert f.shape == (41, 5) and f.dtype == np.float64 and (f[:, 0] == 1).all()
    assert np.sqrt(np.mean((f[:, 1:].mean(1) - TASK.log_ratio(x)) ** 2)) < 0.1
    assert len({tuple(column) for column in f[:, 1:].T}) == 4, "members differ"
    assert [entry["epoch"] for entry in result.rounds] == [3, 6, 9, 12]
    assert result.steps == 12 * 36


def test_what_members_see() -> None:
    mask = [np.arange(n) % 10 == 9 for n in (1000, 800)]
    parts = choose("partition", 7, mask, RUN)
    for c, (rows, held) in enumerate(zip((900, 720), (100, 80), strict=True)):
        assert parts.train[c].shape == (7, rows // 7)
        assert len(np.unique(parts.train[c])) == parts.train[c].size, "parts are disjoint"
        assert not mask[c][parts.train[c]].any() and mask[c][parts.validation[c]].all()
        assert (parts.multiplicity[c] == 1).all() and parts.multiplicity[c].shape == (7, held)
    boot = choose("bootstrap", 7, mask, RUN)
    for c, (rows, held) in enumerate(zip((900, 720), (100, 80), strict=True)):
        assert boot.train[c].shape == (7, rows) and not mask[c][boot.train[c]].any()
        share = len(np.unique(boot.train[c][0])) / rows
        assert share == pytest.approx(1 - np.exp(-1), abs=0.06), "with replacement"
        assert (boot.multiplicity[c].sum(1) == held).all() and boot.multiplicity[c].max() > 1
        assert not np.array_equal(boot.train[c][0], boot.train[c][1])
    whole = choose("whole", 2, mask, RUN)
    np.testing.assert_array_equal(whole.train[0][1], np.flatnonzero(~mask[0]))
    with pytest.raises(TrainingError, match="at least 10 valid training rows"):
        choose("partition", 100, mask, RUN)


def test_members_do_not_see_each_other() -> None:
    """The first of five members is the first of two: its seeds, batches, steps and best look are its own."""
    x = np.linspace(-2, 2, 9)[:, None]
    few, more = fit(2).functions(x), fit(5).functions(x)
    np.testing.assert_allclose(few[:, 1:], more[:, 1:3], atol=2e-4)


def test_groups_of_members_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.linspace(-2, 2, 9)[:, None]
    together = fit(4).functions(x)
    monkeypatch.setattr(stacked, "GROUP_ACTIVATIONS", 1)
    np.testing.assert_allclose(fit(4).functions(x), together, atol=2e-4)


def test_groups_follow_the_size_of_the_batch() -> None:
    network = StackedMLP(16, (1, 32, 32), 0.2)
    sizes = {events: [g.stop - g.start for g in network.groups(events)] for events in (256, 1000, 5000)}
    assert sizes[256] == [16] and sizes[1000] == [4] * 4 and sizes[5000] == [1] * 16
    assert [g.stop - g.start for g in network.groups(500)] == [9, 7]


def test_stacked_networks_are_dense_networks() -> None:
    """Outputs and gradients as of torch's own layers."""
    network = StackedMLP(3, (2, 8, 4), 0.2)
    network.initialise([seeds.generator(1, "test", m) for m in range(3)])
    for p in network.parameters():
        p.grad = torch.zeros_like(p)
    x = torch.linspace(-1, 1, 20).reshape(10, 2)
    for m in range(3):
        layers = [
            torch.nn.Linear(*w.shape[1:], device="meta").to_empty(device="cpu") for w in network.weights
        ]
        for layer, w, b in zip(layers, network.weights, network.biases, strict=True):
            layer.load_state_dict({"weight": w[m].T, "bias": b[m, 0]})
        one = torch.nn.Sequential(
            layers[0], torch.nn.LeakyReLU(0.2), layers[1], torch.nn.LeakyReLU(0.2), layers[2]
        )
        torch.testing.assert_close(network(x)[m], one(x)[:, 0])
        (one(x) ** 2).sum().backward()
        (stacked.apply(*network.leaves(slice(m, m + 1)), x, 0.2) ** 2).sum().backward()
        for layer, w, b in zip(layers, network.weights, network.biases, strict=True):
            torch.testing.assert_close(w.grad[m].T, layer.weight.grad)
            torch.testing.assert_close(b.grad[m, 0], layer.bias.grad)


def test_each_member_keeps_its_best_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a rate that throws members about, the weights left at the end have the least loss of all looks."""
    looks, judge = [], StackedMLP.losses_on_same

    def judged(self: StackedMLP, *batch: torch.Tensor) -> torch.Tensor:
        looks.append(judge(self, *batch))
        batches.append(batch)
        return looks[-1]

    batches: list[tuple[torch.Tensor, ...]] = []
    monkeypatch.setattr(StackedMLP, "losses_on_same", judged)
    hard = {"epochs": 20, "look_every": 1, "learning_rate": 0.2, "batch_size": 100}
    ratios, _ = train(4, 400, training=hard, hidden=[8])
    by_look = torch.stack(looks).reshape(20, 2, 4).sum(1)  # of a chunk of each class
    best, at = by_look.min(0)
    torch.testing.assert_close(sum(judge(ratios.network, *batch) for batch in batches[:2]), best)
    assert len(set(at.tolist())) > 1 and (by_look[-1] > best).any()


def test_an_interrupted_training_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with CheckpointFolder(tmp_path / "a") as folder:
        undisturbed = fit(run=session.Session(5, ("ratios", 0), folder=folder))
    with CheckpointFolder(tmp_path / "b", save_seconds=0.0) as folder:
        run = session.Session(5, ("ratios", 0), folder=folder)
        steps, accumulate = [], StackedMLP.accumulate

        def fails(self: StackedMLP, *batch: torch.Tensor) -> torch.Tensor:
            steps.append(len(steps))
            if len(steps) == 28:
                raise InterruptedError
            return accumulate(self, *batch)

        monkeypatch.setattr(StackedMLP, "accumulate", fails)
        with pytest.raises(InterruptedError):
            fit(run=run)
        monkeypatch.setattr(StackedMLP, "accumulate", accumulate)
        resumed, result = train(run=run)
        assert result.resumed_from == [4 * 5] and len(result.rounds) == 3
        assert same(resumed, undisturbed)
        again, result = train(run=run)
        assert same(again, undisturbed) and result.steps == 30, "a training that has ended is not redone"


def test_time_runs_out_with_the_state_saved(tmp_path: Path) -> None:
    with CheckpointFolder(tmp_path / "c") as folder:
        with pytest.raises(TrainingError, match="after 10 of 30 steps; run again"):
            fit(run=session.Session(5, ("ratios", 0), folder=folder, deadline=0.0))
        assert folder.state.exists()
    with pytest.raises(TrainingError, match="nothing was saved"):
        fit(run=session.Session(5, ("ratios", 0), deadline=0.0))


def test_a_loss_that_is_not_finite_is_an_error() -> None:
    """A background event far on the side of the signal, among classes that are apart: exp(f) overflows."""
    task = GaussianClasses(10.0)
    data = material(task, 400)
    data.classes["background"][9] = 1e5
    spec = {"members": 2, "training": {**QUICK, "learning_rate": 0.5}}
    with pytest.raises(TrainingError, match=r"not finite at step .* choose loss: bce"):
        Ratios.fit(RatiosSettings(**spec), TaskInfo.of(task), data, RUN)


def test_what_it_is_not() -> None:
    ratios, x = fit(), np.zeros((2, 1))
    data = material(GaussianClasses(), 100)
    three = Material(
        classes={**data.classes, "third": x}, validation={**data.validation, "third": x[:, 0] > 0}
    )
    for faulty, message in ((Material(), "needs classes"), (three, "two classes")):
        with pytest.raises(TrainingError, match=message):
            Ratios.fit(RatiosSettings(), ratios.task, faulty, RUN)
    with pytest.raises(ValidationError):
        Ratios.fit(RatiosSettings(mode="bagging"), ratios.task, data, RUN)
    with pytest.raises(ArtifactError, match="do not fit"):
        Ratios.from_arrays(RatiosSettings(members=4), ratios.task, ratios.arrays())

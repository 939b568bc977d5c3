"""On a GPU: the network of the CPU up to rounding, the same bits twice, artifacts that load anywhere."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.estimators.small import same
from veridical import artifacts
from veridical.errors import TrainingError
from veridical.estimators.base import Material, Rows, TaskInfo
from veridical.estimators.ensemble import Ensemble
from veridical.estimators.ensemble_settings import EnsembleSettings
from veridical.estimators.npe import NPE
from veridical.estimators.npe_settings import NPESettings
from veridical.training import session
from veridical.training.checkpoints import CheckpointFolder

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]

TASK = TaskInfo("plane", ("a", "b"), np.array([(-np.inf, np.inf)] * 2), ("", ""), (3,))
RUN = session.Session(11, ("npe", 0))
TRAINING: dict[str, Any] = {"epochs": 4, "batch_size": 64, "rounds": 4}
NETWORK: dict[str, Any] = {
    "summary": {"type": "mlp", "hidden": [16], "features": 4},
    "flow": {"transforms": 2, "hidden": [16], "bins": 4},
}


def material() -> Material:
    rng = np.random.Generator(np.random.PCG64(4))
    theta = rng.normal(size=(1000, 2))
    x = (theta @ rng.normal(size=(2, 3)) + 0.3 * rng.normal(size=(1000, 3))).astype(np.float32)
    return Material(Rows(theta, x, np.arange(1000) % 10 == 9))


def spec(accelerator: str) -> dict[str, Any]:
    return {**NETWORK, "training": {**TRAINING, "accelerator": accelerator}}


def fit(accelerator: str, run: session.Session = RUN) -> tuple[NPE, session.TrainingResult]:
    return NPE.fit(NPESettings(**spec(accelerator)), TASK, material(), run)


def test_a_gpu_learns_what_a_cpu_learns() -> None:
    """Initial weights and batches are equal, so the losses part only by rounding that training amplifies."""
    (_, on_cpu), (_, on_gpu) = fit("cpu"), fit("auto")
    assert on_cpu.device == "cpu" and on_gpu.device == torch.cuda.get_device_name()
    losses = [[entry["validation_loss"] for entry in result.rounds] for result in (on_cpu, on_gpu)]
    np.testing.assert_allclose(losses[0][0], losses[1][0], atol=1e-3)
    np.testing.assert_allclose(*losses, atol=0.05)


def test_an_interrupted_training_has_the_bits_of_an_undisturbed_one(tmp_path: Path) -> None:
    undisturbed, _ = fit("gpu")
    for _ in range(TRAINING["rounds"]):
        try:
            with CheckpointFolder(tmp_path, save_seconds=0) as folder:
                estimator, result = fit("gpu", replace(RUN, folder=folder, deadline=0.0))
        except TrainingError as error:
            assert "time ends after" in str(error)
    assert same(estimator, undisturbed) and len(result.resumed_from) == TRAINING["rounds"] - 1


def test_what_a_gpu_has_learned_is_used_on_a_cpu(tmp_path: Path) -> None:
    estimator, result = fit("gpu")
    artifacts.save_estimator(estimator, tmp_path, result)
    record = json.loads((tmp_path / "estimator.json").read_text())
    assert (record["device"], record["dtype"]) == (torch.cuda.get_device_name(), "float32")
    loaded, data = artifacts.load_estimator(tmp_path), material().simulations
    assert same(loaded, estimator) and data is not None
    np.testing.assert_array_equal(
        loaded.log_prob(data.theta[:9], data.x[:9]), estimator.log_prob(data.theta[:9], data.x[:9])
    )


def test_a_stack_on_a_gpu_is_its_members_up_to_rounding() -> None:
    losses = []
    for stacked in (True, False):
        given = {"members": 3, "member": spec("gpu"), "stacked": stacked}
        _, result = Ensemble.fit(EnsembleSettings(**given), TASK, material(), RUN)
        losses.append(
            sorted((entry["member"], entry["step"], entry["validation_loss"]) for entry in result.rounds)
        )
    np.testing.assert_allclose(*losses, atol=0.05)


@pytest.mark.parametrize("ema", [None, 0.9])
def test_captured_steps_are_eager_ones_up_to_rounding(ema: float | None) -> None:
    """All members of a stack by one recorded graph, past the warm-up, at every look."""
    losses = []
    for captured in (False, True):
        member = spec("gpu")
        member["training"] |= {"captured": captured, "ema": ema}
        given = {"members": 3, "member": member, "stacked": True}
        _, result = Ensemble.fit(EnsembleSettings(**given), TASK, material(), RUN)
        losses.append([entry["validation_loss"] for entry in result.rounds])
    np.testing.assert_allclose(losses[1][:3], losses[0][:3], atol=1e-3)  # the first look of each member
    np.testing.assert_allclose(losses[1], losses[0], atol=0.05)

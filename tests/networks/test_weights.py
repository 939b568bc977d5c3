"""Weights as arrays: there and back, and what is missing or misshapen is told."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from veridical.errors import ArtifactError
from veridical.networks import weights


def network(width: int = 4) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        return torch.nn.Sequential(torch.nn.Linear(2, width), torch.nn.BatchNorm1d(width))


def test_weights_and_buffers_come_back_bit_by_bit() -> None:
    saved, loaded = network(), network()
    with torch.no_grad():
        saved[0].weight.copy_(torch.arange(8.0).reshape(4, 2))
        saved[1].running_mean.copy_(torch.arange(4.0))
    arrays = {**weights.arrays_of(saved, "a."), **weights.arrays_of(network(3), "b.")}
    assert {name.partition(".")[0] for name in arrays} == {"a", "b"}
    weights.load_into(loaded, arrays, "a.")
    for name, tensor in saved.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_a_loaded_network_does_not_share_memory_with_the_arrays() -> None:
    loaded = network()
    arrays = weights.arrays_of(network())
    weights.load_into(loaded, arrays)
    before = loaded[0].weight.clone()
    arrays["network.0.weight"][:] = 7
    assert torch.equal(loaded[0].weight, before)


@pytest.mark.parametrize(
    ("name", "shape"), [("0.weight", None), ("0.weight", (5, 2)), ("7.weight", (1,))], ids=str
)
def test_what_is_missing_misshapen_or_unknown_is_an_error(name: str, shape: tuple[int, ...] | None) -> None:
    arrays = weights.arrays_of(network())
    arrays.pop(f"network.{name}", None)
    if shape is not None:
        arrays[f"network.{name}"] = np.zeros(shape, np.float32)
    with (
        pytest.raises(ArtifactError, match=rf"(?s)^estimator npe: weights do not fit the settings: .*{name}"),
        weights.fitting("estimator npe"),
    ):
        weights.load_into(network(), arrays)


def test_a_missing_statistic_is_told_like_a_missing_weight() -> None:
    statistics: dict[str, np.ndarray] = {}
    with (
        pytest.raises(ArtifactError, match=r"^remedy tuned: weights do not fit those of 'npe': 'norms'$"),
        weights.fitting("remedy tuned", "those of 'npe'"),
    ):
        statistics["norms"]

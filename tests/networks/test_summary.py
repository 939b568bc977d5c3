"""The contract of summary networks, over the registry."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from veridical.errors import ShapeError, UnknownName
from veridical.estimators.npe_settings import NPESettings
from veridical.networks import SUMMARIES, build_summary
from veridical.networks.choice import resolved


def summary_network(
    name: str, x_shape: tuple[int, ...], has_missing: bool = False, **settings: object
) -> torch.nn.Module:
    given = NPESettings.model_validate({"summary": {"type": name, **settings}}).summary
    full = resolved(given, x_shape).model_dump()
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(3)
        return build_summary(full, x_shape, has_missing=has_missing)


def inputs(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    return torch.from_numpy(rng.standard_normal(shape)).float()


@pytest.mark.parametrize("x_shape", [(12,), (12, 3), (12, 3, 2), (700,)])
@pytest.mark.parametrize("name", SUMMARIES)
def test_contract(name: str, x_shape: tuple[int, ...], rng: np.random.Generator) -> None:
    if name == "image" and len(x_shape) < 2:
        with pytest.raises(ShapeError, match="use 'mlp' or 'conv'"):
            summary_network(name, x_shape)
        return
    network = summary_network(name, x_shape)
    x = inputs(rng, 40, *x_shape)
    summaries = network(x)
    assert summaries.shape == (40, network.features)
    assert torch.allclose(network(x[:7]), summaries[:7], atol=1e-5), "rows must not see each other"
    if list(network.parameters()):
        summaries.square().sum().backward()
        assert all((p.grad != 0).any() for p in network.parameters())


def test_single_numbers_pass_through_as_one_summary(rng: np.random.Generator) -> None:
    x = inputs(rng, 5)
    assert torch.equal(summary_network("none", ())(x), x[:, None])
    assert summary_network("mlp", ())(x).shape == (5, 32)
    with pytest.raises(ShapeError, match="use 'none'"):
        summary_network("gru", ())


def test_a_deep_set_ignores_the_order_of_rows(rng: np.random.Generator) -> None:
    network, x = summary_network("deepset", (9, 2)), inputs(rng, 4, 9, 2)
    shuffled = x[:, torch.from_numpy(rng.permutation(9))]
    assert torch.allclose(network(x), network(shuffled), atol=1e-6)


@pytest.mark.parametrize("name", ["conv", "gru"])
def test_a_series_network_sees_the_order_of_rows(name: str, rng: np.random.Generator) -> None:
    network, x = summary_network(name, (9, 2)), inputs(rng, 4, 9, 2)
    assert not torch.allclose(network(x), network(x.flip(1)), atol=1e-3)


@pytest.mark.parametrize("kernel", [1, 4, 9])
def test_convolutions_take_series_of_any_length(kernel: int, rng: np.random.Generator) -> None:
    network = summary_network("conv", (2, 1), channels=[4, 4, 4], kernel=kernel)
    assert network(inputs(rng, 3, 2, 1)).shape == (3, 32)


def test_an_unknown_network_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'deepset'"):
        build_summary({"type": "deep_set"}, (3,))


# ---- missing numbers ---------------------------------------------------------------------------------


def masked_network(name: str, x_shape: tuple[int, ...]) -> torch.nn.Module:
    return summary_network(name, x_shape, has_missing=True).double()


def with_gaps(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    """Numbers of which a third is missing, though none of those in the first places."""
    x = rng.standard_normal(shape)
    gone = rng.random(shape) < 1 / 3
    gone[:, 0] = False
    return torch.from_numpy(np.where(gone, np.nan, x))


@pytest.mark.parametrize(
    ("name", "x_shape"),
    [(n, s) for n in SUMMARIES for s in [(12,), (12, 3)] if n != "image"] + [("image", (12, 8))],
)
def test_contract_with_missing_numbers(name: str, x_shape: tuple[int, ...], rng: np.random.Generator) -> None:
    network, x = masked_network(name, x_shape), with_gaps(rng, 40, *x_shape)
    summaries = network(x)
    assert summaries.shape == (40, network.features) and summaries.isfinite().all()
    assert torch.allclose(network(x[:7]), summaries[:7], atol=1e-12), "rows must not see each other"
    assert not torch.allclose(network(x.nan_to_num()), summaries), "0 is a number, a missing one is none"
    if list(network.parameters()):
        summaries.square().sum().backward()
        assert all(p.grad.isfinite().all() and (p.grad != 0).any() for p in network.parameters())


def test_sets_can_be_padded_and_shuffled(rng: np.random.Generator) -> None:
    short, long = masked_network("deepset", (9, 2)), masked_network("deepset", (500, 2))
    x = with_gaps(rng, 4, 9, 2)
    padded = torch.cat([x, torch.full((4, 491, 2), torch.nan)], dim=1)
    shuffled = padded[:, torch.from_numpy(rng.permutation(500))]
    assert torch.allclose(short(x), long(padded), rtol=1e-12)
    assert torch.allclose(short(x), long(shuffled), rtol=1e-12)
    across = summary_network("deepset", (2, 9), True, axis=1).double()
    assert torch.allclose(short(x), across(x.transpose(1, 2)), rtol=1e-12)


def test_a_set_knows_how_many_rows_it_has() -> None:
    """The mean of equal rows is the same for any number of them, and so are all networks without a count."""
    network = masked_network("deepset", (20,))
    three = torch.where(torch.arange(20) < 3, 1.0, torch.nan).double()
    assert not torch.allclose(network(three[None]), network(torch.ones(1, 20).double()), rtol=1e-3)

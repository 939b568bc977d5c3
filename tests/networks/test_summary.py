"""The contract of summary networks, over the registry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tests.estimators.small import REQUIRED
from veridical.errors import ShapeError, UnknownName
from veridical.estimators.npe_settings import NPESettings
from veridical.networks import SUMMARIES, build_summary
from veridical.networks.choice import resolved
from veridical.networks.settings import PartsSummarySettings
from veridical.networks.standardised import standardised
from veridical.networks.summary_settings import EnergyFlowSummarySettings, TransformerSummarySettings

REFUSED = {"image": ((12,), (700,)), "energy_flow": ((12,), (12, 3, 2), (700,))}


def summary_network(
    name: str, x_shape: tuple[int, ...], has_missing: bool = False, **settings: object
) -> torch.nn.Module:
    named = {"type": name, **REQUIRED.get(name, {}), **settings}
    given = NPESettings.model_validate({"summary": named}).summary
    return built(resolved(given, x_shape), x_shape, has_missing)


def built(settings: Any, x_shape: tuple[int, ...], has_missing: bool = False) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(3)
        return build_summary(settings.model_dump(), x_shape, has_missing=has_missing)


def inputs(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    return torch.from_numpy(rng.standard_normal(shape)).float()


@pytest.mark.parametrize("x_shape", [(12,), (12, 3), (12, 3, 2), (700,)])
@pytest.mark.parametrize("name", SUMMARIES)
def test_contract(name: str, x_shape: tuple[int, ...], rng: np.random.Generator) -> None:
    if x_shape in REFUSED.get(name, ()):
        with pytest.raises(ShapeError, match=r"use 'mlp' or 'conv'|expected x with two axes"):
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


@pytest.mark.parametrize(
    "name_and_settings",
    [
        ("deepset", {}),
        ("set_transformer", {"seeds": 2}),
        ("set_transformer", {"inducing": 4}),
        ("energy_flow", {}),
    ],
)
@pytest.mark.parametrize("has_missing", [False, True])
def test_networks_of_sets_ignore_the_order_of_rows(
    name_and_settings: tuple[str, dict[str, object]], has_missing: bool, rng: np.random.Generator
) -> None:
    name, settings = name_and_settings
    network = summary_network(name, (9, 2), has_missing, **settings).double()
    x = with_gaps(rng, 4, 9, 2) if has_missing else torch.from_numpy(rng.standard_normal((4, 9, 2)))
    shuffled = x[:, torch.from_numpy(rng.permutation(9))]
    assert torch.allclose(network(x), network(shuffled), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ["conv", "gru", "transformer"])
def test_a_series_network_sees_the_order_of_rows(name: str, rng: np.random.Generator) -> None:
    network, x = summary_network(name, (9, 2)), inputs(rng, 4, 9, 2)
    assert not torch.allclose(network(x), network(x.flip(1)), atol=1e-3)


@pytest.mark.parametrize("kernel", [1, 4, 9])
def test_convolutions_take_series_of_any_length(kernel: int, rng: np.random.Generator) -> None:
    network = summary_network("conv", (2, 1), channels=[4, 4, 4], kernel=kernel)
    assert network(inputs(rng, 3, 2, 1)).shape == (3, 32)


@pytest.mark.parametrize("places", [True, False])
def test_means_alone_do_not_tell_where_something_is(places: bool, rng: np.random.Generator) -> None:
    network = summary_network("image", (64, 64), blocks=1, places=places, channels=[4, 4]).double()
    x = torch.zeros(3, 64, 64, dtype=torch.float64)
    x[:, 20:28, 20:28] = torch.from_numpy(rng.normal(size=(3, 8, 8)))
    same = torch.allclose(network(x), network(x.roll((12, 8), (1, 2))), rtol=1e-10)
    assert same != places


def test_an_unknown_network_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'deepset'"):
        build_summary({"type": "deep_set"}, (3,))


# ---- missing numbers ---------------------------------------------------------------------------------


def masked_network(name: str, x_shape: tuple[int, ...], **settings: object) -> torch.nn.Module:
    return summary_network(name, x_shape, True, **settings).double()


def with_gaps(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    """Numbers of which a third is missing, though none of those in the first places."""
    x = rng.standard_normal(shape)
    gone = rng.random(shape) < 1 / 3
    gone[:, 0] = False
    return torch.from_numpy(np.where(gone, np.nan, x))


@pytest.mark.parametrize(
    ("name", "x_shape"),
    [(n, s) for n in SUMMARIES for s in [(12,), (12, 3)] if s not in REFUSED.get(n, ())],
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


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("deepset", {}),
        ("set_transformer", {"inducing": 0}),
        ("set_transformer", {"inducing": 4}),
        ("energy_flow", {}),
    ],
)
def test_sets_can_be_padded_and_shuffled(
    name: str, more: dict[str, object], rng: np.random.Generator
) -> None:
    short, long = masked_network(name, (9, 2), **more), masked_network(name, (500, 2), **more)
    x = with_gaps(rng, 4, 9, 2)
    padded = torch.cat([x, torch.full((4, 491, 2), torch.nan)], dim=1)
    shuffled = padded[:, torch.from_numpy(rng.permutation(500))]
    assert torch.allclose(short(x), long(padded), rtol=1e-12)
    assert torch.allclose(short(x), long(shuffled), rtol=1e-12)
    across = masked_network(name, (2, 9), axis=1, **more)
    assert torch.allclose(short(x), across(x.transpose(1, 2)), rtol=1e-12)


def test_a_series_with_times_can_be_padded(rng: np.random.Generator) -> None:
    """Where times are numbers of x, a step that is not there says nothing, wherever it stands."""
    alone = {"times": 1, "kernel": 1, "patch": 1}
    short, long = (masked_network("transformer", (n, 2), **alone) for n in (9, 30))
    long.turns = short.turns  # frequencies follow the number of steps
    x = with_gaps(rng, 4, 9, 2)
    spread = torch.full((4, 30, 2), torch.nan, dtype=x.dtype)
    spread[:, rng.permutation(30)[:9]] = x
    assert torch.allclose(short(x), long(spread), rtol=1e-12)


@pytest.mark.parametrize("name", ["set_transformer", "transformer"])
def test_no_gradient_reaches_an_element_that_is_not_there(name: str, rng: np.random.Generator) -> None:
    """Whatever stood in its place inside the network would change nothing, to the bit."""
    network = masked_network(name, (9,))
    inside: list[torch.Tensor] = []

    def watched(module: object, given: object, elements: torch.Tensor) -> torch.Tensor:
        inside.append(elements.requires_grad_())
        elements.retain_grad()
        return elements

    network.element.register_forward_hook(watched)
    x = torch.from_numpy(rng.standard_normal((3, 9)))
    x[:, 4:8] = torch.nan
    network(x).square().sum().backward()
    reached = (inside[0].grad != 0).any(dim=-1)
    absent = slice(5, 7) if name == "transformer" else slice(4, 8)  # a kernel of three sees its neighbours
    assert not reached[:, absent].any() and reached[:, :4].all() and reached[:, 8].all()


@pytest.mark.parametrize("name", ["deepset", "set_transformer", "transformer", "energy_flow"])
def test_a_block_of_which_nothing_is_there_has_a_summary(name: str) -> None:
    """Such as one of several in a row of which others are; infinities would ruin all weights."""
    network = masked_network(name, (9, 2))
    network(torch.full((3, 9, 2), torch.nan).double()).square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("name", ["deepset", "set_transformer"])
def test_a_set_knows_how_many_rows_it_has(name: str) -> None:
    """The mean of equal rows is the same for any number of them, and so are all networks without a count."""
    network = masked_network(name, (20,))
    three = torch.where(torch.arange(20) < 3, 1.0, torch.nan).double()
    assert not torch.allclose(network(three[None]), network(torch.ones(1, 20).double()), rtol=1e-3)


# ---- energy flow ---------------------------------------------------------------------------------------


def particles(rng: np.random.Generator, n: int, has_missing: bool) -> np.ndarray:
    """Energies of up to 3,000 and two numbers for the direction of 12 particles, the last four not there."""
    x = np.concatenate([rng.gamma(1, 1000, (n, 12, 1)), rng.normal(size=(n, 12, 2))], axis=2)
    x[:, 8:] = np.nan if has_missing else 0.0
    return x


def soft(x: np.ndarray) -> np.ndarray:
    x[:, 8] = 0.0, 5.0, -5.0
    return x


def collinear(x: np.ndarray) -> np.ndarray:
    x[:, 8] = x[:, 3]
    x[:, 3, 0] *= 0.3
    x[:, 8, 0] *= 0.7
    return x


def hard(x: np.ndarray) -> np.ndarray:
    x[:, 8] = 100.0, 5.0, -5.0
    return x


def turned(x: np.ndarray) -> np.ndarray:
    x = collinear(x)
    x[:, 8, 1] += 0.1
    return x


@pytest.mark.parametrize("has_missing", [False, True])
@pytest.mark.parametrize(
    ("change", "safe"), [(soft, True), (collinear, True), (hard, False), (turned, False)]
)
@pytest.mark.parametrize("name", ["energy_flow", "deepset"])
def test_soft_and_collinear_particles_change_nothing(
    name: str, change: Callable[..., np.ndarray], safe: bool, has_missing: bool, rng: np.random.Generator
) -> None:
    """Of an energy flow, in units of x and behind its transform; a deep set sees each of them."""
    named = {"type": name, **REQUIRED.get(name, {})}
    settings = resolved(NPESettings.model_validate({"summary": named}).summary, (12, 3))
    network = summary_network(name, (12, 3), has_missing).double()
    x = particles(rng, 200, has_missing)
    inputs = standardised(settings, x, "none", has_missing=has_missing)
    before, after = (network(torch.from_numpy(inputs(each))) for each in (x, change(x.copy())))
    same = torch.allclose(before, after, rtol=1e-11, atol=1e-13)
    assert same == (safe and name == "energy_flow")


def test_energies_are_scaled_by_their_mean_sum_and_directions_share_their_statistics(
    rng: np.random.Generator,
) -> None:
    settings = resolved(EnergyFlowSummarySettings(energy="pt"), (12, 3), names=((), ("pt", "y", "phi")))
    x = particles(rng, 200, True)
    inputs = standardised(settings, x, "none", has_missing=True)
    assert (inputs.mean[:, 0] == 0).all() and inputs.mean.shape == (12, 3)
    np.testing.assert_allclose(inputs.scale[:, 0], np.nansum(x[..., 0], axis=1).mean())
    np.testing.assert_allclose(inputs.mean[:, 1], np.nanmean(x[..., 1]))
    with pytest.raises(ValidationError, match=r"inputs\.transform: `energy_flow` wants"):
        NPESettings.model_validate(
            {"summary": {"type": "energy_flow", "energy": 0}, "inputs": {"transform": "log"}}
        )


# ---- blocks --------------------------------------------------------------------------------------------

NAMES = ("mass", *(f"flux{i}" for i in range(6)), "age")


def blocks(**parts: object) -> PartsSummarySettings:
    return NPESettings.model_validate({"summary": {"type": "parts", "parts": parts}}).summary


@pytest.mark.parametrize("has_missing", [False, True])
def test_blocks_are_seen_by_networks_of_their_own(has_missing: bool, rng: np.random.Generator) -> None:
    """As if each stood alone: a series of pairs in two columns, and two single numbers around it."""
    given = blocks(
        light={"entries": ["flux*"], "shape": [3, 2], "kinds": ["exchangeable", ""], "summary": "deepset"},
        host={"entries": ["mass", "age"], "summary": "mlp"},
    )
    settings = resolved(given, (8,), ("vector",), (NAMES,))
    assert settings.axis == 0 and settings.parts["host"].entries == [0, 7]
    assert settings.parts["light"].entries == ["1:7"] and resolved(settings, (8,)) == settings
    x = with_gaps(rng, 50, 8).numpy() if has_missing else rng.normal(size=(50, 8))
    network = built(settings, (8,), has_missing).double()
    inputs = standardised(settings, x, "none", has_missing=has_missing)
    found = network(torch.from_numpy(inputs(x)))
    apart = []
    for part, own, shape in zip(
        settings.parts.values(), (x[:, 1:7], x[:, [0, 7]]), ((3, 2), (2,)), strict=True
    ):
        own = own.reshape(50, *shape)
        transform = standardised(part.summary, own, "none", has_missing=has_missing)
        apart.append(network.networks[len(apart)](torch.from_numpy(transform(own))))
    assert network.features == 64 and torch.allclose(found, torch.cat(apart, dim=1), rtol=1e-12)


def test_blocks_along_an_axis_keep_the_other_one(rng: np.random.Generator) -> None:
    given = blocks(a={"entries": ["mass"]}, b={"entries": ["1:"], "summary": "gru"})
    settings = resolved(given, (70, 8), ("series", "vector"), ((), NAMES))
    assert settings.axis == 1 and not settings.stackable
    assert settings.parts["a"].summary.type == "conv" and settings.parts["b"].summary.axis == 0
    network = built(settings, (70, 8))
    assert network(inputs(rng, 3, 70, 8)).shape == (3, 64)


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        ({"a": {"entries": ["flux*"]}}, ShapeError, "2 in none or in several: mass, age"),
        ({"a": {"entries": ["0:"]}, "b": {"entries": ["age"]}}, ShapeError, "1 in none or in several: age"),
        ({"a": {"entries": ["flx3"]}}, UnknownName, "Did you mean 'flux3'"),
        ({"a": {"entries": ["3:9"]}}, UnknownName, "none of the 8 entries"),
        ({"a": {"entries": [8]}}, UnknownName, "none of the 8 entries"),
        ({"a": {"entries": ["0:"], "shape": [3, 2]}}, ShapeError, "expected 8 numbers in a block of 8"),
        ({"a": {"entries": ["0:"], "shape": [4, 2], "kinds": ["series"]}}, ShapeError, "a kind for each"),
    ],
)
def test_blocks_that_do_not_fit_are_refused(parts: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        resolved(blocks(**parts), (8,), ("vector",), (NAMES,))


@pytest.mark.parametrize("setting", ["energy", "times"])
def test_an_entry_that_is_not_there_is_answered_with_the_nearest(setting: str) -> None:
    kind = {"energy": "energy_flow", "times": "transformer"}[setting]
    given = NPESettings.model_validate({"summary": {"type": kind, setting: "pT"}}).summary
    with pytest.raises(UnknownName, match="Did you mean 'pt'"):
        resolved(given, (12, 3), names=((), ("pt", "y", "phi")))
    with pytest.raises(ShapeError, match="expected x with two axes"):
        resolved(given, (12,))


def test_times_of_all_steps_share_their_mean_and_scale(rng: np.random.Generator) -> None:
    """Else the first and the last step would be at the same time, 0."""
    settings = resolved(TransformerSummarySettings(times=1), (9, 2))
    x = rng.normal(size=(100, 9, 2)) + np.arange(9)[:, None]
    inputs = standardised(settings, x, "none")
    times = inputs(x)[..., 1]
    assert abs(times.mean()) < 1e-12 and abs(times.std() - 1) < 1e-12 and times[:, 8].mean() > 1
    np.testing.assert_allclose(inputs(x)[..., 0].mean(axis=0), 0, atol=1e-12)

"""Which summary network `auto` takes, and what the shape of x decides of the others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from veridical.errors import ShapeError
from veridical.estimators.base import TaskInfo
from veridical.estimators.npe_settings import NPESettings
from veridical.networks import build_summary
from veridical.networks.choice import resolved
from veridical.networks.settings import AutoSummarySettings, ConvSummarySettings
from veridical.tasks import build, description
from veridical.training import session

WIDE = {"channels": [32, 64], "patch": 2}


def built(settings: Any, x_shape: tuple[int, ...]) -> Any:
    with session.seeded_initialisation(session.Session(20261129, ("choice", 0))):
        return build_summary(settings.model_dump(), x_shape)


@pytest.mark.parametrize(
    ("x_shape", "axes", "expected"),
    [
        ((10,), (), {"type": "mlp", "hidden": [128, 128], "features": 32}),
        ((63,), ("",), {"type": "mlp"}),
        ((64,), ("",), {"type": "conv", "axis": 0, "means": False, **WIDE}),
        ((500,), ("vector",), {"type": "mlp"}),
        ((12,), ("series",), {"type": "conv", "axis": 0, "means": False, **WIDE}),
        ((256, 2), ("", "vector"), {"type": "conv", "axis": 0, "means": False, **WIDE}),
        ((257,), ("",), {"type": "conv", "patch": 2, "channels": [32, 64, 64, 64, 64], "means": True}),
        ((3, 10_000), ("vector", ""), {"type": "conv", "axis": 1, "patch": 40, "channels": [32, *[64] * 4]}),
        ((40, 9), ("series", ""), {"type": "conv", "axis": 0}),
        ((20, 2), ("exchangeable", ""), {"type": "deepset", "axis": 0}),
        ((300, 20), ("", "exchangeable"), {"type": "deepset", "axis": 1}),
        ((32, 32), ("", ""), {"type": "image", "axes": [0, 1], "patch": 2, "channels": [32, 64, 64]}),
        ((3, 32, 32), ("vector", "", ""), {"type": "image", "axes": [1, 2]}),
        ((32, 48, 3), ("", "", ""), {"type": "image", "axes": [0, 1], "channels": [32, 64, 64, 64]}),
        ((5, 100, 5), ("image", "vector", "image"), {"type": "image", "axes": [0, 2], "channels": [32]}),
        ((256, 200), ("", ""), {"type": "image", "patch": 8, "channels": [32, 64, 64, 64]}),
        ((15, 15), ("", ""), {"type": "mlp"}),
    ],
)
def test_auto_takes_what_fits_the_axes(
    x_shape: tuple[int, ...], axes: tuple[str, ...], expected: dict[str, Any]
) -> None:
    found = resolved(AutoSummarySettings(), x_shape, axes)
    assert {name: getattr(found, name) for name in expected} == expected
    assert resolved(found, x_shape, axes) == found
    assert built(found, x_shape)(torch.zeros(2, *x_shape)).shape == (2, 32)


@pytest.mark.parametrize(
    ("given", "length", "expected"),
    [
        ({"type": "set_transformer"}, 32, {"inducing": 0}),
        ({"type": "set_transformer"}, 33, {"inducing": 16}),
        ({"type": "set_transformer", "inducing": 0}, 33, {"inducing": 0}),
        ({"type": "transformer"}, 64, {"patch": 1}),
        ({"type": "transformer"}, 1000, {"patch": 16}),
        ({"type": "transformer", "patch": 3}, 1000, {"patch": 3}),
    ],
)
def test_lengths_decide_how_elements_see_each_other(
    given: dict[str, Any], length: int, expected: dict[str, Any]
) -> None:
    found = resolved(NPESettings.model_validate({"summary": {**given, "axis": 1}}).summary, (2, length))
    assert {name: getattr(found, name) for name in expected} == expected
    assert built(found, (2, length))(torch.zeros(2, 2, length)).shape == (2, 32)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"channels": [32, 64], "patch": 2, "means": False}),
        ({"type": "conv", "channels": [8]}, {"channels": [8], "patch": 2, "means": False}),
        ({"channels": [8], "patch": 50, "means": True}, {"channels": [8], "patch": 50, "means": True}),
        ({"patch": 100}, {"channels": [32, 64, 64, 64], "patch": 100, "means": True}),
        ({"axis": 1}, {"axis": 1}),
    ],
)
def test_what_is_given_is_kept(given: dict[str, Any], expected: dict[str, Any]) -> None:
    length = 10_000 if "patch" in given or "channels" in given else 200
    found = resolved(ConvSummarySettings(**given), (length, 2), ("series", ""))
    assert {name: getattr(found, name) for name in expected} == expected


@pytest.mark.parametrize("name", ["conv", "gru", "transformer", "deepset", "set_transformer"])
def test_networks_named_by_the_user_follow_the_declared_axis(name: str, rng: np.random.Generator) -> None:
    axes = ("", "exchangeable" if "set" in name else "series")
    given = NPESettings.model_validate({"summary": name}).summary
    settings = resolved(given, (3, 40), axes)
    assert settings.axis == 1 and resolved(given, (3, 40)).axis == 0
    x = torch.from_numpy(rng.standard_normal((5, 3, 40))).float()
    second, first = built(settings, (3, 40)), built(settings.model_copy(update={"axis": 0}), (40, 3))
    assert torch.allclose(second(x), first(x.swapaxes(1, 2)), atol=1e-6)
    with pytest.raises(ShapeError, match="has no axis 2"):
        built(settings.model_copy(update={"axis": 2}), (3, 40))


@pytest.mark.parametrize(("length", "patch"), [(10_000, 40), (10_007, 40), (301, 3), (50, 7)])
def test_patches_leave_no_step_out(length: int, patch: int) -> None:
    settings = ConvSummarySettings(channels=[2], kernel=1, patch=patch, means=True)
    network = built(resolved(settings, (length,)), (length,))
    x = torch.ones(1, length, requires_grad=True)
    for part in network.convolutions:
        if hasattr(part, "weight"):
            torch.nn.init.ones_(part.weight)
    network.convolutions(network.arranged(x)).sum().backward()
    assert (x.grad != 0).all()


def test_axes_of_a_task_are_known_to_its_methods() -> None:
    described = [{"name": "time", "length": 4}, {"name": "what", "coordinates": ["a", "b"]}]
    described += [{"name": "repeat", "length": 3, "kind": "exchangeable"}]  # type: ignore[list-item]
    task = build({"name": "gaussian_linear"})
    task.dimensions = description.dimensions_of(described, None)  # type: ignore[assignment]
    info = TaskInfo.of(task)
    assert info.axes == ("", "vector", "exchangeable")
    assert info.names == ((), ("a", "b"), ())
    assert TaskInfo.from_json(info.to_json()).axes == info.axes
    assert TaskInfo.from_json(info.to_json()).names == info.names
    old = {name: value for name, value in info.to_json().items() if name != "axes"}
    assert TaskInfo.from_json(old).axes == ()

"""Settings of estimators: defaults are complete, unknown keys and wrong ranges are refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tests.estimators.small import REQUIRED
from veridical import methods
from veridical.estimators.npe_settings import NPESettings
from veridical.networks import SUMMARIES
from veridical.training.settings import TrainingSettings


def test_an_empty_section_is_complete() -> None:
    settings = NPESettings.model_validate({})
    assert settings.training == TrainingSettings()
    assert NPESettings.model_validate(settings.model_dump(mode="json")) == settings


@pytest.mark.parametrize("name", SUMMARIES)
def test_every_summary_network_of_the_registry_has_settings(name: str) -> None:
    given = {"type": name, **REQUIRED.get(name, {})}
    assert NPESettings.model_validate({"summary": given}).summary.type == name


def test_a_summary_without_type_is_of_the_default_type() -> None:
    assert NPESettings.model_validate({"summary": {"features": 3}}).summary.model_dump()["features"] == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"flows": {}},
        {"flow": {"bin": 8}},
        {"flow": {"bins": 1}},
        {"flow": {"hidden": []}},
        {"summary": {"type": "cnn"}},
        {"summary": {"type": "mlp", "kernel": 3}},
        {"inputs": {"transform": "sqrt"}},
        {"training": {"learning_rate": 0}},
        {"training": {"warmup": 1}},
        {"training": {"epochs": 2.5}},
        {"training": {"accelerator": "tpu"}},
    ],
)
def test_unknown_keys_and_values_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        NPESettings.model_validate(wrong)


def test_an_unknown_method_is_answered_with_the_nearest() -> None:
    with pytest.raises(KeyError, match="Did you mean 'npe'"):
        methods.method_class({"type": "npo"})

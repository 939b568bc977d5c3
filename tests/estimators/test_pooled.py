"""Rows of all levels together: what they count, and what the flow is told of their level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tests.remedies import shifted_task
from tests.remedies.shifted_task import SHIFTED, coupled
from veridical.estimators.base import Material
from veridical.estimators.pooled import PooledNetwork, PooledNPE
from veridical.estimators.pooled_settings import PooledSettings
from veridical.networks.gaussians import GaussianMixture
from veridical.networks.levelled import Levelled
from veridical.study import settings
from veridical.study.layout import Layout
from veridical.study.validation import validate
from veridical.training import fitting
from veridical.training.session import Session, seeded_initialisation

RUN = Session(1, ("p", 0))
SMALL: dict[str, Any] = {
    "lower": {"low": 100, "middle": 60},
    "summary": {"type": "none"},
    "flow": {"transforms": 1, "hidden": [8], "bins": 4},
    "training": {"max_steps": 4, "rounds": 2},
}


def test_a_flow_is_told_the_level_and_asked_for_the_last(rng: np.random.Generator) -> None:
    with seeded_initialisation(RUN):
        inner = GaussianMixture(1, 2 + 3, components=2, hidden=[4]).double()
    density, theta = Levelled(inner, 3).double(), torch.from_numpy(rng.normal(size=(4, 1)))
    context, level = torch.from_numpy(rng.normal(size=(4, 2))), torch.tensor([0, 2, 1, 2])
    told = density.told(context, level)
    np.testing.assert_array_equal(told[:, 2:], np.eye(3)[level.numpy()])
    np.testing.assert_array_equal(told[:, :2], context)
    with torch.no_grad():
        asked, each = density.log_prob(theta, context), inner.log_prob(theta, told)
    assert torch.equal(asked[[1, 3]], each[[1, 3]]) and not torch.isclose(asked[[0, 2]], each[[0, 2]]).any()


@pytest.mark.parametrize("level", ["conditioned", "ignored"])
def test_the_loss_weighs_rows(rng: np.random.Generator, level: str) -> None:
    with seeded_initialisation(RUN):
        network = PooledNetwork(PooledSettings(**SMALL, level=level), (2,), (0,))
    z, x = (torch.from_numpy(rng.normal(size=(3, n)).astype(np.float32)) for n in (1, 2))
    last, ones, weight = torch.tensor([2, 2, 2]), torch.ones(3), torch.tensor([3.0, 0.0, 0.0])
    with torch.no_grad():
        torch.testing.assert_close(network.loss(z, x, last, ones), network.loss(z, x))
        torch.testing.assert_close(network.loss(z, x, last, weight), network.loss(z[:1], x[:1]))
        changed = not torch.isclose(network.loss(z, x, last - 1, ones), network.loss(z, x))
    assert changed == (level == "conditioned")


@pytest.mark.parametrize(("weights", "share"), [("level", 1 / 3), ("row", None)])
def test_levels_or_rows_count_alike(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, weights: str, share: float | None
) -> None:
    levels = coupled(100, rng, "low", "middle")
    few = [rows.at(slice(n)) for rows, n in zip(levels, (100, 60, 20), strict=True)]
    seen: list[fitting.Data] = []
    fit = fitting.fit
    monkeypatch.setattr(fitting, "fit", lambda *given: (seen.append(given[1]), fit(*given))[1])
    PooledNPE.fit(PooledSettings(**SMALL, weights=weights), SHIFTED, Material(levels=few), RUN)
    *_, level, weight = seen[0].train
    sizes = np.array([90, 54, 18])
    np.testing.assert_array_equal(np.bincount(level), sizes)
    shares = np.bincount(level, weight) / weight.sum()
    np.testing.assert_allclose(shares, share or sizes / sizes.sum(), rtol=1e-6)
    assert weight.mean() == pytest.approx(1)
    assert len(seen[0].validation[0]) == 2 and set(seen[0].validation[2]) == {2}, (
        "the dearest level is judged"
    )


def test_levels_need_not_be_coupled_and_losses_be_densities() -> None:
    spec = {"name": "shifted", "file": shifted_task.__file__, "class": "TwoLevels"}
    study = {"study": "s", "seed": 1, "task": spec, "budgets": [50]}
    methods = {"pooled": {**SMALL, "type": "pooled_npe", "lower": {"low": 100}}}
    validate(Layout(settings.parse({**study, "estimators": methods})))
    with pytest.raises(ValidationError, match="its loss is made of log densities"):
        PooledSettings(**{**SMALL, "flow": "diffusion"})

"""Classifiers of templates: gradients, the pool, closeness to exact log ratios, files, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import stats
from torch.nn import functional

from veridical import seeds
from veridical.errors import ArtifactError, TrainingError
from veridical.estimators.base import Material, TaskInfo
from veridical.estimators.template_ratio_settings import TemplateRatiosSettings
from veridical.estimators.template_ratios import TemplateRatios
from veridical.networks.softmax import StackedSoftmax
from veridical.remedies.tamm import Tamm
from veridical.remedies.tamm_settings import TammSettings
from veridical.tasks.base import Array
from veridical.training.session import Session

MEANS = {"near-0": 0.0, "near-1": 0.4, "far-0": 1.5, "far-1": 1.9}
INFO = TaskInfo("lines", (), np.zeros((0, 2)), (), (1,))
TEMPLATES: dict[str, Any] = {"first": ["near-0", "near-1"], "second": ["far-0", "far-1"]}


def events(n: int, *path: str) -> dict[str, Array]:
    rng = seeds.generator(3, "test", "template_ratios", *path)
    return {name: rng.normal(mean, 1.0, (n, 1)) for name, mean in MEANS.items()}


def fit(n: int = 2000, epochs: int = 30, **options: Any) -> TemplateRatios:
    classes = events(n, "train")
    material = Material(classes=classes, validation=dict.fromkeys(classes, np.arange(n) % 10 == 9))
    training = {"epochs": epochs, "batch_size": 800, "learning_rate": 5e-3}
    spec = {**TEMPLATES, "members": 2, "hidden": [16], "training": training, **options}
    settings = TemplateRatiosSettings.model_validate(spec)
    return TemplateRatios.fit(settings, INFO, material, Session(3, ("template_ratios", 0)))[0]


@pytest.fixture(scope="module")
def ratios() -> TemplateRatios:
    return fit()


def exact(x: Array) -> Array:
    log_p = stats.norm.logpdf(x, np.array(list(MEANS.values())))
    return np.asarray(log_p - np.logaddexp.reduce(log_p, axis=1, keepdims=True) + np.log(len(MEANS)))


def test_members_come_close_to_the_exact_log_ratios(ratios: TemplateRatios) -> None:
    x = np.linspace(-1, 3, 41)[:, None]
    found = ratios.functions(x)
    assert found.shape == (41, 4, 3) and (found[:, :, 0] == 1).all() and ratios.size == 3
    np.testing.assert_allclose(np.exp(found[:, :, 1:]).mean(axis=1), 1, rtol=1e-6)  # the pool
    error = found[:, :, 1:] - exact(x)[:, :, None]
    assert np.sqrt((error**2).mean()) < 0.25 and not np.allclose(found[:, :, 1], found[:, :, 2])


def test_loss_and_gradient_are_those_of_cross_entropy_with_equal_classes() -> None:
    """In groups of one member and all at once, with unequal numbers of events."""
    rng = seeds.generator(3, "test", "softmax")
    network = StackedSoftmax(3, (2, 5), 0.2, 4)
    network.initialise([seeds.generator(3, "test", "softmax", m) for m in range(3)])
    batch = [torch.from_numpy(rng.normal(size=(3, n, 2))).float() for n in (6, 9, 4, 5)]
    network.zero_grad()
    losses = network.accumulate(*batch)
    gradient = [part.grad.clone() for part in network.parameters()]  # type: ignore[union-attr]
    network.zero_grad()
    parts = [
        functional.cross_entropy(network(x)[m], torch.full((x.shape[1],), c))
        for m in range(3)
        for c, x in enumerate(batch)
    ]
    direct = torch.stack(parts).reshape(3, 4).mean(dim=1)
    direct.sum().backward()
    torch.testing.assert_close(losses, direct.detach())
    for one, part in zip(gradient, network.parameters(), strict=True):
        torch.testing.assert_close(one, part.grad)
    same = [
        network.losses_on_same(
            x[0], torch.tensor(float(c)), torch.ones(3, x.shape[1]), torch.full((3,), x.shape[1])
        )
        for c, x in enumerate(batch)
    ]
    torch.testing.assert_close(torch.stack(same).sum(dim=0)[0], direct[0])


def test_files_give_the_same_functions_and_seeds_the_same_weights(ratios: TemplateRatios) -> None:
    x = np.linspace(-1, 3, 7)[:, None]
    again = TemplateRatios.from_arrays(ratios.settings, INFO, ratios.arrays())
    assert np.array_equal(again.functions(x), ratios.functions(x)) and again.templates == ratios.templates
    short, other = fit(200, 2), fit(200, 2)
    assert all(np.array_equal(other.arrays()[name], array) for name, array in short.arrays().items())
    broken = {k: np.full_like(v, np.nan) if "network" in k else v for k, v in short.arrays().items()}
    with pytest.raises(ArtifactError, match="networks are broken"):
        TemplateRatios.from_arrays(short.settings, INFO, broken).functions(x)


def test_templates_without_events_are_refused() -> None:
    with pytest.raises(TrainingError, match="got none of far-9"):
        fit(100, 1, second=["far-0", "far-9"])
    with pytest.raises(ValidationError):
        TemplateRatiosSettings(first=[], second=["a"])


def test_a_mixture_adapts_its_templates(ratios: TemplateRatios) -> None:
    """The chain of both methods: nature's classes lie between the templates, and the fraction is found."""
    data = Material(classes=events(4000, "fit"), parent=ratios)
    settings = TammSettings(of="template_ratios", starts=[0.3])
    remedy = Tamm.fit(settings, INFO, data, Session(3, ("tamm", 0)))[0]
    rng = seeds.generator(3, "test", "template_ratios", "data")
    x = np.concatenate([rng.normal(0.2, 1, (1200, 1)), rng.normal(1.7, 1, (2800, 1))])
    found = remedy.adapt(x)
    assert abs(found.kappa - 0.3) < 4 * found.sigma < 0.4
    assert 0 < found.ratio < 3 * found.statistical


def test_settings_have_defaults_of_their_own_and_each_template_once() -> None:
    settings = TemplateRatiosSettings.model_validate({**TEMPLATES, "training": {"epochs": 5}})
    assert (settings.training.batch_size, settings.training.learning_rate) == (4096, 1e-3)
    for second in (["far-0", "far-0"], ["near-1"]):
        with pytest.raises(ValidationError, match="expected different templates"):
            TemplateRatiosSettings.model_validate({**TEMPLATES, "second": second})

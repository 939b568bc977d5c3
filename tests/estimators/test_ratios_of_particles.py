"""Density ratios of jets: what members learn, what soft and collinear particles change, files, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tests.estimators.small import same
from veridical import artifacts, seeds
from veridical.errors import DataError, ShapeError
from veridical.estimators.base import Material, TaskInfo
from veridical.estimators.ratio_settings import RatiosSettings
from veridical.estimators.ratios import Ratios
from veridical.estimators.template_ratio_settings import TemplateRatiosSettings
from veridical.estimators.template_ratios import TemplateRatios
from veridical.networks.particle_settings import ParticlesSettings
from veridical.networks.stacked import StackedMLP
from veridical.tasks.base import Array
from veridical.training import session
from veridical.training.checkpoints import CheckpointFolder

CLASSES = ("narrow", "wide")
INFO = TaskInfo("jets", (), np.zeros((0, 2)), (), (8, 3), "", ("exchangeable", "vector"), True)
PARTICLES = {"cells": 13, "element": [8, 8]}
SPEC: dict[str, Any] = {"members": 2, "hidden": [8], "particles": PARTICLES}
RUN = session.Session(7, ("particles", 0))


def jets(n: int, cls: str, *path: str) -> Array:
    """Two to eight particles of jets of either width, whose energies sum to 3."""
    rng = seeds.generator(7, "test", "jets", cls, *path)
    x = np.full((n, 8, 3), np.nan)
    there = np.arange(8) < rng.integers(2, 9, n)[:, None]
    energy = rng.exponential(size=(n, 8)) * there
    x[..., 0] = 3 * energy / energy.sum(axis=1, keepdims=True)
    x[..., 1:] = rng.normal(0, 0.05 if cls == "narrow" else 0.1, (n, 8, 2))
    x[~there] = np.nan
    return x


def material(n: int, names: dict[str, str]) -> Material:
    classes = {name: jets(n, cls, name) for name, cls in names.items()}
    return Material(classes=classes, validation=dict.fromkeys(classes, np.arange(n) % 10 == 9))


def fit(n: int = 400, epochs: int = 4, run: session.Session = RUN, **options: Any) -> Ratios:
    training = {"epochs": epochs, "batch_size": 200, "learning_rate": 5e-3}
    settings = RatiosSettings.model_validate({**SPEC, "training": training, **options})
    return Ratios.fit(settings, INFO, material(n, {cls: cls for cls in CLASSES}), run)[0]


def fit_templates(n: int = 400, epochs: int = 4) -> TemplateRatios:
    names = {"narrow-0": "narrow", "narrow-1": "narrow", "wide-0": "wide"}
    training = {"epochs": epochs, "batch_size": 300, "learning_rate": 5e-3}
    spec = {**SPEC, "first": ["narrow-0", "narrow-1"], "second": ["wide-0"], "training": training}
    settings = TemplateRatiosSettings.model_validate(spec)
    return TemplateRatios.fit(settings, INFO, material(n, names), RUN)[0]


@pytest.fixture(scope="module")
def ratios() -> Ratios:
    training = {"epochs": 30, "batch_size": 200, "learning_rate": 1e-2}
    return fit(3000, loss="bce", training=training)


@pytest.fixture(scope="module")
def test_jets() -> Array:
    return np.concatenate([jets(400, cls, "test") for cls in CLASSES])


def mean_angle(x: Array) -> Array:
    return np.asarray(np.nansum(x[..., 0] * np.hypot(x[..., 1], x[..., 2]), axis=1))


def test_members_tell_the_classes_apart_as_well_as_their_mean_angle(ratios: Ratios, test_jets: Array) -> None:
    """Of 160,000 pairs of a narrow and a wide jet; the mean angle is right in 93 % of them."""

    def right(score: Array) -> float:
        return float((score[:400, None] > score[None, 400:]).mean())

    f = ratios.functions(test_jets)
    assert f.shape == (800, 3) and (f[:, 0] == 1).all() and not np.allclose(f[:, 1], f[:, 2])
    best = right(-mean_angle(test_jets))
    assert best > 0.9 and all(right(member) > best - 0.03 for member in f[:, 1:].T)


def test_soft_and_collinear_particles_change_no_ratio(ratios: Ratios, test_jets: Array) -> None:
    """The hardest particle in two parts, an absent one without energy, another order; more energy counts."""
    energy, x = np.nan_to_num(test_jets[..., 0]), test_jets[(np.isnan(test_jets[..., 0]).sum(axis=1) >= 2)]
    before = ratios.functions(x)
    rows, energy = np.arange(len(x)), np.nan_to_num(x[..., 0])
    hardest, free = energy.argmax(axis=1), np.isnan(x[..., 0]).argmax(axis=1)
    changed = x.copy()
    changed[rows, hardest, 0] *= 0.3
    changed[rows, free] = x[rows, hardest] * [0.7, 1, 1]
    last = np.isnan(changed[..., 0]).argmax(axis=1)
    changed[rows, last] = [0.0, 0.2, -0.1]
    order = seeds.generator(7, "test", "order").permutation(8)
    np.testing.assert_allclose(ratios.functions(changed[:, order]), before, atol=1e-5)
    changed[rows, last, 0] = 0.3
    assert np.abs(ratios.functions(changed) - before).max() > 0.01


def test_classifiers_of_templates_take_particles(test_jets: Array) -> None:
    found = fit_templates(1500, 20)
    f = found.functions(test_jets)
    assert f.shape == (800, 3, 3)
    np.testing.assert_allclose(np.exp(f[:, :, 1:]).mean(axis=1), 1, rtol=1e-6)
    assert (f[:400, 2, 1:].mean(axis=0) < f[400:, 2, 1:].mean(axis=0) - 0.3).all()


@pytest.mark.parametrize("method", [fit, fit_templates])
def test_files_give_the_same_functions_and_seeds_the_same_weights(
    method: Any, tmp_path: Path, test_jets: Array
) -> None:
    one = method()
    assert same(one, method())
    again: Any = type(one).from_arrays(one.settings, INFO, one.arrays())
    if one.type == "ratios":
        artifacts.save_estimator(one, tmp_path / "one", None)
        again = artifacts.load_estimator(tmp_path / "one")
    assert np.array_equal(again.functions(test_jets), one.functions(test_jets)) and same(one, again)
    assert again.transforms()["x"][-1] == "energies in 13 x 13 cells"


def test_an_interrupted_training_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with CheckpointFolder(tmp_path / "b", save_seconds=0.0) as folder:
        run = session.Session(7, ("particles", 0), folder=folder)
        steps, accumulate = [], StackedMLP.accumulate

        def fails(self: StackedMLP, *batch: Any) -> Any:
            steps.append(len(steps))
            if len(steps) == 9:
                raise InterruptedError
            return accumulate(self, *batch)

        looks = {"training": {"epochs": 4, "batch_size": 200, "look_every": 1}}
        with monkeypatch.context() as patched:
            patched.setattr(StackedMLP, "accumulate", fails)
            with pytest.raises(InterruptedError):
                fit(run=run, **looks)
        assert same(fit(run=run, **looks), fit(**looks))


def test_energies_are_divided_by_their_mean_sum_and_angles_stay() -> None:
    found = fit(epochs=1)
    np.testing.assert_allclose(found.inputs.scale, np.tile([3.0, 1, 1], (8, 1)), rtol=1e-6)
    assert not found.inputs.mean.any()
    far = jets(3, "wide")
    far[0, 0, 1] = 77.0
    assert np.isfinite(found.functions(far)).all(), "it counts at the edge"
    far[0, 0, 0] = -1
    with pytest.raises(DataError, match="energies of at least 0"):
        found.functions(far)


def test_what_are_no_particles_is_refused() -> None:
    settings = ParticlesSettings()
    assert settings.unsuited(INFO) is None
    turned = TaskInfo("t", (), np.zeros((0, 2)), (), (3, 8), "", ("vector", "exchangeable"))
    assert settings.unsuited(turned) is None and settings.places(turned) == (1, 0)
    for shape, axes in (((8, 4), INFO.axes), ((8, 3), ("", "vector")), ((8,), ("exchangeable",))):
        other = TaskInfo("other", (), np.zeros((0, 2)), (), shape, "", axes)
        assert "expects events of shape (particles, 3)" in str(settings.unsuited(other))
    named = TaskInfo("n", (), np.zeros((0, 2)), (), (8, 3), "", INFO.axes, names=((), ("y", "phi", "pt")))
    assert ParticlesSettings(energy="pt").places(named) == (0, 2)
    assert "particles.energy: 'mass' is none of" in str(ParticlesSettings(energy="mass").unsuited(named))
    with pytest.raises(ShapeError, match="expected one entry, got 2"):
        ParticlesSettings(energy="p*").places(named)
    for transform in ("log", "asinh", "squash"):
        with pytest.raises(ValidationError, match="energies that add up"):
            RatiosSettings.model_validate({"particles": {}, "inputs": {"transform": transform}})


def test_particles_along_the_other_axis_give_the_same_ratios(test_jets: Array) -> None:
    one = fit(epochs=1)
    turned = TaskInfo("t", (), np.zeros((0, 2)), (), (3, 8), "", ("vector", "exchangeable"), True)
    data = material(400, {cls: cls for cls in CLASSES})
    data = Material(
        classes={name: x.swapaxes(1, 2) for name, x in data.classes.items()}, validation=data.validation
    )
    other = Ratios.fit(one.settings, turned, data, RUN)[0]
    np.testing.assert_array_equal(other.functions(test_jets.swapaxes(1, 2)), one.functions(test_jets))

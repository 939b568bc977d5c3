"""What every method promises: one table for all entries of the registry, estimators and remedies alike."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import kstest

from tests.remedies.shifted_task import SHIFTED, rows, simulate
from veridical import artifacts, methods, seeds
from veridical.estimators import Material, TaskInfo
from veridical.tasks.gaussian_classes import GaussianClasses
from veridical.tasks.priors import Product, Uniform
from veridical.training.session import Session

FEW = {"epochs": 2, "batch_size": 50}
NPE = {
    "type": "npe",
    "summary": {"type": "mlp", "hidden": [8], "features": 2},
    "flow": {"transforms": 1, "bins": 4, "hidden": [8]},
    "training": FEW,
}
POSTERIORS: dict[str, dict[str, Any]] = {  # each behind what it is built on
    "npe": NPE,
    "ensemble": {"type": "ensemble", "members": 2, "member": {k: v for k, v in NPE.items() if k != "type"}},
    "j_npe": {**NPE, "type": "j_npe"},
    "mlp": {"type": "mlp", "hidden": [8], "training": {"max_steps": 40}},
    "ridge": {"type": "ridge"},
    "prior": {"type": "prior"},
    "tuned": {"type": "tuned", "of": "npe", "steps": 10, "looks": 2},
    "rope": {"type": "rope", "of": "tuned", "simulations": 40},
}
CLASSES: dict[str, dict[str, Any]] = {
    "ratios": {"type": "ratios", "members": 2, "hidden": [8], "training": {"epochs": 2}},
    "wifi": {"type": "wifi", "of": "ratios"},
}
CASES = {**POSTERIORS, **CLASSES}
TRAINED = ("npe", "ensemble", "j_npe", "mlp", "tuned", "ratios")
TASK = GaussianClasses(0.5)


def generator(*path: str | int) -> np.random.Generator:
    return seeds.generator(20261129, "test", "contract", *path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("methods")


@pytest.fixture(scope="module")
def fitted(folder: Path) -> dict[str, Any]:
    """All methods, each trained for a moment and saved."""
    found: dict[str, Any] = {}
    classes = {cls: TASK.draw(400, generator(cls), cls) for cls in TASK.classes}
    held = dict.fromkeys(classes, np.arange(400) % 10 == 9)
    simulations, real = rows(200, False, generator("rows")), rows(40, True, generator("real"))
    real.validation[:] = False
    prior = Product({"share": Uniform(0.0, 1.0)})
    for name, spec in CASES.items():
        task = TaskInfo.of(TASK) if name in CLASSES else SHIFTED
        of = spec.get("of")
        material = Material(simulations, real, classes, held, found.get(of), prior, simulate)
        found[name], result = methods.fit(spec, task, material, Session(1, (name, 0)))
        artifacts.save_estimator(found[name], folder / name, result, parent=folder / of if of else None)
    return found


@pytest.fixture(params=POSTERIORS)
def method(request: pytest.FixtureRequest, fitted: dict[str, Any]) -> Any:
    return fitted[request.param]


X = rows(3, True, generator("x")).x


def events() -> np.ndarray:
    return np.concatenate([TASK.draw(20, generator("events", cls), cls) for cls in TASK.classes])


def test_every_entry_of_the_registry_has_a_case() -> None:
    assert set(CASES) == set(methods.METHODS)


def test_shapes_support_and_stated_density(method: Any) -> None:
    """Flows draw in single precision and state densities in double: equal to 2e-3."""
    draws, log_density = method.sample_and_log_prob(X, 50, generator("draws"))
    assert draws.shape == (50, 3, 1) and draws.dtype == float and log_density.shape == (50, 3)
    assert ((draws > 0) & (draws < 1)).all() and np.isfinite(log_density).all()
    assert method.sample(X, 50, generator("draws")).shape == (50, 3, 1)
    np.testing.assert_allclose(method.log_prob(draws, X), log_density, atol=2e-3)
    assert method.log_prob(draws[0], X).shape == (3,)
    for outside in (-0.5, 1.5):
        assert np.isneginf(method.log_prob(np.full((3, 1), outside), X)).all()
    summary = method.summary(X)
    assert (summary is None) == (method.cloud is None)
    if summary is not None:
        assert summary.shape == (3, len(method.cloud.mean)) and np.isfinite(summary).all()
        assert method.cloud.covariance.shape == (summary.shape[1],) * 2
    assert set(method.transforms()["parameters"]) == {"share"}


def test_the_density_integrates_to_one_and_draws_follow_it(method: Any) -> None:
    """On 1,500 logits in [-14, 14]: 2e-3 for the trapezia; 2,000 draws by Kolmogorov and Smirnov."""
    logit = np.linspace(-14, 14, 1500)
    theta, given = expit(logit), method.given(X)
    log_p = given.log_prob(np.broadcast_to(theta[:, None, None], (1500, 1, 1)), slice(0, 1))[:, 0]
    density = np.exp(log_p) * theta * (1 - theta)
    mass = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(logit))])
    assert mass[-1] == pytest.approx(1, abs=2e-3)
    draws = given.sample_and_log_prob(slice(0, 1), 2000, generator("ks"))[0][:, 0, 0]
    assert kstest(draws, lambda v: np.interp(np.log(v / (1 - v)), logit, mass)).pvalue > 1e-4


def test_a_batch_is_a_loop_and_the_generator_decides(method: Any) -> None:
    given, rng = method.given(X), generator("draws")
    draws, _ = given.sample_and_log_prob(slice(None), 20, generator("draws"))
    parts = [given.sample_and_log_prob(slice(i, i + 1), 20, rng)[0] for i in range(3)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), draws, rtol=1e-4)
    log_p = [given.log_prob(draws[:, i : i + 1], slice(i, i + 1)) for i in range(3)]
    np.testing.assert_allclose(np.concatenate(log_p, axis=1), given.log_prob(draws, slice(None)), atol=1e-8)
    np.testing.assert_array_equal(method.sample(X, 20, generator("draws")), draws)
    assert not np.array_equal(method.sample(X, 20, generator("others")), draws)


def test_files_give_the_same_bits(method: Any, folder: Path) -> None:
    loaded: Any = artifacts.load_estimator(folder / method.type)
    assert type(loaded) is type(method) and loaded.settings == method.settings
    assert loaded.transforms() == method.transforms()
    assert all(np.array_equal(loaded.arrays()[k], array) for k, array in method.arrays().items())
    one, other = (m.sample_and_log_prob(X, 20, generator("draws")) for m in (method, loaded))
    for first, second in zip(one, other, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", TRAINED)
def test_a_gradient_reaches_every_parameter(name: str, fitted: dict[str, Any]) -> None:
    owner = getattr(fitted[name], "posterior", getattr(fitted[name], "members", [fitted[name]])[0])
    network = copy.deepcopy(owner.network).to("cpu").requires_grad_(True)
    import torch

    if name == "ratios":
        loss = (network(torch.from_numpy(events()).float()) ** 2).sum()
    else:
        some = rows(100, False, generator("gradient"))
        z = owner.parameters.forward(some.theta)[0].astype(np.float32)
        loss = network.loss(torch.from_numpy(z), torch.from_numpy(owner.inputs(some.x, np.float32)))
    loss.backward()
    for at, parameter in network.named_parameters():
        assert parameter.grad is not None and (parameter.grad != 0).any(), at


@pytest.mark.parametrize("name", CLASSES)
def test_functions_and_estimates(name: str, fitted: dict[str, Any], folder: Path) -> None:
    """Finite, of the stated shapes, one by one as together, and from files with the same bits."""

    def answer(method: Any, x: np.ndarray) -> np.ndarray:
        if name == "ratios":
            return method.functions(x)
        found = method.estimate(x)
        return np.stack([found.value, found.statistical, found.ratio, found.bias], axis=1)

    x = events() if name == "ratios" else np.stack([TASK.mixture(500, 0.4, generator(i)) for i in range(3)])
    found = answer(fitted[name], x)
    assert found.shape == ((40, 3) if name == "ratios" else (3, 4)) and np.isfinite(found).all()
    alone = np.concatenate([answer(fitted[name], x[i : i + 1]) for i in range(len(x))])
    np.testing.assert_allclose(alone, found, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(answer(artifacts.load_estimator(folder / name), x), found)

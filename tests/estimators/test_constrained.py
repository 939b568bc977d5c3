"""Methods on parameters under constraints: draws that exist, densities that are those of the draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import dirichlet

from tests.estimators.small import NETWORKS
from tests.remedies.shifted_task import simulator
from veridical import artifacts, methods, seeds
from veridical.estimators.base import Estimator, Material, Rows, TaskInfo
from veridical.tasks.discrete import Categories, Integers
from veridical.tasks.joint import Conditional, Dirichlet, Joint, Sorted
from veridical.tasks.priors import Normal, Uniform
from veridical.training.session import Session

ALL: dict[Any, Any] = {
    "k": Integers(1, 6),
    ("a", "b", "c"): Dirichlet([1.0, 2.0, 3.0]),
    "kind": Categories(["x", "y", "z"]),
    ("t1", "t2"): Sorted(Uniform(0.0, 10.0)),
    "v": Conditional(Uniform(0.0, 1.0), "k", "0.1 + a * t2"),
    "free": Normal(0.0, 1.0),
}
CONTINUOUS = {**{key: ALL[key] for key in (("a", "b", "c"), ("t1", "t2"), "free")}}
SIMPLEX = {("a", "b", "c"): Dirichlet([1.0, 2.0, 3.0])}
CHANNELS = {"k": Integers(1, 6), "g": Uniform(0.0, 1.0)}
TRAINING = {"epochs": 3, "batch_size": 50, "max_steps": 60}


def fitted(
    blocks: dict[Any, Any], spec: dict[str, Any], n: int = 400, **more: Any
) -> tuple[Estimator, Joint]:
    """A method trained for a moment on x = all parameters with noise, and the prior."""
    prior = Joint(blocks)
    d, rng = len(prior.names), seeds.generator(5, "test", "constrained")
    task = TaskInfo("constrained", prior.names, prior.bounds, ("",) * d, (d,), constraints=prior.constraints)
    theta = prior.sample(rng, n)
    x = (theta + 0.3 * rng.normal(size=theta.shape)).astype(np.float32)
    rows = Rows(theta, x, np.arange(n) % 10 == 9)
    pairs = Rows(theta[:60], x[:60], np.zeros(60, bool))
    noisy = simulator(lambda theta, rng: theta + 0.3 * rng.normal(size=theta.shape), task)
    material = Material(simulations=rows, calibration=pairs, prior=prior, simulate=noisy, **more)
    return methods.fit(spec, task, material, Session(1, ("m", 0)))[0], prior


NPE = {"type": "npe", **NETWORKS, "training": TRAINING}
CASES: dict[str, tuple[dict[Any, Any], dict[str, Any]]] = {
    "npe": (ALL, NPE),
    "ensemble": (ALL, {"type": "ensemble", "members": 2, "member": {**NETWORKS, "training": TRAINING}}),
    "j_npe": (ALL, {"type": "j_npe", **NETWORKS, "training": TRAINING}),
    "prior": (ALL, {"type": "prior"}),
    "ridge": (CONTINUOUS, {"type": "ridge"}),
    "mlp": (CONTINUOUS, {"type": "mlp", "hidden": [8], "training": {"max_steps": 40}}),
}


@pytest.mark.parametrize("case", CASES)
def test_no_draw_leaves_the_support(case: str, tmp_path: Path) -> None:
    blocks, spec = CASES[case]
    method, prior = fitted(blocks, spec)
    x = prior.sample(seeds.generator(6, "test", "x"), 5).astype(np.float32)
    x[0] += 50  # far outside of all simulations
    draws, log_p = method.sample_and_log_prob(x, 200, seeds.generator(7, "test", "draws"))
    assert method.task.support is not None and method.task.support.inside(draws).all()
    assert np.isfinite(prior.log_prob(draws.reshape(-1, draws.shape[-1]))).all()
    miss = np.abs(method.log_prob(draws[:, 1:], x[1:]) - log_p[:, 1:])
    assert np.quantile(miss, 0.99) < 2e-3  # but for numbers that differ in their last digits alone
    outside = draws.copy()
    outside[..., 0] = 0.5 if case in ("ridge", "mlp") else 1.5
    assert np.isneginf(method.log_prob(outside, x)).mean() > 0.9
    artifacts.save_estimator(method, tmp_path / "m")
    again = artifacts.load_estimator(tmp_path / "m")
    assert again.task.constraints == prior.constraints
    np.testing.assert_array_equal(
        again.sample(x, 20, seeds.generator(8, "test")), method.sample(x, 20, seeds.generator(8, "test"))
    )


def test_rope_mixes_posteriors_of_constrained_parameters(tmp_path: Path) -> None:
    parent, prior = fitted(ALL, NPE)
    rope, _ = fitted(ALL, {"type": "rope", "of": "npe", "simulations": 50}, parent=parent)
    x = prior.sample(seeds.generator(6, "test", "x"), 4).astype(np.float32)
    given = rope.given(x)
    draws, log_p = given.sample_and_log_prob(slice(0, 4), 50, seeds.generator(7, "test"))
    assert rope.task.support is not None and rope.task.support.inside(draws).all()
    assert log_p is not None and np.isfinite(log_p).all()
    assert given.extras()["plan_rows"].shape[0] == len(prior.names)


def test_probabilities_of_values_and_densities_beside_them_make_one() -> None:
    npe, _ = fitted(CHANNELS, NPE)
    x, u = np.array([[3.1, 0.4]], np.float32), np.linspace(-16, 16, 2001)
    g, k = 1 / (1 + np.exp(-u)), np.arange(1.0, 7.0)
    theta = np.stack(np.meshgrid(k, g, indexing="ij"), -1).reshape(-1, 1, 2)
    p = np.exp(npe.log_prob(theta, x)).reshape(6, -1) * g * (1 - g)
    masses = np.trapezoid(p, u, axis=1)
    assert masses.sum() == pytest.approx(1, abs=1e-3)
    draws = npe.sample(x, 4000, seeds.generator(1, "test", "masses"))[:, 0, 0]
    shares = (draws[:, None] == k).mean(axis=0)
    assert (np.abs(shares - masses) < 4 * np.sqrt(masses * (1 - masses) / 4000) + 1e-3).all()


def test_a_density_of_shares_is_one_of_all_but_the_last() -> None:
    npe, _ = fitted(SIMPLEX, NPE)
    x = np.array([[0.2, 0.3, 0.5]], np.float32)
    cells = 400
    edge = (np.arange(cells) + 0.5) / cells
    a, b = (part.ravel() for part in np.meshgrid(edge, edge, indexing="ij"))
    inside = a + b < 1 - 0.25 / cells
    theta = np.stack([a, b, 1 - a - b], -1)[inside][:, None]
    assert np.exp(npe.log_prob(theta, x)).sum() / cells**2 == pytest.approx(1, abs=0.03)


@pytest.mark.slow
def test_the_exact_posterior_is_learned() -> None:
    """Channels 1 to 6 with noise of sd 0.5: P(2, 3, 4 | 3.1) = 0.070, 0.773, 0.156; counts of three types."""
    rng = seeds.generator(9, "test", "exact")
    prior, n = Joint({"k": Integers(1, 6)}), 6000
    theta = prior.sample(rng, n)
    rows = Rows(theta, (theta + 0.5 * rng.normal(size=(n, 1))).astype(np.float32), np.arange(n) % 10 == 9)
    info = TaskInfo("channels", ("k",), prior.bounds, ("",), (1,), constraints=prior.constraints)
    spec = {
        "type": "npe",
        "summary": {"type": "mlp", "hidden": [32], "features": 8},
        "flow": {"transforms": 1, "hidden": [32]},
        "training": {"max_steps": 250, "batch_size": 200, "learning_rate": 0.01, "weight_decay": 0.0},
    }
    npe, _ = methods.fit(spec, info, Material(simulations=rows, prior=prior), Session(1, ("npe", 0)))
    x = np.array([[3.1]], np.float32)
    found = np.exp(npe.log_prob(np.arange(1.0, 7)[:, None, None], x))[:, 0]
    p = np.exp(-0.5 * ((3.1 - np.arange(1, 7)) / 0.5) ** 2)
    assert found.sum() == pytest.approx(1, abs=1e-9)
    assert np.abs(found - p / p.sum()).max() < 0.05

    counts = rng.multinomial(30, shares := rng.dirichlet([1.0, 1, 1], size=n))
    prior = Joint({("a", "b", "c"): Dirichlet([1.0, 1.0, 1.0])})
    rows = Rows(shares, counts.astype(np.float32), np.arange(n) % 10 == 9)
    info = TaskInfo("shares", prior.names, prior.bounds, ("",) * 3, (3,), constraints=prior.constraints)
    npe, _ = methods.fit(spec, info, Material(simulations=rows, prior=prior), Session(1, ("npe", 0)))
    of, draws = dirichlet([21, 9, 3]), npe.sample(np.array([[20, 8, 2]], np.float32), 4000, rng)[:, 0]
    sd = np.sqrt(of.var())
    assert (np.abs(draws.mean(axis=0) - of.mean()) < 0.35 * sd).all()
    assert (np.abs(np.log(draws.std(axis=0) / sd)) < 0.3).all()

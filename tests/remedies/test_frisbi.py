"""FRISBI: closed forms of the plan, real data that are simulations, a shift, leaks of labels, refusals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax

from tests.remedies.shifted_task import PRIOR, SHIFTED, rows, simulate, simulator
from veridical import methods, seeds
from veridical.errors import ArtifactError, TrainingError
from veridical.estimators.base import Material, Rows
from veridical.estimators.npe import NPE
from veridical.estimators.npe_settings import NPESettings
from veridical.remedies.frisbi import FRISBI, mixed
from veridical.remedies.frisbi_encoders import Cloud, transported
from veridical.remedies.frisbi_settings import FRISBISettings
from veridical.tasks.base import Array
from veridical.training.session import Session

FLOW = {"type": "mixture", "components": 3, "hidden": [16]}
BRIEF = {"steps": 4, "looks": 1, "repeats": 2, "simulations": 100, "rows": 500}
BRIEF |= {"posterior": {"flow": FLOW, "training": {"max_steps": 20}}}
SHORT = {"steps": 60, "looks": 5, "repeats": 10, "simulations": 1000, "rows": 8000}
SHORT |= {"posterior": {"flow": FLOW, "training": {"max_steps": 300}}}


def generator(*path: str | int) -> np.random.Generator:
    return seeds.generator(20261130, "test", "frisbi", *path)


def pairs(n: int, real: bool) -> Rows:
    return replace(rows(n, real, generator("pairs", n)), validation=np.zeros(n, bool))


def fit(npe: NPE, learned: Rows, real: bool = True, **settings: Any) -> FRISBI:
    spec = {"type": "frisbi", "of": "npe", **settings}
    unlabelled = None if settings.get("unlabelled", "real") is None else rows(100, real, generator("u")).x
    material = Material(
        simulations=rows(1000, False, generator("fit")),
        calibration=learned,
        parent=npe,
        prior=PRIOR,
        simulate=simulator(),
        unlabelled=unlabelled,
    )
    found = methods.fit(spec, SHIFTED, material, Session(1, ("frisbi", 0)))[0]
    assert isinstance(found, FRISBI)
    return found


def test_the_plan_is_that_of_costs_and_its_cost_has_the_gradient_of_the_optimum() -> None:
    """Weights by their formula; the gradient of what aligns is that of -gamma log mean exp(-C / gamma)."""
    cloud = Cloud.of(generator("cloud").normal(1.0, 2.0, (50, 3)))
    s, gamma = generator("s").normal(size=(4, 3)), np.array([0.02, 0.1, 0.5, 3.0])
    cost = ((s[:, None] - cloud.rows) ** 2).mean(axis=-1)
    np.testing.assert_allclose(mixed(s, cloud, gamma), softmax(-cost / gamma[:, None], axis=1), atol=1e-12)
    simulated = torch.from_numpy(cloud.rows)
    own, optimum = (torch.from_numpy(s).requires_grad_() for _ in range(2))
    transported(own, simulated, 0.3).backward()  # type: ignore[no-untyped-call]
    costs = (optimum[:, None] - simulated).square().mean(dim=-1)
    (-0.3 * torch.logsumexp(-costs / 0.3, dim=1)).mean().backward()  # type: ignore[no-untyped-call]
    assert own.grad is not None and optimum.grad is not None
    np.testing.assert_allclose(own.grad.numpy(), optimum.grad.numpy(), atol=1e-10)


def test_limits_of_gamma() -> None:
    """A large one mixes all simulations alike, which gives the prior; a small one takes the nearest alone."""
    cloud = Cloud.of(generator("limits").normal(size=(40, 2)))
    s = cloud.rows[:3] + 1e-3
    np.testing.assert_allclose(mixed(s, cloud, np.full(3, 1e5)), 1 / 40, rtol=1e-3)
    np.testing.assert_allclose(mixed(s, cloud, np.full(3, 1e-5)), np.eye(3, 40), atol=1e-6)


def test_what_is_distilled_is_the_mixture(npe: NPE) -> None:
    """At the largest gamma, wide: means and spreads of draws beside those of the mixture, by its components.

    The mean of a component is the parameter of its simulation but for 0.05 of noise.
    """
    found = fit(npe, pairs(20, True), **{**SHORT, "steps": 4, "gamma": 0.3, "least_gamma": 0.3})
    theta = np.linspace(0.2, 0.8, 4)[:, None]
    x = simulate(theta, generator("x")) + np.array([0.3, 0.6])
    fit_ = found.members[0]
    alone = replace(found, members=[fit_])
    weights = mixed(found.simulated.scaled(fit_.encoder(x)), found.simulated, np.full(4, 0.3))
    parts = rows(1000, False, generator("fit")).theta[:, 0]
    mean = weights @ parts
    sd = np.sqrt(weights @ parts**2 - mean**2 + 0.045**2)
    draws = alone.sample(x, 1000, generator("draws"))[..., 0]
    np.testing.assert_allclose(draws.mean(axis=0), mean, atol=0.04)
    np.testing.assert_allclose(draws.std(axis=0), sd, rtol=0.2)


def test_a_shift_is_put_right(npe: NPE) -> None:
    """The wrapped posterior is off by several of its widths; the prior's log density is 0."""
    found, test = fit(npe, pairs(50, True), **SHORT), rows(200, True, generator("test"))
    before, after = (one.log_prob(test.theta, test.x).mean() for one in (npe, found))
    assert after > 0.5 and after > before + 2


def test_data_of_the_simulator_leave_the_posterior_about_as_it_is(npe: NPE) -> None:
    """The exact posterior has sd 0.045; mixing and distilling may cost half a nat."""
    found = fit(npe, pairs(50, False), real=False, **SHORT)
    test = rows(200, False, generator("test"))
    gap = npe.log_prob(test.theta, test.x) - found.log_prob(test.theta, test.x)
    assert gap.mean() < 0.5
    assert all(member.gamma < 0.2 for member in found.members)


def test_answers_apart_have_not_seen_their_pairs(npe: NPE) -> None:
    """Labels of one fifth are changed: what answers this fifth stays as it is, to the bit."""
    learned, x, grid = pairs(20, True), rows(3, True, generator("x")).x, np.full((3, 1), 0.4)
    theta = learned.theta.copy()
    theta[::5] = 1 - theta[::5]
    changed = replace(learned, theta=theta)
    one, other = fit(npe, learned, **BRIEF), fit(npe, changed, **BRIEF)
    parts = zip(one.apart(learned), other.apart(changed), strict=True)
    same = [np.array_equal(a.log_prob(grid, x), b.log_prob(grid, x)) for (_, a), (_, b) in parts]
    assert same == [True, False, False, False, False]
    assert sorted(np.concatenate([held for held, _ in one.apart(learned)])) == list(range(20))
    with pytest.raises(TrainingError, match="are others"):
        one.apart(changed)


def test_an_answer_depends_on_its_observation_alone(npe: NPE) -> None:
    found = fit(npe, pairs(20, True), **BRIEF)
    x, grid = rows(5, True, generator("x")).x, np.full((5, 1), 0.4)
    alone = [found.log_prob(grid[i : i + 1], x[i : i + 1])[0] for i in range(5)]
    np.testing.assert_allclose(found.log_prob(grid, x), alone, atol=1e-10)


@pytest.mark.parametrize("inputs", ["real", "simulated"])
def test_pairs_alone_will_do(npe: NPE, inputs: str) -> None:
    """No unlabelled data, nothing that aligns; saved and loaded with the same bits."""
    found = fit(npe, pairs(20, True), unlabelled=None, alignment=0.0, inputs=inputs, **BRIEF)
    loaded = FRISBI.from_arrays(found.settings, SHIFTED, found.arrays(), npe)
    x, grid = rows(3, True, generator("x")).x, np.full((3, 1), 0.4)
    np.testing.assert_array_equal(found.log_prob(grid, x), loaded.log_prob(grid, x))


def failing(theta: Array, rng: np.random.Generator) -> Array:
    return np.full((len(theta), 2), np.nan, np.float32)


def test_refusals(npe: NPE) -> None:
    with pytest.raises(TrainingError, match="at least 10 labelled"):
        fit(npe, pairs(9, True))
    with pytest.raises(ValueError, match=r"least_gamma: expected at most gamma, 0\.01, got 0\.02"):
        FRISBISettings(of="npe", gamma=0.01, least_gamma=0.02)
    with pytest.raises(ValueError, match=r"posterior\.start"):
        FRISBISettings(of="npe", posterior={"start": "other"})
    settings = FRISBISettings(of="npe")
    joint = methods.typed("j_npe", {"type": "j_npe"})
    assert "has learned from the labelled pairs" in str(settings.misfit(joint, "joint"))
    assert settings.misfit(NPESettings(), "npe") is None
    known = Material(
        simulations=rows(100, False, generator("fit")),
        calibration=pairs(10, True),
        parent=npe,
        simulate=simulator(failing),
    )
    with pytest.raises(TrainingError, match="needs unlabelled"):
        methods.fit({"type": "frisbi", "of": "npe", **BRIEF}, SHIFTED, known, Session(1, ("f", 0)))
    spec = {"type": "frisbi", "of": "npe", "unlabelled": None, **BRIEF}
    with pytest.raises(TrainingError, match="all simulations at 10 of 10 labelled parameters failed"):
        methods.fit(spec, SHIFTED, known, Session(1, ("f", 0)))
    with pytest.raises(ArtifactError, match="expected the npe 'npe' beside it"):
        FRISBI.from_arrays(settings, SHIFTED, {})

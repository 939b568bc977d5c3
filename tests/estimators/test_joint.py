"""J-NPE: what its batches hold, when it stops, and what it makes of a wrong simulator."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from veridical import seeds
from veridical.errors import TrainingError
from veridical.estimators.base import Material, Rows, TaskInfo
from veridical.estimators.joint import HalfAndHalf, JointNPE
from veridical.estimators.joint_settings import JNPESettings
from veridical.estimators.npe_settings import NPESettings
from veridical.estimators.posterior_network import PosteriorNetwork
from veridical.networks.transforms import InputTransform
from veridical.tasks.base import Array
from veridical.training.session import Session, seeded_initialisation

RUN = Session(1, ("j", 0))
TASK = TaskInfo("shifted", ("a",), np.array([(-np.inf, np.inf)]), ("",), (1,))
SMALL = {"summary": {"type": "none"}, "flow": {"transforms": 1, "hidden": [16]}}
QUICK = {**SMALL, "training": {"max_steps": 20, "batch_size": 64}}
SD, SHIFT = 0.5, 2.0


def draw(rng: np.random.Generator, n: int, shift: float) -> tuple[Array, Array]:
    """Theta ~ N(0, 1), x ~ N(theta + shift, SD^2)."""
    theta = rng.normal(size=(n, 1))
    return theta, (theta + shift + SD * rng.normal(size=(n, 1))).astype(np.float32)


def material(rng: np.random.Generator, simulations: int, pairs: int) -> Material:
    theta, x = draw(rng, simulations, 0.0)
    theta_real, y = draw(rng, pairs, SHIFT)
    return Material(
        simulations=Rows(theta, x, np.arange(simulations) % 10 == 9),
        calibration=Rows(theta_real, y, np.zeros(pairs, bool)),
    )


def test_a_training_batch_is_half_simulations_half_pairs(rng: np.random.Generator) -> None:
    with seeded_initialisation(RUN):
        network = PosteriorNetwork(NPESettings.model_validate(SMALL), (1,), (0,))
    theta, x = (rng.normal(size=(6, 1)).astype(np.float32) for _ in range(2))
    both = HalfAndHalf(network, theta[3:], x[3:])
    a, b = torch.from_numpy(theta), torch.from_numpy(x)
    with torch.no_grad():
        joint = both.loss(a[:3], b[:3], torch.tensor([2, 2, 0]))
        expected = 0.5 * (network.loss(a[:3], b[:3]) + network.loss(a[[5, 5, 3]], b[[5, 5, 3]]))
        assert both.loss(a[:3], b[:3]) == network.loss(a[:3], b[:3]), "a validation batch is itself"
    torch.testing.assert_close(joint, expected)
    assert all(name.startswith("posterior.") for name in both.state_dict()), "pairs are no weights"


def test_inputs_are_standardised_over_both_halves_of_what_is_learned_from() -> None:
    """Nine in ten of 300 simulations and four in five of 30 pairs, each half with the same weight."""
    given = material(seeds.generator(5, "test"), 300, 30)
    assert given.simulations is not None and given.calibration is not None
    learn = given.simulations.x[~given.simulations.validation]
    pairs = given.calibration.x[np.arange(30) % 5 != 4]
    both = InputTransform.fit(
        np.concatenate([np.repeat(learn, 24, axis=0), np.repeat(pairs, 270, axis=0)]), "none"
    )
    found = JointNPE.fit(JNPESettings(**QUICK), TASK, given, RUN)[0].inputs
    np.testing.assert_allclose(found.mean, both.mean)
    np.testing.assert_allclose(found.scale, both.scale)


def test_the_minimum_is_the_posterior_of_the_mixture(rng: np.random.Generator) -> None:
    """With many pairs: x comes with equal odds from the simulator or from nature, shifted by two.

    p(theta | x) = [N(x; 0, v) p_0(theta | x) + N(x; s, v) p_s(theta | x)] / [N(x; 0, v) + N(x; s, v)].
    """
    spec = {"summary": {"type": "none"}, "training": {"max_steps": 300, "rounds": 10}}
    estimator, result = JointNPE.fit(JNPESettings(**spec), TASK, material(rng, 6000, 3000), RUN)
    gaps = []
    for shift in (0.0, SHIFT):
        theta, x = draw(rng, 2000, shift)
        exact = mixture_log_prob(theta, x)
        gaps.append(exact - estimator.log_prob(theta, x))
    gap = np.concatenate(gaps)
    assert -4 * gap.std() / np.sqrt(len(gap)) < gap.mean() < 0.06
    best = result.rounds[result.best]["validation_loss"]
    assert best == pytest.approx(-exact.mean(), abs=4 * exact.std() / np.sqrt(600) + 0.06), (
        "of pairs held out"
    )


def mixture_log_prob(theta: Array, x: Array) -> Array:
    """Exact log densities (N,) of theta (N, 1) given x (N, 1) of either kind."""
    v, ratio = 1 + SD**2, 1 / (1 + SD**2)
    marginal = [-0.5 * (x - s) ** 2 / v for s in (0.0, SHIFT)]
    posterior = [-0.5 * (theta - ratio * (x - s)) ** 2 / (ratio * SD**2) for s in (0.0, SHIFT)]
    joint = np.logaddexp(marginal[0] + posterior[0], marginal[1] + posterior[1])
    return (joint - np.logaddexp(*marginal) - 0.5 * np.log(2 * np.pi * ratio * SD**2))[:, 0]


def test_it_stops_at_the_best_look_on_pairs_held_out(rng: np.random.Generator) -> None:
    """Ten pairs are soon overfitted: the weights kept are an early look's, with many looks to choose from."""
    spec = {**SMALL, "training": {"max_steps": 300, "patience": 20, "batch_size": 64}}
    _, result = JointNPE.fit(JNPESettings(**spec), TASK, material(rng, 500, 10), RUN)
    losses = [look["validation_loss"] for look in result.rounds]
    assert len(losses) > 20 and result.best == int(np.argmin(losses))


def test_what_cannot_be_fitted_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(TrainingError, match="'j_npe' needs at least 10 calibration pairs, got 5"):
        JointNPE.fit(JNPESettings(**QUICK), TASK, material(rng, 100, 5), RUN)
    with pytest.raises(TrainingError, match="needs calibration"):
        JointNPE.fit(JNPESettings(**QUICK), TASK, Material(material(rng, 100, 10).simulations), RUN)

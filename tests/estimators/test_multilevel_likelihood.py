"""ML-NLE: the telescoping sum in closed form, whole numbers and elements of pairs, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from tests.estimators.test_multilevel import STUDY, UNCOUPLED
from tests.remedies.shifted_task import PRIOR, SHIFTED, coupled
from veridical.errors import SettingError, TrainingError
from veridical.estimators.base import CoupledRows, Material, Rows
from veridical.estimators.multilevel_likelihood import (
    MultilevelNLE,
    TelescopedLikelihood,
    continuous,
    elements,
)
from veridical.estimators.multilevel_likelihood_settings import MultilevelNLESettings
from veridical.estimators.nle import NLE, DataDensity
from veridical.estimators.nle_settings import NLESettings
from veridical.estimators.sampled import LikelihoodNetwork
from veridical.study import settings
from veridical.study.layout import Layout
from veridical.study.validation import validate
from veridical.tasks.base import Array
from veridical.training.session import Session, seeded_initialisation

RUN = Session(1, ("ml", 0))
SMALL: dict[str, Any] = {
    "lower": {"low": 100},
    "flow": {"transforms": 1, "hidden": [8], "bins": 4},
    "training": {"max_steps": 6, "rounds": 2},
}
FAMILIES = ("spline", "maf", "coupling", "mixture")
SLOPE, VARIANCE = 0.7, 0.5  # of the likelihood q(x | z) = N(SLOPE z, VARIANCE)
NOISE = {0: 0.9, 1: 0.5, 2: 0.4}  # x = z + NOISE e at each level; z and e ~ N(0, 1)


class Linear(LikelihoodNetwork):
    """The likelihood, whose one weight is its slope."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(SLOPE, dtype=torch.float64))

    def log_likelihood(self, z: Tensor, context: Tensor) -> Tensor:
        return torch.distributions.Normal(self.slope * z, VARIANCE**0.5).log_prob(context).sum(-1)


def simulate(rng: np.random.Generator, n: int, *levels: int) -> tuple[Array, ...]:
    z, e = rng.normal(size=(2, n, 1))
    return z, *(z + NOISE[level] * e for level in levels)


def each(z: Array, x: Array) -> Array:
    return np.asarray(0.5 * np.log(2 * np.pi * VARIANCE) + ((x - SLOPE * z) ** 2)[:, 0] / (2 * VARIANCE))


# ---- the loss --------------------------------------------------------------------------------------------


def test_its_mean_is_the_risk_at_the_dearest_level(rng: np.random.Generator) -> None:
    """E -log q = log(2 pi v) / 2 + ((1 - s)^2 + sd^2) / (2 v); four standard errors of independent terms."""
    risk = {
        level: 0.5 * np.log(2 * np.pi * VARIANCE) + ((1 - SLOPE) ** 2 + sd**2) / (2 * VARIANCE)
        for level, sd in NOISE.items()
    }
    base, *pairs = (simulate(rng, 20_000, 0), simulate(rng, 8_000, 1, 0), simulate(rng, 4_000, 2, 1))
    loss = TelescopedLikelihood(Linear(), pairs, rescaled=False)
    numbers = [torch.arange(20_000) % len(z) for z, *_ in pairs]
    with torch.no_grad():
        found = float(loss.loss(*map(torch.from_numpy, base), *numbers))
    spreads = [each(*base).var() / len(base[0])]
    spreads += [(each(z, x) - each(z, below)).var() / len(z) for z, x, below in pairs]
    error = float(np.sqrt(sum(spreads)))
    assert error < 0.03
    assert found == pytest.approx(risk[2], abs=4 * error)
    assert abs(risk[0] - risk[2]) > 8 * error, "the cheapest level alone would be told apart"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_plain_gradient_is_the_sum_of_those_of_the_terms(rng: np.random.Generator, family: str) -> None:
    """In double precision, to its rounding; rescaled, it is another one."""
    small = {"components": 2} if family == "mixture" else {"transforms": 1}
    given = NLESettings(flow={"type": family, "hidden": [4], **small})
    with seeded_initialisation(RUN):
        network = DataDensity(given.flow, 2, 1).double()
    for part in network.parameters():  # families may begin where gradients vanish
        part.data += 0.3 * torch.from_numpy(rng.normal(size=part.shape))
    (z, x), (pz, px, below) = (
        (rng.normal(size=(n, k)) for k in widths) for n, widths in ((6, (1, 2)), (4, (1, 2, 2)))
    )
    batch = (torch.from_numpy(z), torch.from_numpy(x), torch.arange(6) % 4)
    wanted = [torch.zeros_like(part) for part in network.parameters()]
    for sign, theta, data in ((1, z, x), (1, pz, px), (-1, pz, below)):
        loss = network.loss(torch.from_numpy(theta), torch.from_numpy(data))
        own = torch.autograd.grad(loss, list(network.parameters()))
        wanted = [total + sign * part for total, part in zip(wanted, own, strict=True)]
    gradients = []
    for rescaled in (False, True):
        network.zero_grad()
        TelescopedLikelihood(network, [(pz, px, below)], rescaled).accumulate(*batch)
        gradients.append([part.grad.clone() for part in network.parameters()])
    plain, careful = gradients
    for found, expected in zip(plain, wanted, strict=True):
        torch.testing.assert_close(found, expected)
    assert any(not torch.allclose(a, b) for a, b in zip(plain, careful, strict=True))


def test_with_equal_levels_it_is_nle(rng: np.random.Generator) -> None:
    """Corrections of equal levels vanish: the weights after all steps are those of NLE on the same rows."""
    top = coupled(300, rng, "low")[-1]
    levels = (
        Rows(top.theta, top.x, top.validation),
        CoupledRows(**{**vars(top), "below": top.x, "score": None}),
    )
    training = {"max_steps": 6, "batch_size": 100, "rounds": 2}
    given = MultilevelNLESettings(**{**SMALL, "training": training})
    found, _ = MultilevelNLE.fit(given, SHIFTED, Material(levels=levels, prior=PRIOR), RUN)
    same = given.training.model_dump()
    plain, _ = NLE.fit(
        NLESettings(flow=SMALL["flow"], training=same), SHIFTED, Material(levels[0], prior=PRIOR), RUN
    )
    assert isinstance(found, MultilevelNLE)
    for name, array in plain.arrays().items():
        np.testing.assert_allclose(found.arrays()[name], array, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(("gradients", "left"), [("plain", 0.1), ("rescaled", 0.15)])
def test_it_answers_for_the_dearest_level(rng: np.random.Generator, gradients: str, left: float) -> None:
    """x is (theta, 2 theta) + N(0, 0.1^2); the cheap level lies 0.3 and 0.6 off, 0.3 in theta.

    Maxima of likelihoods of six seeds were off by 0.06 at most, and rescaled by 0.03 to 0.11 towards the
    cheap level: its gradients are biased.

    """
    top = coupled(600, rng, "low")[-1]
    below = (top.x - np.array([0.3, 0.6])).astype(np.float32)
    levels = (
        Rows(top.theta, below, top.validation),
        CoupledRows(**{**vars(top), "below": below}).at(slice(300)),
    )
    flow, training = {"type": "mixture", "components": 1, "hidden": [8]}, {"learning_rate": 0.02}
    changes = {"flow": flow, "training": training, "gradients": gradients}
    found, _ = MultilevelNLE.fit(
        MultilevelNLESettings(**{**SMALL, **changes}), SHIFTED, Material(levels=levels, prior=PRIOR), RUN
    )
    theta, x = np.linspace(0.02, 0.98, 97)[:, None], np.array([[0.3, 0.6], [0.5, 1.0], [0.7, 1.4]])
    log_l = found.log_likelihood(np.repeat(theta[:, None], 3, axis=1), x)
    np.testing.assert_allclose(theta[log_l.argmax(axis=0), 0], [0.3, 0.5, 0.7], atol=left)


# ---- rows ------------------------------------------------------------------------------------------------


def test_both_of_a_pair_get_the_same_noise(rng: np.random.Generator) -> None:
    """Number 0 is whole at both levels, 1 at the cheaper one alone, 2 at none."""
    n, theta, mask = 50, rng.random((50, 1)), np.arange(50) % 10 == 9
    low, high = rng.integers(0, 9, (2, n, 3)).astype(float)
    low[:, 2] += 0.25
    high[:, 1:] += 0.25
    levels = [Rows(theta, low, mask), CoupledRows(theta, high, mask, below=low)]
    base, pair = continuous(levels, MultilevelNLESettings(**SMALL), RUN)
    assert isinstance(pair, CoupledRows)
    np.testing.assert_allclose((pair.x - pair.below)[:, 0], (high - low)[:, 0])
    np.testing.assert_array_equal(pair.x[:, 1:], high[:, 1:])
    np.testing.assert_array_equal(base.x[:, 2], low[:, 2])
    for changed in (base.x[:, :2] - low[:, :2], (pair.below - low)[:, :2]):
        assert (np.abs(changed) <= 0.5).all() and (changed != 0).all()
    same = continuous(levels, MultilevelNLESettings(**SMALL, counts=False), RUN)
    assert all(np.array_equal(a.x, b.x) for a, b in zip(same, levels, strict=True))


def test_elements_of_pairs_stay_together(rng: np.random.Generator) -> None:
    *_, pair = coupled(20, rng, "low")
    found = elements(pair, MultilevelNLESettings(**SMALL, independent=0))
    assert isinstance(found, CoupledRows) and found.x.shape == found.below.shape == (40,)
    np.testing.assert_array_equal(found.x, pair.x.T.ravel())
    np.testing.assert_array_equal(found.below, pair.below.T.ravel())
    np.testing.assert_array_equal(found.theta, np.tile(pair.theta, (2, 1)))


# ---- refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["augment", "streaming", "captured"])
def test_training_that_does_not_suit_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match=f"{name}: not for a method of type 'ml_nle'"):
        MultilevelNLESettings(**{**SMALL, "training": {name: 1}})


def test_what_cannot_be_learned_stops_it(rng: np.random.Generator) -> None:
    given, levels = MultilevelNLESettings(**SMALL), coupled(100, rng, "low")
    with pytest.raises(TrainingError, match="expected simulations of 2 levels"):
        MultilevelNLE.fit(given, SHIFTED, Material(levels=levels[:1], prior=PRIOR), RUN)
    levels[0].x[:, 1] = 0.5
    with pytest.raises(TrainingError, match="number 1 takes one value in all 100 rows"):
        MultilevelNLE.fit(given, SHIFTED, Material(levels=levels, prior=PRIOR), RUN)


def test_levels_that_are_not_coupled_stop_a_study() -> None:
    changes = {"task": UNCOUPLED, "estimators": {"ml": {"type": "ml_nle", "lower": {"lf": 1000}}}}
    with pytest.raises(SettingError, match="type 'ml_nle' expects levels that share their random numbers"):
        validate(Layout(settings.parse({**STUDY, **changes})))

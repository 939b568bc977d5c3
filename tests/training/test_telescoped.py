"""The telescoping sum: its value, its spread, and how gradients of its terms are put together."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from veridical.estimators.npe_settings import NPESettings
from veridical.estimators.posterior_network import PosteriorNetwork
from veridical.networks.trainable import Trainable
from veridical.tasks.base import Array
from veridical.training import fitting
from veridical.training.session import Session, seeded_initialisation
from veridical.training.settings import TrainingSettings
from veridical.training.telescoped import Telescoped, combined, projected, rescaled

RUN = Session(1, ("ml", 0))
SLOPE, VARIANCE = 0.7, 0.5  # of the answer q(theta | x) = N(SLOPE x, VARIANCE)
NOISE, LEVELS = {0: 0.9, 1: 0.5, 2: 0.4}, (0, 1, 2)  # x = theta + NOISE e at each level, e ~ N(0, 1)


class Linear(Trainable):
    """The answer, whose one weight is its slope."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(SLOPE, dtype=torch.float64))
        self.summary = nn.Identity()
        self.flow: Any = SimpleNamespace(log_prob=self.log_prob)

    def log_prob(self, theta: Tensor, context: Tensor) -> Tensor:
        normal = torch.distributions.Normal(self.slope * context, VARIANCE**0.5)
        return normal.log_prob(theta).sum(-1)


def simulate(rng: np.random.Generator, n: int, *levels: int) -> tuple[Array, ...]:
    """Theta ~ N(0, 1), and x of each level with the same random numbers; (n, 1) each."""
    theta, e = rng.normal(size=(2, n, 1))
    return theta, *(theta + NOISE[level] * e for level in levels)


def risk(level: int) -> float:
    """The mean of -log q over theta and x of a level."""
    left = (1 - SLOPE) ** 2 + (SLOPE * NOISE[level]) ** 2
    return float(0.5 * np.log(2 * np.pi * VARIANCE) + left / (2 * VARIANCE))


def each(theta: Array, x: Array) -> Array:
    return np.asarray(0.5 * np.log(2 * np.pi * VARIANCE) + ((theta - SLOPE * x) ** 2)[:, 0] / (2 * VARIANCE))


# ---- value and spread ------------------------------------------------------------------------------------


def test_its_mean_is_the_risk_at_the_dearest_level(rng: np.random.Generator) -> None:
    """Three levels; four standard errors of the sum of independent terms, which are at most 0.02."""
    base, *pairs = (simulate(rng, 20_000, 0), simulate(rng, 8_000, 1, 0), simulate(rng, 4_000, 2, 1))
    network = Telescoped(Linear(), pairs, rescaled=False)
    numbers = [torch.arange(20_000) % len(theta) for theta, *_ in pairs]
    with torch.no_grad():
        found = float(network.loss(*map(torch.from_numpy, base), *numbers))
    spreads = [each(*base).var() / len(base[0])]
    spreads += [(each(theta, x) - each(theta, below)).var() / len(theta) for theta, x, below in pairs]
    error = float(np.sqrt(sum(spreads)))
    assert error < 0.02
    assert found == pytest.approx(risk(2), abs=4 * error)
    assert abs(risk(0) - risk(2)) > 8 * error, "the cheapest level alone would be told apart"


def test_rows_that_are_not_coupled_raise_the_variance_of_a_correction(rng: np.random.Generator) -> None:
    """With u = theta - SLOPE x at two levels, of variances a, b and covariance c,

    Var(u^2 - v^2) = 2 a^2 + 2 b^2 - 4 c^2. Fault: noise of its own at the level below (c by theta alone).
    The variance of a sum of squares of normals has a relative error of at most sqrt(14 / n): 6 per cent here
    for four of them, 12 for the ratio of two.
    """
    a, b = ((1 - SLOPE) ** 2 + (SLOPE * NOISE[level]) ** 2 for level in (1, 0))
    both = (1 - SLOPE) ** 2 + SLOPE**2 * NOISE[0] * NOISE[1]
    expected = (a**2 + b**2 - 2 * (1 - SLOPE) ** 4) / (a**2 + b**2 - 2 * both**2)
    n = 60_000
    theta, x, below = simulate(rng, n, 1, 0)
    apart = theta + NOISE[0] * rng.normal(size=(n, 1))
    spread, fault = (np.var(each(theta, x) - each(theta, low)) for low in (below, apart))
    assert expected > 1.3
    assert fault / spread == pytest.approx(expected, rel=0.12)


# ---- levels that are equal -------------------------------------------------------------------------------


def posterior() -> PosteriorNetwork:
    spec = {"summary": {"type": "none"}, "base": "none", "flow": {"transforms": 1, "hidden": [8], "bins": 4}}
    with seeded_initialisation(RUN):
        return PosteriorNetwork(NPESettings.model_validate(spec), (2,), (0, 0))


@pytest.mark.parametrize("kind", [True, False], ids=["rescaled", "plain"])
def test_corrections_of_equal_levels_vanish(rng: np.random.Generator, kind: bool) -> None:
    """So that the weights after some steps are those of NPE on the cheapest level."""
    theta, x = rng.normal(size=(2, 60, 2)).astype(np.float32)
    pair = theta[:40], x[:40], x[:40]
    held = theta[40:], x[40:]
    settings = TrainingSettings(max_steps=6, batch_size=15, rounds=2, patience=100)
    plain, summed = posterior(), posterior()
    fitting.fit(plain, fitting.Data((theta[:40], x[:40]), held), settings, RUN)
    numbers = np.arange(40)[::-1].copy()
    data = fitting.Data((theta[:40], x[:40], numbers, numbers), (*held, np.ones(20, np.float32)))
    fitting.fit(Telescoped(summed, [pair, pair], kind), data, settings, RUN)
    for name, weight in plain.state_dict().items():
        tolerance = 0.0 if kind else 1e-6  # where gradients are summed, in another order
        torch.testing.assert_close(summed.state_dict()[name], weight, rtol=0, atol=tolerance)
    moved = zip(plain.parameters(), posterior().parameters(), strict=True)
    assert not all(torch.equal(after, before) for after, before in moved)


def test_pairs_are_no_weights_and_all_of_few_are_taken_once(rng: np.random.Generator) -> None:
    pairs = [simulate(rng, 5, 1, 0), simulate(rng, 3, 2, 1)]
    network, base = Telescoped(Linear(), pairs, False), simulate(rng, 4, 0)
    assert all(name.startswith("posterior.") for name in network.state_dict())
    few = torch.tensor([4, 4, 0, 1])
    found = [term.item() for term in network.terms(*map(torch.from_numpy, base), few, few % 3)]
    (theta, x, below), (last, high, low) = pairs
    means = [each(*base), each(theta, x)[few], each(theta, below)[few], each(last, high), each(last, low)]
    np.testing.assert_allclose(found, [float(part.mean()) for part in means])


# ---- gradients -------------------------------------------------------------------------------------------


def vector(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def test_a_vector_gets_the_norm_of_another() -> None:
    torch.testing.assert_close(rescaled(vector(0, -10), vector(3, 4)), vector(0, -5))
    torch.testing.assert_close(rescaled(vector(0, 0), vector(3, 4)), vector(0, 0))


def test_opposed_vectors_lose_what_lies_along_the_other() -> None:
    """<(2, 0), (-1, 1)> = -2: (-1, 1) + (2, 0) / 2 = (0, 1), and (2, 0) + (-1, 1) = (1, 1)."""
    first, second = projected(vector(2, 0), vector(-1, 1))
    torch.testing.assert_close(first, vector(1, 1))
    torch.testing.assert_close(second, vector(0, 1))
    for other in (vector(1, 1), vector(0, 3), vector(0, 0)):
        for found, given in zip(projected(vector(2, 0), other), (vector(2, 0), other), strict=True):
            assert torch.equal(found, given), "what is not opposed stays"


def test_the_direction_of_a_step_by_hand() -> None:
    """g+ = (0, 2) and (1, 0), g- = (-10, 0), at norm 2, and (0, -9), at norm 1: g_c = (-1, 1)."""
    step = combined(vector(2, 0), [vector(0, 2), vector(1, 0)], [vector(-10, 0), vector(0, -9)])
    torch.testing.assert_close(step, vector(1, 2))
    agree = combined(vector(2, 0), [vector(0, 2)], [vector(30, 0)])
    torch.testing.assert_close(agree, vector(4, 2))


def test_gradients_of_a_batch_are_those_by_hand(rng: np.random.Generator) -> None:
    """One weight: the negative term's gradient becomes -+|g+|, and opposed numbers project to nothing."""
    pair, base = simulate(rng, 6, 1, 0), simulate(rng, 10, 0)
    batch = (*map(torch.from_numpy, base), torch.arange(10) % 6)
    plain, careful = (Telescoped(Linear(), [pair], kind) for kind in (False, True))
    losses = [network.accumulate(*batch) for network in (plain, careful)]
    torch.testing.assert_close(*losses)

    def slope(theta: Array, x: Array) -> float:
        return float((-(theta - SLOPE * x) * x).mean() / VARIANCE)

    g0, above, below = slope(*base), slope(pair[0], pair[1]), slope(pair[0], pair[2])
    assert float(plain.posterior.slope.grad) == pytest.approx(g0 + above - below)
    correction = above - np.sign(below) * abs(above)
    expected = g0 + correction if g0 * correction >= 0 else 0.0
    assert float(careful.posterior.slope.grad) == pytest.approx(expected)


class Width(Linear):
    """The answer N(x, v), whose one weight is log v."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def log_prob(self, theta: Tensor, context: Tensor) -> Tensor:
        left = (theta - context).square() / (2 * self.slope.exp())
        return (-0.5 * self.slope - left).sum(-1)


def test_the_plain_loss_has_no_lower_bound_where_rescaled_gradients_settle() -> None:
    """Squares of 1 at the base and above and of 4 below: L = (log v - 2 / v) / 2 falls without end as v does.

    Rescaled, the negative term is as long as its positive partner, which vanishes with the base's at v = 1.
    """
    base, pair = (
        (np.zeros((4, 1)), np.ones((4, 1))),
        (np.zeros((4, 1)), np.ones((4, 1)), np.full((4, 1), 2.0)),
    )
    batch, ends = (*map(torch.from_numpy, base), torch.arange(4)), []
    for kind, steps in ((False, 9), (True, 200)):
        network = Telescoped(Width(), [pair], kind)
        for _ in range(steps):
            network.zero_grad(set_to_none=True)
            loss = network.accumulate(*batch)
            with torch.no_grad():
                network.posterior.slope -= 0.1 * network.posterior.slope.grad
        ends.append((loss.item(), network.posterior.slope.exp().item()))
    (fallen, narrow), (_, settled) = ends
    assert fallen < -3 and narrow < 0.3
    assert settled == pytest.approx(1, abs=1e-4)


def test_judged_rows_are_weighed(rng: np.random.Generator) -> None:
    network, (theta, x) = Telescoped(Linear(), [], True), simulate(rng, 3, 0)
    weight = np.array([1.0, -2.0, 0.5])
    with torch.no_grad():
        found = network.losses_on_same(*map(torch.from_numpy, (theta, x, weight)))
    assert float(found) == pytest.approx((weight * each(theta, x)).mean())

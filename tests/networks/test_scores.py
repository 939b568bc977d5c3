"""Scoring rules against their identities and closed forms; quantiles as a density."""

from __future__ import annotations

from functools import partial
from statistics import NormalDist

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from veridical import seeds
from veridical.networks import scores

LEVELS = [0.2, 0.5, 0.8, 0.95]


def numbers(*shape: int) -> torch.Tensor:
    return torch.from_numpy(seeds.generator(0, "test", "scores", *shape).standard_normal(shape))


def test_the_score_of_an_interval_is_that_of_its_two_ends() -> None:
    z, lower = numbers(50), numbers(50, 3)
    upper, level = lower + numbers(50, 3).abs(), torch.tensor([0.5, 0.8, 0.9], dtype=torch.float64)
    low, high = (1 - level) / 2, (1 + level) / 2
    both = scores.pinball(lower, z, low) + scores.pinball(upper, z, high)
    torch.testing.assert_close(scores.interval(lower, upper, z, level), 2 / (1 - level) * both)


@pytest.mark.parametrize("level", [0.05, 0.5, 0.9])
def test_pinball_is_least_at_the_quantile(level: float) -> None:
    """The gradient there is the share below minus the level, zero to the error of 200,000 draws."""
    z, normal = numbers(200_000), NormalDist().inv_cdf(level)
    for moved, sign in ((0.0, 0), (0.1, 1), (-0.1, -1)):
        q = torch.tensor([normal + moved], dtype=torch.float64, requires_grad=True)
        scores.pinball(q.expand(len(z), 1), z, torch.tensor([level])).mean().backward()
        assert q.grad is not None
        error = 4.5 * (level * (1 - level) / len(z)) ** 0.5
        assert abs(q.grad.item()) < error if sign == 0 else sign * q.grad.item() > error


def quantiles(score: str = "quantile", at_start: bool = False) -> scores.Quantiles:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        made = scores.Quantiles(2, 3, [8], LEVELS, score).double()
    if at_start:
        for parameter in made.parameters():
            torch.nn.init.zeros_(parameter)
    return made


def test_a_silent_network_gives_a_standard_normal() -> None:
    q, theta = quantiles(at_start=True), numbers(20, 2) * 3
    expected = [NormalDist().inv_cdf(0.5 + s * level / 2) for s, level in [(-1, v) for v in LEVELS[::-1]]]
    torch.testing.assert_close(
        q.quantiles(numbers(1, 3))[0, 0, :4], torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=0
    )
    log_p = -0.5 * theta.square().sum(-1) - torch.log(torch.tensor(2 * torch.pi, dtype=torch.float64))
    torch.testing.assert_close(q.log_prob(theta, numbers(20, 3)), log_p, rtol=1e-5, atol=1e-5)


def test_draws_follow_the_density_and_the_quantiles() -> None:
    """Each marginal by Kolmogorov and Smirnov against its own pieces; shares below quantiles are levels."""
    q, context = quantiles(), numbers(1, 3)
    draws, log_p = q.push(numbers(20_000, 2), context, torch.zeros(20_000, dtype=torch.long))
    assert log_p is not None
    torch.testing.assert_close(q.log_prob(draws, context.expand(20_000, 3)), log_p)
    learned = q.quantiles(context)[0]
    assert (learned.diff(dim=-1) > 0).all()
    for j in range(2):
        below = (draws[:, j, None] < learned[j]).double().mean(0)
        torch.testing.assert_close(below, q.levels, rtol=0, atol=4.5 * 0.5 / 20_000**0.5)
        grid = torch.linspace(-15, 15, 6001, dtype=torch.float64)
        both = torch.zeros(6001, 2, dtype=torch.float64)
        both[:, j] = grid
        density = q.log_prob(both, context.expand(6001, 3)).exp().detach()
        mass = torch.cumulative_trapezoid(density, grid)
        cdf = partial(np.interp, xp=grid[1:].numpy(), fp=(mass / mass[-1]).numpy())
        assert kstest(draws[:, j].numpy(), cdf).pvalue > 1e-4


@pytest.mark.parametrize("score", ["quantile", "interval"])
def test_the_loss_is_the_mean_of_its_parts_and_pulls_at_every_weight(score: str) -> None:
    q, theta, context = quantiles(score), numbers(30, 2), numbers(30, 3)
    loss = q.loss(theta, context)
    found, m = q.quantiles(context), len(LEVELS)
    if score == "quantile":
        expected = scores.pinball(found, theta, q.levels).mean(-1).sum(-1).mean()
    else:
        ends = [(found[..., m - 1 - i], found[..., m + 1 + i], level) for i, level in enumerate(LEVELS)]
        each = [scores.interval(a[..., None], b[..., None], theta, torch.tensor([v])) for a, b, v in ends]
        median = scores.pinball(found[..., m : m + 1], theta, torch.tensor([0.5]))
        expected = (torch.cat(each, -1).mean(-1) + median[..., 0]).sum(-1).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    loss.backward()
    assert all((p.grad != 0).any() for p in q.parameters())

"""Losses of ratios: least at the true ratio, constant included, by adding up a table of probabilities."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from veridical.networks import ratio

COUNTS = torch.tensor([[3, 1], [1, 2], [1, 4]])  # of z and x together, of 12
K = 2


def columns(f: torch.Tensor) -> torch.Tensor:
    """f at every joint pair with every two independent z, each as often as it is probable: (1 + K, 12^3)."""
    pairs = [(z, x) for z in range(3) for x in range(2) for _ in range(int(COUNTS[z, x]))]
    others = [z for z in range(3) for _ in range(int(COUNTS[z].sum()))]
    all_of = [(z, first, second, x) for (z, x), first, second in product(pairs, others, others)]
    index = torch.tensor(all_of).T
    return torch.stack([f[index[k], index[3]] for k in range(1 + K)])


def truth() -> torch.Tensor:
    p = COUNTS.double() / 12
    return (p / (p.sum(1, keepdim=True) * p.sum(0, keepdim=True))).log()


LOSSES = {
    "binary": ratio.binary,
    "contrastive": lambda f: ratio.contrastive(f, 1.0),
    "contrastive, odds of 3": lambda f: ratio.contrastive(f, 3.0),
    "balanced": lambda f: ratio.balanced(f, 100.0),
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_is_least_at_the_ratio_and_its_constant(name: str) -> None:
    f = truth().requires_grad_(True)
    loss = LOSSES[name](columns(f))
    loss.backward()
    assert f.grad is not None and f.grad.abs().max() < 1e-12
    for change in (torch.full((3, 2), 0.1), torch.tensor([[0.1, 0], [0, 0], [0, -0.1]])):
        assert LOSSES[name](columns(truth() + change)) > loss + 1e-4
        assert LOSSES[name](columns(truth() - change)) > loss + 1e-4


def test_one_contrast_at_even_odds_is_half_of_the_binary_loss() -> None:
    f = torch.linspace(-3, 5, 40, dtype=torch.float64).reshape(2, 20)
    torch.testing.assert_close(ratio.contrastive(f, 1.0), ratio.binary(f) / 2)


def test_the_penalty_of_a_balanced_loss_is_that_of_its_sum() -> None:
    f = torch.tensor([[2.0, 1.0], [0.5, -1.0]])
    off = f[0].sigmoid().mean() + f[1].sigmoid().mean() - 1
    torch.testing.assert_close(ratio.balanced(f, 7.0) - ratio.binary(f), 7 * off**2)


@pytest.mark.parametrize("name", LOSSES)
def test_ratios_of_any_size_have_finite_losses(name: str) -> None:
    f = torch.tensor([[500.0, -500.0], [-500.0, 500.0], [0.0, 0.0]])
    assert torch.isfinite(LOSSES[name](f))

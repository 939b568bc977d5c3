"""Flows over discrete and continuous numbers: probabilities that sum to one, draws that have them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, norm

from veridical import seeds
from veridical.networks.mixed import MixedFlow, _log_normal_cdf
from veridical.networks.trainable import Stack, Trainable

SETTINGS = {"type": "spline", "transforms": 2, "bins": 4, "hidden": [8], "affine": True}


OTHERS = {
    "mixture": {"type": "mixture", "components": 3, "hidden": [8]},
    "diffusion": {"type": "diffusion", "width": 8, "blocks": 1, "steps": 20, "sampler": "ode"},
    "consistency": {"type": "consistency", "width": 8, "blocks": 1, "sizes": 5, "steps": 3},
}


def flow(*cells: int, seed: int = 0, rest: str = "spline") -> MixedFlow:
    """A flow with weights larger than at the start, so that no two values are alike."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = MixedFlow(cells, 2, OTHERS.get(rest, SETTINGS))
        for weights in made.parameters():
            weights.data += 0.1 * torch.randn_like(weights)
    return made.double().requires_grad_(False)


CONTEXT = torch.tensor([[0.3, -1.0]], dtype=torch.float64)


def masses(made: MixedFlow, grid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """All values of the discrete numbers, and their probabilities by integration over a continuous one."""
    values = torch.cartesian_prod(*(torch.arange(n, dtype=torch.float64) for n in made.cells))
    values = values.reshape(-1, len(made.cells))
    width = len(made.discrete) + len(made.continuous)
    z = torch.zeros(len(values), len(grid), width, dtype=torch.float64)
    z[..., made.discrete] = values[:, None]
    if made.continuous:
        z[..., made.continuous] = grid[:, None]
    p = (
        made.log_prob(z.reshape(-1, width), CONTEXT.expand(len(values) * len(grid), 2))
        .exp()
        .reshape(z.shape[:2])
    )
    return values, torch.trapezoid(p, grid, dim=1) if made.continuous else p[:, 0]


@pytest.mark.parametrize(
    ("cells", "rest"),
    [
        ((6,), "spline"),
        ((6, 3), "spline"),
        ((2, 0, 40), "spline"),
        ((0, 5), "spline"),
        ((0, 5), "mixture"),
        ((0, 5), "diffusion"),
    ],
)
def test_probabilities_sum_to_one_and_draws_have_them(cells: tuple[int, ...], rest: str) -> None:
    made = flow(*cells, rest=rest)
    grid = torch.linspace(-14, 14, 2801, dtype=torch.float64) if 0 in cells else torch.zeros(1).double()
    values, p = masses(made, grid)
    error = 2e-2 if rest == "diffusion" else 2e-5 if 0 in cells else 1e-12
    assert p.sum().item() == pytest.approx(1, abs=error)
    n = 20_000
    rng = seeds.generator(0, "test", "mixed", *cells)
    noise = torch.from_numpy(rng.standard_normal((n, made.draw_noise)))
    z, log_p = made.push(noise, CONTEXT, torch.zeros(n, dtype=torch.long))
    apart = (log_p - made.log_prob(z, CONTEXT.expand(n, 2))).abs()
    assert (apart < (0.05 if rest == "diffusion" else 1e-5)).all()
    number = np.ravel_multi_index(z[:, made.discrete].numpy().astype(int).T, made.cells)
    expected = n * p.numpy() / p.numpy().sum()
    often = expected > 5
    counts = np.bincount(number, minlength=len(values))
    found = [*counts[often], counts[~often].sum() + 1e-9]
    assert chisquare(found, np.array([*expected[often], expected[~often].sum() + 1e-9])).pvalue > 1e-3


@pytest.mark.parametrize("rest", OTHERS)
def test_continuous_numbers_may_have_any_density(rest: str) -> None:
    """Its loss and draws are those of the family beside the masses of discrete numbers."""
    made = flow(4, 0, 0, rest=rest).requires_grad_(True)
    rng = seeds.generator(0, "test", "any", rest)
    z = torch.from_numpy(np.concatenate([rng.integers(0, 4, (50, 1)), rng.normal(size=(50, 2))], 1))
    noise = torch.from_numpy(rng.normal(size=(50, made.loss_noise)))
    made.loss(z, CONTEXT.expand(50, 2), noise).backward()
    assert all(weights.grad is not None for weights in made.parameters())
    numbers = torch.from_numpy(rng.normal(size=(50, made.draw_noise)))
    draws, log_p = made.push(numbers, CONTEXT, torch.zeros(50, dtype=torch.long))
    assert draws.shape == (50, 3) and torch.isfinite(draws).all()
    assert set(draws[:, 0].tolist()) <= {0.0, 1.0, 2.0, 3.0}
    assert (log_p is None) == (rest == "consistency") == (not made.has_density)


def test_the_normal_distribution_function_holds_in_both_tails() -> None:
    x = torch.linspace(-30, 30, 121, dtype=torch.float64)
    np.testing.assert_allclose(_log_normal_cdf(x).numpy(), norm.logcdf(x.numpy()), rtol=1e-10, atol=1e-15)


class Lossy(Trainable):
    """A mixed flow that knows its loss."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.flow = flow(4, 0, seed=seed).requires_grad_(True)

    def loss(self, *batch: torch.Tensor) -> torch.Tensor:
        return -self.flow.log_prob(*batch).mean()


def test_members_of_an_ensemble_learn_in_one_stack() -> None:
    """The losses and gradients of a stack are those of its members."""
    members = [Lossy(seed) for seed in (1, 2)]
    rng = seeds.generator(0, "test", "stack")
    z = torch.from_numpy(np.stack([rng.integers(0, 4, 30).astype(float), rng.normal(size=30)], 1))
    context = torch.from_numpy(rng.normal(size=(30, 2)))
    stack = Stack(members)
    together = stack.losses_on_same(z, context)
    alone = torch.stack([member.loss(z, context) for member in members])
    torch.testing.assert_close(together, alone)
    together.sum().backward()
    alone.sum().backward()
    gradients = dict(zip(stack.names, (part.grad for part in stack.stacked), strict=True))
    for name, weights in members[1].named_parameters():
        torch.testing.assert_close(gradients[name][1], weights.grad)  # type: ignore[index]


def test_a_value_that_is_all_but_impossible_still_teaches() -> None:
    """In single precision, far in a tail, the log probability and its gradient are finite numbers."""
    made = flow(50).float().requires_grad_(True)
    sharp = torch.full((50, 2), 40.0)
    log_p = made.log_prob(torch.arange(50.0)[:, None], sharp)
    log_p.sum().backward()
    assert torch.isfinite(log_p).all()
    assert all(torch.isfinite(w.grad).all() for w in made.parameters() if w.grad is not None)

"""Spline flows: densities integrate to one, draws and densities agree, tails are Gaussian."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from veridical.networks.flow import SplineFlow

CONTEXT = 3


def flow(features: int, affine: bool = True, transforms: int = 2, scale: float = 3.0) -> SplineFlow:
    """A flow in double precision, far from the identity."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(features)
        made = SplineFlow(features, CONTEXT, transforms, bins=5, hidden=[16, 16], affine=affine).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(scale)
    return made


def normal(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    return torch.from_numpy(rng.standard_normal(shape))


@pytest.mark.parametrize("features, reach, points, error", [(1, 60, 240_001, 1e-4), (2, 9, 601, 5e-3)])
@pytest.mark.parametrize("affine", [True, False])
def test_a_density_integrates_to_one(
    features: int, reach: float, points: int, error: float, affine: bool, rng: np.random.Generator
) -> None:
    axis = torch.linspace(-reach, reach, points, dtype=torch.float64)
    grid = torch.cartesian_prod(*[axis] * features).reshape(-1, features)
    with torch.no_grad():
        log_p = flow(features, affine, scale=1.5).log_prob(
            grid, normal(rng, 1, CONTEXT).expand(len(grid), -1)
        )
    total = float(log_p.exp().sum() * (axis[1] - axis[0]) ** features)
    assert total == pytest.approx(1, abs=error)


@pytest.mark.parametrize("features", [1, 2, 5])
@pytest.mark.parametrize("affine", [True, False])
def test_draws_go_back_to_their_noise_with_their_density(
    features: int, affine: bool, rng: np.random.Generator
) -> None:
    made, context, noise = flow(features, affine), normal(rng, 4, CONTEXT), 2 * normal(rng, 200, features)
    index = torch.arange(200) % 4
    theta, log_p = made.push(noise, context, index)
    with torch.no_grad():
        torch.testing.assert_close(made.log_prob(theta, context[index]), log_p, rtol=0, atol=1e-8)
        back = theta
        for transform in made.transforms:
            back = transform(context[index])(back)
    torch.testing.assert_close(back, noise, rtol=0, atol=1e-8)


def test_single_precision_agrees_with_double(rng: np.random.Generator) -> None:
    made, context, noise = flow(4, scale=2.0), normal(rng, 1, CONTEXT), normal(rng, 500, 4)
    index = torch.zeros(500, dtype=torch.long)
    theta, log_p = made.push(noise, context, index)
    theta32, log_p32 = made.float().push(noise.float(), context.float(), index)
    torch.testing.assert_close(theta32.double(), theta, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(log_p32.double(), log_p, rtol=1e-3, atol=1e-2)


def test_every_parameter_of_the_network_gets_a_gradient(rng: np.random.Generator) -> None:
    made = flow(3, scale=1.0)
    made.log_prob(normal(rng, 500, 3), normal(rng, 500, CONTEXT)).mean().backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None and (parameter.grad != 0).any(), name


def test_the_density_has_the_jacobian_of_the_map(rng: np.random.Generator) -> None:
    made, context = flow(3), normal(rng, 1, CONTEXT)

    def to_noise(theta: torch.Tensor) -> torch.Tensor:
        for transform in made.transforms:
            theta = transform(context[0])(theta)
        return theta

    theta = normal(rng, 1, 3)
    jacobian = torch.autograd.functional.jacobian(to_noise, theta[0])
    base = torch.distributions.Normal(0, 1).log_prob(to_noise(theta[0])).sum()
    with torch.no_grad():
        torch.testing.assert_close(
            made.log_prob(theta, context)[0], base + torch.linalg.slogdet(jacobian).logabsdet
        )


def test_far_outside_the_splines_the_density_falls_like_a_gaussian() -> None:
    made, context = flow(2), torch.zeros(3, CONTEXT, dtype=torch.float64)
    with torch.no_grad():
        log_p = made.log_prob(
            torch.tensor([[1e3, 1e3], [2e3, 2e3], [4e3, 4e3]], dtype=torch.float64), context
        )
    ratio = (log_p[2] - log_p[1]) / (log_p[1] - log_p[0])
    assert float(ratio) == pytest.approx(4, rel=0.1)

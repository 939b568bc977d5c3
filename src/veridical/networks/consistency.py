r"""Consistency models: a network that jumps from noise of any size :math:`\sigma` straight to parameters,

.. math:: f(y, \sigma, c) = \frac{y}{(\sigma - s)^2 + 1} + \frac{\sigma - s}{\sqrt{\sigma^2 + 1}} \,
    F\Big(\frac{y}{\sqrt{\sigma^2 + 1}}, \frac{\log \sigma}{4}, c\Big) , \qquad f(y, s, c) = y ,

learned by having it give the same at neighbouring sizes of the same noise,

.. math:: L = E \, \frac{\sqrt{|f(\theta + \sigma_{i+1} \epsilon, \sigma_{i+1}, c) -
    f(\theta + \sigma_i \epsilon, \sigma_i, c)|^2 + h^2} - h}{\sigma_{i+1} - \sigma_i} ,

the smaller one without a gradient. Further steps put smaller noise on and jump again: draws in a few
evaluations, without a density. The loss is small wherever f is smooth and ranks no weights; those of the last
step are kept.

References:
    | Consistency Models (Song et al., 2023), https://arxiv.org/abs/2303.01469
    | Improved Techniques for Training Consistency Models (Song & Dhariwal, 2024)
    | https://arxiv.org/abs/2310.14189
    | Consistency Models for Scalable and Fast Simulation-Based Inference (Schmitt et al., 2024)
    | https://arxiv.org/abs/2312.05440
"""

from __future__ import annotations

from math import erf, log, sqrt

import torch
from torch import Tensor

from veridical.networks.density import Density
from veridical.networks.timed import TimedNetwork
from veridical.networks.trajectories import spaced

SMALLEST, LARGEST = 1e-3, 20.0
CENTRE, SPREAD = -1.1, 2.0  # of the logarithm of the noise in training
HUBER = 0.00054  # times the root of D


class ConsistencyModel(Density):
    """A network from noise to parameters in a few steps.

    Arguments:
        features: Number of parameters D.
        context: Number of context features C.
        width: Width of the network's layers.
        blocks: Number of its residual blocks.
        sizes: Steps between the sizes of noise in training.
        steps: Steps of a draw.
    """

    has_density = False
    keeps_last = True
    often: Tensor
    grid: Tensor

    def __init__(
        self, features: int, context: int, *, width: int, blocks: int, sizes: int, steps: int
    ) -> None:
        super().__init__(features, draw_noise=features * steps, loss_noise=features + 1)
        self.steps = steps
        self.network = TimedNetwork(features, context, width, blocks)
        grid = spaced(SMALLEST, LARGEST, sizes)
        below = torch.tensor([erf((log(size) - CENTRE) / (sqrt(2) * SPREAD)) for size in grid])
        self.register_buffer("grid", torch.tensor(grid), persistent=False)
        self.register_buffer("often", (below - below[0]) / (below[-1] - below[0]), persistent=False)

    def _jump(self, noisy: Tensor, size: Tensor, told: Tensor) -> Tensor:
        """The jump f from parameters (B, D) with noise of a size () or (B,)."""
        size = size[..., None]
        over, scale = size - SMALLEST, (size.square() + 1).sqrt()
        raw = self.network(noisy / scale, size[..., 0].log() / 4, told)
        return noisy / (over.square() + 1) + over / scale * raw

    def loss(self, theta: Tensor, context: Tensor, noise: Tensor | None = None) -> Tensor:
        """Returns the mean disagreement of neighbouring sizes, which `noise` picks."""
        assert noise is not None
        place, new = torch.special.ndtr(noise[:, :1]), noise[:, 1:]
        number = (place > self.often[1:-1]).sum(-1)
        small, large = self.grid[number], self.grid[number + 1]
        told = self.network.told(context)
        found = self._jump(theta + large[:, None] * new, large, told)
        with torch.no_grad():
            target = self._jump(theta + small[:, None] * new, small, told)
        h = HUBER * self.features**0.5
        apart = ((found - target).square().sum(-1) + h * h).sqrt() - h
        return (apart / (large - small)).mean()

    @torch.no_grad()
    def push(
        self, noise: Tensor, context: Tensor, index: Tensor, density: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Returns draws; see `Density.push`."""
        told = self.network.told(context)[index]
        theta = torch.zeros_like(noise[:, : self.features])
        sizes = spaced(LARGEST, SMALLEST, self.steps)[:-1]
        for size, new in zip(torch.tensor(sizes).to(noise), noise.split(self.features, dim=-1), strict=True):
            theta = self._jump(theta + (size * size - SMALLEST**2).sqrt() * new, size, told)
        return theta, None

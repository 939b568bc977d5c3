r"""Score-based diffusion: a network that takes noise of any size :math:`\sigma` off parameters,

.. math:: D(y, \sigma, c) = \frac{y}{\sigma^2 + 1} + \frac{\sigma}{\sqrt{\sigma^2 + 1}} \,
    F\Big(\frac{y}{\sqrt{\sigma^2 + 1}}, \frac{\log \sigma}{4}, c\Big) , \qquad y = \theta + \sigma \epsilon ,

whose score is :math:`(D - y) / \sigma^2`. Parameters have unit variance, so F has targets of unit variance
at every :math:`\sigma`, drawn as :math:`\log \sigma \sim N(-1.2, 1.2^2)`. Draws go from LARGEST to SMALLEST
along :math:`dy / d\sigma = (y - D) / \sigma`, with the density of `trajectories`; or by the stochastic
equation, each step taking noise off and putting some on, which corrects errors of earlier steps and has no
density. Draws keep noise of SMALLEST standard deviations of the simulated parameters.

References:
    | Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021)
    | https://arxiv.org/abs/2011.13456
    | Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022)
    | https://arxiv.org/abs/2206.00364
"""

from __future__ import annotations

from itertools import pairwise
from math import sqrt

import torch
from torch import Tensor

from veridical.networks.trajectories import Trajectories, spaced

SMALLEST, LARGEST = 2e-3, 20.0  # noise between which draws are made
CENTRE, SPREAD = -1.2, 1.2  # of the logarithm of the noise in training


class Diffusion(Trajectories):
    """A denoiser of parameters; see `Trajectories` for its arguments.

    Arguments:
        sampler: `ode`, or `sde` for stochastic draws without a density.
    """

    start = sqrt(LARGEST**2 + 1)

    def __init__(
        self, features: int, context: int, *, width: int, blocks: int, steps: int, sampler: str
    ) -> None:
        numbers = features * (steps + 1) if sampler == "sde" else None
        super().__init__(features, context, width=width, blocks=blocks, steps=steps, draw_noise=numbers)
        self.has_density = sampler == "ode"

    def times(self, steps: int) -> list[float]:
        """Returns sizes of noise, from the largest to the smallest."""
        return spaced(LARGEST, SMALLEST, steps)

    def velocity(self, theta: Tensor, time: Tensor, told: Tensor) -> Tensor:
        """Returns (y - D) / sigma, free of divisions by small numbers."""
        scale = (time.square() + 1).sqrt()
        return theta * (time / scale.square()) - self._raw(theta, time, told) / scale

    def _raw(self, theta: Tensor, size: Tensor, told: Tensor) -> Tensor:
        """F at theta (B, D) with noise of a size () or (B,)."""
        scale = (size.square() + 1).sqrt()
        found: Tensor = self.network(theta / scale[..., None], size.log() / 4, told)
        return found

    def loss(self, theta: Tensor, context: Tensor, noise: Tensor | None = None) -> Tensor:
        """Returns the mean squared error of F, at sizes and noise that `noise` gives."""
        assert noise is not None
        size = (CENTRE + SPREAD * noise[:, 0]).exp()
        scale = (size.square() + 1).sqrt()[:, None]
        target = (size[:, None] * theta - noise[:, 1:]) / scale  # (theta - c_skip y) / c_out
        found = self._raw(theta + size[:, None] * noise[:, 1:], size, self.network.told(context))
        return (found - target).square().sum(-1).mean()

    @torch.no_grad()
    def push(
        self, noise: Tensor, context: Tensor, index: Tensor, density: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Returns draws, and their log densities by the ordinary equation; see `Density.push`."""
        if self.has_density:
            return super().push(noise, context, index, density)
        told = self.network.told(context)[index]
        start, *further = noise.split(self.features, dim=-1)
        theta = self.start * start
        times = torch.tensor(self.times(self.steps)).to(noise).unbind()
        for (now, then), new in zip(pairwise(times), further, strict=True):
            clean = theta - now * self.velocity(theta, now, told)
            share = (then / now) ** 2
            theta = clean + share * (theta - clean) + then * (1 - share).sqrt() * new
        return theta, None

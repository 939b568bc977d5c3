r"""Consistency models: a network that jumps from noise of any size straight to parameters,

.. math:: f(\theta_\phi, \phi, c) = \cos(\phi - \phi_0) \, \theta_\phi - \sin(\phi - \phi_0) \,
    v(\theta_\phi, \phi, c) , \qquad \theta_\phi = \cos\phi \, \theta + \sin\phi \, \epsilon ,

which leaves :math:`\theta_\phi` alone at the smallest angle :math:`\phi_0`, and learns to give the same at
neighbouring angles of the same noise,

.. math:: L = E \, \frac{\sqrt{|f(\theta_{\phi_{i+1}}, \phi_{i+1}, c) - f(\theta_{\phi_i}, \phi_i, c)|^2
    + h^2} - h}{\phi_{i+1} - \phi_i} ,

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

from math import erf, log, pi, sqrt, tan

import torch
from torch import Tensor

from veridical.networks.density import Density
from veridical.networks.diffusion import clock
from veridical.networks.timed import TimedNetwork
from veridical.networks.trajectories import spaced

SMALLEST = 1e-3  # angle that is taken for no noise
CENTRE, SPREAD = -1.1, 2.0  # of the logarithm of the tangent in training
HUBER = 0.00054  # h, times the root of D


class ConsistencyModel(Density):
    """A network from noise to parameters in a few steps.

    Arguments:
        features: Number of parameters D.
        context: Number of context features C.
        width: Width of the network's layers.
        blocks: Number of its residual blocks.
        sizes: Steps between the angles in training.
        steps: Steps of a draw.
    """

    has_density = False
    keeps_last = True
    often: Tensor
    angles: Tensor

    def __init__(
        self, features: int, context: int, *, width: int, blocks: int, sizes: int, steps: int
    ) -> None:
        super().__init__(features, draw_noise=features * steps, loss_noise=features + 1)
        self.steps = steps
        self.network = TimedNetwork(features, context, width, blocks)
        angles = spaced(SMALLEST, pi / 2, sizes)
        below = torch.tensor(
            [erf((log(tan(angle)) - CENTRE) / (sqrt(2) * SPREAD)) for angle in angles[:-1]] + [1.0]
        )
        self.register_buffer("angles", torch.tensor(angles), persistent=False)
        self.register_buffer("often", (below - below[0]) / (below[-1] - below[0]), persistent=False)

    def _jump(self, theta: Tensor, noise: Tensor, angle: Tensor, told: Tensor) -> Tensor:
        """The jump f from parameters with noise (B, D) put on, at an angle () or (B,)."""
        time, angle = clock(angle), angle[..., None]
        noisy, over = angle.cos() * theta + angle.sin() * noise, angle - SMALLEST
        v = self.network(noisy, time, told)
        return over.cos() * noisy - over.sin() * v

    def loss(self, theta: Tensor, context: Tensor, noise: Tensor | None = None) -> Tensor:
        """Returns the mean disagreement of neighbouring angles, which `noise` picks."""
        assert noise is not None
        place, new = torch.special.ndtr(noise[:, :1]), noise[:, 1:]
        number = (place > self.often[1:-1]).sum(-1)
        small, large = self.angles[number], self.angles[number + 1]
        told = self.network.told(context)
        found = self._jump(theta, new, large, told)
        with torch.no_grad():
            target = self._jump(theta, new, small, told)
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
        angles = torch.tensor(spaced(pi / 2, SMALLEST, self.steps)[:-1]).to(noise)
        for angle, new in zip(angles, noise.split(self.features, dim=-1), strict=True):
            theta = self._jump(theta, new, angle, told)
        return theta, None

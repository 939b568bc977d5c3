r"""Consistency models: a network that jumps from noise of any size straight to parameters,

.. math:: f(\theta_\phi, \phi, c) = \cos(\phi - \phi_0) \, \theta_\phi - \sin(\phi - \phi_0) \,
    u(\theta_\phi, \phi, c) , \qquad \theta_\phi = \cos\phi \, \theta + \sin\phi \, \epsilon ,

which leaves :math:`\theta_\phi` alone at the smallest angle :math:`\phi_0`. A `diffusion` model is learned
beside it, and one step of its ordinary equation leads from each angle to the next smaller one: the jumps from
both have to end alike,

.. math:: L = L_\text{diffusion} + E \, \frac{\sqrt{|f(\theta_{\phi_{i+1}}, \phi_{i+1}, c) -
    f(\theta_{\phi_i}, \phi_i, c)|^2 + h^2} - h}{\phi_{i+1} - \phi_i} ,

the smaller one without a gradient. (Without that model, noise takes its place, which is the same on average;
in two dimensions the scatter was too much.) Further steps put smaller noise on and jump again: draws in a few
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

from veridical.networks.diffusion import denoising_loss, velocity
from veridical.networks.localised import Localised
from veridical.networks.timed import TimedNetwork
from veridical.networks.trajectories import spaced

SMALLEST = 1e-3  # angle that is taken for no noise
CENTRE, SPREAD = -1.1, 2.0  # of the logarithm of the tangent in training
HUBER = 0.00054  # h, times the root of D


class ConsistencyModel(Localised):
    """A network from noise to parameters in a few steps.

    Arguments:
        features: Number of parameters D.
        context: Number of context features C.
        width: Width of the networks' layers.
        blocks: Number of their residual blocks.
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
        super().__init__(features, context, draw_noise=features * steps, loss_noise=features + 2)
        self.steps = steps
        self.network = TimedNetwork(features, context, width, blocks)
        self.leading = TimedNetwork(features, context, width, blocks)
        angles = spaced(SMALLEST, pi / 2, sizes)
        below = [erf((log(tan(angle)) - CENTRE) / (sqrt(2) * SPREAD)) for angle in angles[:-1]]
        often = torch.tensor([*below, 1.0])
        self.register_buffer("angles", torch.tensor(angles), persistent=False)
        self.register_buffer("often", (often - often[0]) / (1 - often[0]), persistent=False)

    def _jump(self, noisy: Tensor, angle: Tensor, told: Tensor) -> Tensor:
        """The jump f from parameters with noise (B, D), at an angle () or (B,)."""
        over = (angle - SMALLEST)[..., None]
        return over.cos() * noisy - over.sin() * velocity(self.network, noisy, angle, told)

    def loss_of_z(self, z: Tensor, context: Tensor, noise: Tensor) -> Tensor:
        """Returns the loss of the diffusion model and the mean disagreement of jumps along its steps."""
        place, new = torch.special.ndtr(noise[:, :1]), noise[:, 2:]
        number = (place > self.often[1:-1]).sum(-1)
        small, large = self.angles[number], self.angles[number + 1]
        told = self.network.told(context)
        noisy, step = _mixed(z, new, large), large - small
        found = self._jump(noisy, large, told)
        with torch.no_grad():
            v = velocity(self.leading, noisy, large, self.leading.told(context))
            target = self._jump(_mixed(noisy, -v, step), small, told)
        h = HUBER * self.features**0.5
        apart = ((found - target).square().sum(-1) + h * h).sqrt() - h
        return denoising_loss(self.leading, z, context, noise[:, 1:]) + (apart / step).mean()

    def push_z(
        self, noise: Tensor, context: Tensor, index: Tensor, density: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Returns draws of z; see `Density.push`."""
        told = self.network.told(context)[index]
        theta = torch.zeros_like(noise[:, : self.features])
        angles = torch.tensor(spaced(pi / 2, SMALLEST, self.steps)[:-1]).to(noise)
        for angle, new in zip(angles, noise.split(self.features, dim=-1), strict=True):
            theta = self._jump(_mixed(theta, new, angle), angle, told)
        return theta, None


def _mixed(theta: Tensor, noise: Tensor, angle: Tensor) -> Tensor:
    """Parameters and noise (B, D), mixed by an angle () or (B,)."""
    return angle.cos()[..., None] * theta + angle.sin()[..., None] * noise

r"""Consistency models: a network that jumps from noise of any size straight to parameters,

.. math:: f(\theta_\phi, \phi, c) = \cos(\phi - \phi_0) \, \theta_\phi - \sin(\phi - \phi_0) \,
    u(\theta_\phi, \phi, c) , \qquad \theta_\phi = \cos\phi \, \theta + \sin\phi \, \epsilon ,

which leaves :math:`\theta_\phi` alone at the smallest angle :math:`\phi_0`, and learns to end alike from
neighbouring angles of the same noise,

.. math:: L = E \, \frac{\sqrt{|f(\theta_{\phi_{i+1}}, \phi_{i+1}, c) -
    f(\theta_{\phi_i}, \phi_i, c)|^2 + h^2} - h}{\tan \phi_{i+1} - \tan \phi_i} ,

the smaller one without a gradient. (Weights of one over the difference of the angles, 40 of them in place of
20, or a diffusion model learned beside it that says where the smaller one lies, all gave worse draws.)
Further steps put smaller noise on and jump again: draws in a few evaluations, without a density. The loss is
small wherever f is smooth and ranks no weights; those of the last step are kept.

References:
    | Consistency Models (Song et al., 2023), https://arxiv.org/abs/2303.01469
    | Improved Techniques for Training Consistency Models (Song & Dhariwal, 2024)
    | https://arxiv.org/abs/2310.14189
    | Consistency Models for Scalable and Fast Simulation-Based Inference (Schmitt et al., 2024)
    | https://arxiv.org/abs/2312.05440
"""

from __future__ import annotations

from math import atan, erf, log, pi, sqrt

import torch
from torch import Tensor

from veridical.networks.diffusion import velocity
from veridical.networks.localised import Localised
from veridical.networks.timed import TimedNetwork
from veridical.networks.trajectories import spaced

SMALLEST, LARGEST = 1e-3, 20.0  # tangents of the angles in training, the first of which is no noise
POWER = 7.0  # they are even in the root of this power
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
    tangents: Tensor

    def __init__(
        self, features: int, context: int, *, width: int, blocks: int, sizes: int, steps: int
    ) -> None:
        super().__init__(features, context, draw_noise=features * steps, loss_noise=features + 1)
        self.steps = steps
        self.network = TimedNetwork(features, context, width, blocks)
        tangents = spaced(SMALLEST, LARGEST, sizes, POWER)
        often = torch.tensor([erf((log(size) - CENTRE) / (sqrt(2) * SPREAD)) for size in tangents])
        self.register_buffer("tangents", torch.tensor(tangents), persistent=False)
        self.register_buffer("often", (often - often[0]) / (often[-1] - often[0]), persistent=False)

    def _jump(self, z: Tensor, noise: Tensor, angle: Tensor, told: Tensor) -> Tensor:
        """The jump f from parameters with noise (B, D) put on, at an angle () or (B,)."""
        noisy = angle.cos()[..., None] * z + angle.sin()[..., None] * noise
        over = (angle - atan(SMALLEST))[..., None]
        return over.cos() * noisy - over.sin() * velocity(self.network, noisy, angle, told)

    def loss_of_z(self, z: Tensor, context: Tensor, noise: Tensor) -> Tensor:
        """Returns the mean disagreement of jumps from neighbouring angles, which `noise` picks."""
        place, new = torch.special.ndtr(noise[:, :1]), noise[:, 1:]
        number = (place > self.often[1:-1]).sum(-1)
        small, large = self.tangents[number], self.tangents[number + 1]
        told = self.network.told(context)
        found = self._jump(z, new, large.atan(), told)
        with torch.no_grad():
            target = self._jump(z, new, small.atan(), told)
        h = HUBER * self.features**0.5
        apart = ((found - target).square().sum(-1) + h * h).sqrt() - h
        return (apart / (large - small)).mean()

    def push_z(
        self, noise: Tensor, context: Tensor, index: Tensor, density: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Returns draws of z; see `Density.push`."""
        told = self.network.told(context)[index]
        theta = torch.zeros_like(noise[:, : self.features])
        angles = torch.tensor(spaced(pi / 2, atan(SMALLEST), self.steps)[:-1]).to(noise)
        for angle, new in zip(angles, noise.split(self.features, dim=-1), strict=True):
            theta = self._jump(theta, new, angle, told)
        return theta, None

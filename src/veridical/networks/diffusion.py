r"""Score-based diffusion, with noise of any size put on parameters by an angle from 0 to 90 degrees,

.. math:: \theta_\phi = \cos\phi \, \theta + \sin\phi \, \epsilon , \qquad
    L = E \, | v(\theta_\phi, \phi, c) - (\cos\phi \, \epsilon - \sin\phi \, \theta) |^2 .

With v known the parameters are :math:`\cos\phi \, \theta_\phi - \sin\phi \, v` on average, and the score is
:math:`-\theta_\phi - v \cot\phi`. It is Karras' preconditioned loss, whose noise is :math:`\tan\phi`, with
:math:`\log \tan\phi \sim N(-1.2, 1.2^2)`. Draws follow :math:`d\theta / d\phi = v` from pure noise at 90
degrees to SMALLEST, with the density of `trajectories`; or the stochastic equation, each step taking noise
off and putting new on: it forgets the errors of earlier steps, needs more of them, and has no density. Noise
of SMALLEST standard deviations of the simulated parameters stays in the draws.

References:
    | Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021)
    | https://arxiv.org/abs/2011.13456
    | Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022)
    | https://arxiv.org/abs/2206.00364
"""

from __future__ import annotations

from itertools import pairwise
from math import pi

import torch
from torch import Tensor

from veridical.networks.timed import TimedNetwork
from veridical.networks.trajectories import Trajectories, spaced

SMALLEST = 2e-3  # angle at which draws end
CENTRE, SPREAD = -1.2, 1.2  # of the logarithm of the noise in training
STEPS = {"ode": 10, "sde": 100}  # where not given


class Diffusion(Trajectories):
    """A denoiser of parameters; see `Trajectories` for its other arguments.

    Arguments:
        sampler: `ode`, or `sde` for stochastic draws without a density.
    """

    def __init__(
        self, features: int, context: int, *, width: int, blocks: int, steps: int | None, sampler: str
    ) -> None:
        steps = steps or STEPS[sampler]
        numbers = features * (steps + 1) if sampler == "sde" else None
        super().__init__(features, context, width=width, blocks=blocks, steps=steps, draw_noise=numbers)
        self.has_density = sampler == "ode"

    def times(self, steps: int) -> list[float]:
        """Returns angles, from the largest to the smallest, dense at small ones."""
        return spaced(pi / 2, SMALLEST, steps)

    def velocity(self, theta: Tensor, time: Tensor, told: Tensor) -> Tensor:
        """Returns v (B, D) at an angle () or (B,)."""
        return velocity(self.network, theta, time, told)

    def loss_of_z(self, z: Tensor, context: Tensor, noise: Tensor) -> Tensor:
        """Returns the mean squared error of v, at angles and noise that `noise` gives."""
        angle, new = (CENTRE + SPREAD * noise[:, 0]).exp().atan(), noise[:, 1:]
        cos, sin = angle.cos()[:, None], angle.sin()[:, None]
        found = self.velocity(cos * z + sin * new, angle, self.network.told(context))
        return (found - (cos * new - sin * z)).square().sum(-1).mean()

    def push_z(
        self, noise: Tensor, context: Tensor, index: Tensor, density: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Returns draws of z, and their log densities by the ordinary equation; see `Density.push`."""
        if self.has_density:
            return super().push_z(noise, context, index, density)
        told = self.network.told(context)[index]
        theta, *further = noise.split(self.features, dim=-1)
        angles = torch.tensor(self.times(self.steps)).to(noise).unbind()
        for (now, then), new in zip(pairwise(angles), further, strict=True):
            v = self.velocity(theta, now, told)
            clean, old = now.cos() * theta - now.sin() * v, now.sin() * theta + now.cos() * v
            kept = (then.tan() / now.tan()).clamp(min=0.0)  # the tangent of 90 degrees may be negative
            theta = then.cos() * clean + then.sin() * (kept * old + (1 - kept**2).sqrt() * new)
        return theta, None


def velocity(network: TimedNetwork, theta: Tensor, angle: Tensor, told: Tensor) -> Tensor:
    """Returns v (B, D) of a network at an angle () or (B,)."""
    found: Tensor = network(theta, clock(angle), told)
    return found


def clock(angle: Tensor) -> Tensor:
    """Returns the time that networks are told of an angle: as its logarithm, but finite at 90 degrees."""
    return (angle / 2).tan().log() / 4

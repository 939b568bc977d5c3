r"""Draws that follow an ordinary differential equation from noise, :math:`d\theta/dt = v(\theta, t, c)`.

The classical method of Runge and Kutta takes a fixed number of steps, four evaluations of v each. The density
goes along,

.. math:: \log q(\theta \mid c) = \log p_0(\theta_0) - \int \nabla \cdot v \; dt ,

for a given theta by the same steps backwards. Up to EXACT parameters the divergence is exact, from D products
of the Jacobian with unit vectors. Above it is Hutchinson's estimate :math:`\epsilon^T J \epsilon` with PROBES
fixed vectors of random signs: without bias in log q, with one in q. Two errors remain, which `log_prob_error`
adds up: that of the steps, taken as the change with twice as many, and the standard error of the probes.

References:
    | FFJORD: Free-form Continuous Dynamics for Scalable Reversible Generative Models (Grathwohl et al., 2019)
    | https://arxiv.org/abs/1810.01367
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from veridical import seeds
from veridical.networks.density import log_normal
from veridical.networks.localised import Localised
from veridical.networks.timed import TimedNetwork

EXACT = 20  # parameters up to which divergences are exact
PROBES = 4  # vectors of signs that estimate them above


class Trajectories(Localised):
    """Draws that flow from noise, and their density.

    Arguments:
        features: Number of parameters D.
        context: Number of context features C.
        width: Width of the network's layers.
        blocks: Number of its residual blocks.
        steps: Steps of a draw.
        draw_noise: Standard normal numbers that a draw is made of, where more than D.
    """

    def __init__(
        self,
        features: int,
        context: int,
        *,
        width: int,
        blocks: int,
        steps: int,
        draw_noise: int | None = None,
    ) -> None:
        super().__init__(features, context, draw_noise=draw_noise, loss_noise=features + 1)
        self.steps = steps
        self.network = TimedNetwork(features, context, width, blocks)

    @abstractmethod
    def times(self, steps: int) -> list[float]:
        """Returns the times of so many steps, from noise to parameters."""

    @abstractmethod
    def velocity(self, theta: Tensor, time: Tensor, told: Tensor) -> Tensor:
        """Returns v (B, D) at theta (B, D) and a time (), given what the network is told (B, ...)."""

    def log_prob_of_z(self, z: Tensor, context: Tensor) -> Tensor:
        """Returns log densities (B,) of z (B, D)."""
        found: Tensor = self._log_prob(z, context, self.steps).mean(0)
        return found

    def error_of_z(self, z: Tensor, context: Tensor) -> Tensor:
        """Returns how far these may be off: by the steps, and by the probes of the divergence."""
        each = self._log_prob(z, context, self.steps)
        fine = self._log_prob(z, context, 2 * self.steps)
        of_steps = (each - fine).mean(0).abs()
        return of_steps + each.std(0) / PROBES**0.5 if len(each) > 1 else of_steps

    def _log_prob(self, theta: Tensor, context: Tensor, steps: int) -> Tensor:
        """Log densities of each probe (P, B), or of all unit vectors together (1, B)."""
        told = self.network.told(context)
        noise, change = self._along(theta, self.times(steps)[::-1], told, self._probes(theta))
        return log_normal(noise) + change

    def push_z(
        self, noise: Tensor, context: Tensor, index: Tensor, density: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Returns draws of z and their log densities; see `Density.push`."""
        told = self.network.told(context)[index]
        probes = self._probes(noise) if density else None
        theta, change = self._along(noise, self.times(self.steps), told, probes)
        return theta, (log_normal(noise) - change).mean(0) if density else None

    def _probes(self, like: Tensor) -> Tensor:
        """Vectors (P, 1, D) whose products with the Jacobian make up the divergence."""
        d = self.features
        if d <= EXACT:
            return torch.eye(d, dtype=like.dtype, device=like.device)[:, None]
        signs = seeds.generator(0, "infer", "probes", d).choice([-1.0, 1.0], (PROBES, 1, d))
        return torch.from_numpy(signs).to(like)

    def _along(
        self, theta: Tensor, times: Sequence[float], told: Tensor, probes: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Follows the field through times; returns the end and the integral of the divergence (P, B)."""
        change = torch.zeros((), dtype=theta.dtype, device=theta.device)
        for now, then in pairwise(torch.tensor(times).to(theta).unbind()):
            step, middle = then - now, (now + then) / 2
            at, v, spread = theta, torch.zeros_like(theta), torch.zeros_like(change)
            for time, reach, weight in ((now, 0.5, 1), (middle, 0.5, 2), (middle, 1.0, 2), (then, 0.0, 1)):
                slope, divergence = self._rates(at, time, told, probes)
                v, spread = v + weight / 6 * slope, spread + weight / 6 * divergence
                at = theta + reach * step * slope
            theta, change = theta + step * v, change + step * spread
        return theta, change

    def _rates(
        self, theta: Tensor, time: Tensor, told: Tensor, probes: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The field (B, D), and its divergence by each probe (P, B), or by all unit vectors (1, B)."""
        if probes is None:
            return self.velocity(theta, time, told), torch.zeros_like(time)

        v, pulled = torch.func.vjp(  # type: ignore[misc]
            lambda at: self.velocity(at, time, told), theta
        )
        products = torch.func.vmap(lambda probe: (pulled(probe.expand_as(v))[0] * probe).sum(-1))(probes)
        return v, products if self.features > EXACT else products.sum(0, keepdim=True)


def spaced(first: float, last: float, steps: int, power: float = 3.0) -> list[float]:
    """Returns steps + 1 numbers from one to the other, even in their root of this power."""
    roots = np.linspace(first ** (1 / power), last ** (1 / power), steps + 1)
    return [float(root**power) for root in roots]

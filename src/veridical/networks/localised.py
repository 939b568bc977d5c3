r"""Densities that learn from noisy parameters, at unit width around each posterior's own place.

Means and logarithms of standard deviations are linear in the context, learned as a normal distribution. (A
network in their place learns rows by heart: z then is narrower for them than for fresh ones.) What such a
family models is :math:`z = (\theta - m(c)) / s(c)`, through which no gradient returns: a posterior far
narrower than the prior then needs neither a sharper network nor more steps. Like the first transform of a
spline flow it takes nothing from what can be expressed,

.. math:: \log q(\theta \mid c) = \log q_z(z \mid c) - \sum_i \log s_i(c) .
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from veridical.networks.density import Density, log_normal

REACH = 7.0  # largest |log s|


class Localised(Density):
    """A density of z, and of theta by it.

    Arguments:
        features: Number of parameters D.
        context: Number of context features C.
        draw_noise: Standard normal numbers that a draw is made of; D where not given.
        loss_noise: Standard normal numbers that the loss of a row needs.
    """

    def __init__(
        self, features: int, context: int, *, loss_noise: int, draw_noise: int | None = None
    ) -> None:
        super().__init__(features, draw_noise=draw_noise, loss_noise=loss_noise)
        self.place = nn.Linear(context, 2 * features)
        for weights in self.place.parameters():
            nn.init.zeros_(weights)

    @abstractmethod
    def loss_of_z(self, z: Tensor, context: Tensor, noise: Tensor) -> Tensor:
        """Returns the mean loss of z (B, D), at noise (B, loss_noise)."""

    @abstractmethod
    def push_z(
        self, noise: Tensor, context: Tensor, index: Tensor, density: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Returns draws of z and their log densities; see `Density.push`."""

    def log_prob_of_z(self, z: Tensor, context: Tensor) -> Tensor:
        """Returns log densities (B,) of z (B, D)."""
        return super().log_prob(z, context)

    def error_of_z(self, z: Tensor, context: Tensor) -> Tensor:
        """Returns how far these may be off, (B,)."""
        return super().log_prob_error(z, context)

    def _placed(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Means and logarithms of standard deviations, (B, D) each."""
        mean, raw = self.place(context).chunk(2, dim=-1)
        return mean, REACH * (raw / REACH).tanh()

    def loss(self, theta: Tensor, context: Tensor, noise: Tensor | None = None) -> Tensor:
        """Returns the mean loss of z, and of the normal distribution that places it."""
        assert noise is not None
        mean, log_sd = self._placed(context)
        z = (theta - mean) / log_sd.exp()
        placing = log_sd.sum(-1) - log_normal(z)
        return self.loss_of_z(z.detach(), context, noise) + placing.mean()

    def log_prob(self, theta: Tensor, context: Tensor) -> Tensor:
        """Returns log densities (B,) of theta (B, D) given contexts (B, C)."""
        mean, log_sd = self._placed(context)
        return self.log_prob_of_z((theta - mean) / log_sd.exp(), context) - log_sd.sum(-1)

    def log_prob_error(self, theta: Tensor, context: Tensor) -> Tensor:
        """Returns how far `log_prob` may be off by its own approximation, (B,)."""
        mean, log_sd = self._placed(context)
        return self.error_of_z((theta - mean) / log_sd.exp(), context)

    @torch.no_grad()
    def push(
        self, noise: Tensor, context: Tensor, index: Tensor, density: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Returns draws and their log densities from base noise; see `Density.push`."""
        z, log_p = self.push_z(noise, context, index, density)
        mean, log_sd = (part[index] for part in self._placed(context))
        return mean + log_sd.exp() * z, None if log_p is None else log_p - log_sd.sum(-1)

"""The contract of a conditional density over D unconstrained, standardised numbers.

A density is built as `Class(features, context, **settings)`; one more is a file, a line of the registry and
its settings. Randomness comes from outside as standard normal numbers: those that a draw is made of, and
those that a loss is taken at.
"""

from __future__ import annotations

from math import log, pi

import torch
from torch import Tensor, nn


class Density(nn.Module):
    """A density of D numbers given C others.

    Attributes:
        features: D.
        has_density: Whether it knows its density, or gives draws alone.
        has_base: Whether it maps D standard normal numbers one to one, and knows the way back.
        draw_noise: Standard normal numbers that a draw is made of.
        loss_noise: Standard normal numbers that the loss of a row needs.
        keeps_last: Whether its loss ranks no weights, so that those of the last step are kept.
    """

    has_density: bool = True
    has_base: bool = False
    keeps_last: bool = False

    def __init__(self, features: int, *, draw_noise: int | None = None, loss_noise: int = 0) -> None:
        super().__init__()
        self.features, self.loss_noise = features, loss_noise
        self.draw_noise = features if draw_noise is None else draw_noise

    def log_prob(self, theta: Tensor, context: Tensor) -> Tensor:
        """Returns log densities (B,) of theta (B, D) given contexts (B, C)."""
        raise NotImplementedError(f"{type(self).__name__} has no density.")

    def base(self, theta: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the noise (B, D) that theta (B, D) are made of, and log slopes (B,) of the way there."""
        raise NotImplementedError(f"{type(self).__name__} has no base.")

    def log_prob_error(self, theta: Tensor, context: Tensor) -> Tensor:
        """Returns how far `log_prob` may be off by its own approximation, (B,); zero where it is exact."""
        return torch.zeros_like(theta[..., 0])

    def push(
        self, noise: Tensor, context: Tensor, index: Tensor, density: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Returns draws and their log densities from base noise.

        Arguments:
            noise: Standard normal numbers, shape (B, draw_noise).
            context: Contexts, shape (N, C).
            index: The context of each row of noise, shape (B,).
            density: Whether log densities are wanted; they may be there even if not.

        Returns:
            theta (B, D) and log q(theta | context) (B,), None where there is none.
        """
        raise NotImplementedError(f"{type(self).__name__} has no draws.")

    def loss(self, theta: Tensor, context: Tensor, noise: Tensor | None = None) -> Tensor:
        """Returns the mean loss of theta (B, D) given contexts (B, C), at noise (B, loss_noise)."""
        return -self.log_prob(theta, context).mean()


def log_normal(z: Tensor) -> Tensor:
    """Returns the log density of independent standard normals, summed over the last axis."""
    return -0.5 * (z.square() + log(2 * pi)).sum(-1)

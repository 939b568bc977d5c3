"""A density that is told which level of simulations its context comes from."""

from __future__ import annotations

import torch
from torch import Tensor

from veridical.networks.density import Density


class Levelled(Density):
    """A density whose context has the level as further numbers, a one among zeros; asked for the last level.

    Arguments:
        density: Of D numbers given C others and as many as there are levels.
        levels: Number of levels.
    """

    codes: Tensor

    def __init__(self, density: Density, levels: int) -> None:
        super().__init__(density.features, draw_noise=density.draw_noise, loss_noise=density.loss_noise)
        self.density, self.has_density, self.has_base = density, density.has_density, density.has_base
        self.register_buffer("codes", torch.eye(levels), persistent=False)

    def told(self, context: Tensor, level: Tensor | None = None) -> Tensor:
        """Returns contexts (B, C) with the code of each one's level (B,), or of the last level."""
        codes = self.codes[-1].expand(*context.shape[:-1], -1) if level is None else self.codes[level]
        return torch.cat([context, codes.to(context)], dim=-1)

    def log_prob(self, theta: Tensor, context: Tensor) -> Tensor:
        """Returns log densities (B,) of theta (B, D) given contexts (B, C) of the last level."""
        return self.density.log_prob(theta, self.told(context))

    def base(self, theta: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the noise (B, D) behind theta (B, D), and log slopes (B,); see `Density.base`."""
        return self.density.base(theta, self.told(context))

    def log_prob_error(self, theta: Tensor, context: Tensor) -> Tensor:
        """Returns how far `log_prob` may be off by its own approximation, (B,)."""
        return self.density.log_prob_error(theta, self.told(context))

    def push(
        self, noise: Tensor, context: Tensor, index: Tensor, density: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Returns draws and their log densities from base noise; see `Density.push`."""
        return self.density.push(noise, self.told(context), index, density)

r"""Affine coupling flows: some parameters are shifted and scaled given the others and the context,

.. math:: v' = v \, e^{s(u, c)} + m(u, c) , \qquad u' = u ,

with other parts u, v in each layer, so that density and draws both take one pass. A single parameter has
nothing to be split into: its shift and scale are followed by splines.

References:
    | Density Estimation using Real NVP (Dinh et al., 2017)
    | https://arxiv.org/abs/1605.08803
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn
from zuko.utils import unpack

from veridical.networks.density import Density, log_normal
from veridical.networks.flow import AFFINE, Kind, spline
from veridical.networks.layers import Activation, dense

_BINS = 8  # of the splines of a single parameter


class CouplingFlow(Density):
    """Affine couplings over D parameters given a context.

    Arguments:
        features: Number of parameters D.
        context: Number of context features C.
        transforms: Number of couplings.
        hidden: Widths of the layers of each coupling's network.
        activation: What is between them.
    """

    has_base = True

    def __init__(
        self,
        features: int,
        context: int,
        transforms: int,
        hidden: Sequence[int],
        activation: Activation = nn.ReLU,
    ) -> None:
        super().__init__(features)
        number = torch.arange(features)
        halves = [number % 2 == 1, number >= (features + 1) // 2]
        kept = [part for half in halves for part in (half, ~half)] if features > 1 else [number > 0]
        self.transforms = nn.ModuleList(
            _Coupling(
                kept[i % len(kept)],
                context,
                AFFINE if features > 1 or i == 0 else spline(_BINS),
                hidden,
                activation,
            )
            for i in range(transforms)
        )

    def log_prob(self, theta: Tensor, context: Tensor) -> Tensor:
        """Returns log densities (B,) of theta (B, D) given contexts (B, C)."""
        noise, log_slope = self.base(theta, context)
        return log_slope + log_normal(noise)

    def base(self, theta: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the noise (B, D) behind theta (B, D), and log slopes (B,); see `Density.base`."""
        total = theta.new_zeros(theta.shape[:-1])
        for transform in self.transforms:
            theta, log_slope = transform(theta, context)
            total = total + log_slope
        return theta, total

    @torch.no_grad()
    def push(
        self, noise: Tensor, context: Tensor, index: Tensor, density: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Returns draws and their log densities from base noise; see `Density.push`."""
        theta, log_p, context = noise, log_normal(noise), context[index]
        for transform in reversed(self.transforms):
            theta, log_slope = transform(theta, context, inverse=True)
            log_p = log_p - log_slope
        return theta, log_p


class _Coupling(nn.Module):
    """Maps of the parameters that are not kept, given those that are."""

    kept: Tensor

    def __init__(
        self, kept: Tensor, context: int, kind: Kind, hidden: Sequence[int], activation: Activation
    ) -> None:
        super().__init__()
        self.univariate, self.shapes = kind
        self.total = sum(prod(shape) for shape in self.shapes)
        self.network = dense([len(kept) + context, *hidden, len(kept) * self.total], activation)
        self.register_buffer("kept", kept, persistent=False)

    def forward(self, theta: Tensor, context: Tensor, inverse: bool = False) -> tuple[Tensor, Tensor]:
        """Returns mapped parameters (B, D) and log slopes (B,)."""
        seen = torch.cat([theta * self.kept, context], dim=-1)
        phi = self.network(seen).unflatten(-1, (-1, self.total))
        transform = self.univariate(*unpack(phi, self.shapes))
        moved, log_slope = (transform.inv if inverse else transform).call_and_ladj(theta)
        return torch.where(self.kept, theta, moved), (log_slope * ~self.kept).sum(-1)

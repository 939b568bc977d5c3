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

import torch
from torch import Tensor, nn
from zuko.flows.coupling import GeneralCouplingTransform

from veridical.networks.density import Density, log_normal
from veridical.networks.flow import AFFINE, spline

_BINS = 8  # of the splines of a single parameter


class CouplingFlow(Density):
    """Affine couplings over D parameters given a context.

    Arguments:
        features: Number of parameters D.
        context: Number of context features C.
        transforms: Number of couplings.
        hidden: Widths of the layers of each coupling's network.
    """

    def __init__(self, features: int, context: int, transforms: int, hidden: Sequence[int]) -> None:
        super().__init__(features)
        number = torch.arange(features)
        halves = [number % 2 == 0, number < (features + 1) // 2]
        masks = [mask for half in halves for mask in (half, ~half)]
        self.transforms = nn.ModuleList()
        for i in range(transforms):
            univariate, shapes = AFFINE if features > 1 or i == 0 else spline(_BINS)
            self.transforms.append(
                GeneralCouplingTransform(
                    features,
                    context,
                    masks[i % len(masks)],
                    univariate=univariate,
                    shapes=shapes,
                    hidden_features=list(hidden),
                )
            )

    def log_prob(self, theta: Tensor, context: Tensor) -> Tensor:
        """Returns log densities (B,) of theta (B, D) given contexts (B, C)."""
        total = theta.new_zeros(theta.shape[:-1])
        for transform in self.transforms:
            theta, log_slope = transform(context).call_and_ladj(theta)
            total = total + log_slope
        return total + log_normal(theta)

    @torch.no_grad()
    def push(
        self, noise: Tensor, context: Tensor, index: Tensor, density: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Returns draws and their log densities from base noise; see `Density.push`."""
        theta, log_p, context = noise, log_normal(noise), context[index]
        for transform in reversed(self.transforms):
            theta, log_slope = transform(context).inv.call_and_ladj(theta)
            log_p = log_p - log_slope
        return theta, log_p

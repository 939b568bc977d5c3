r"""Conditional flows over discrete and continuous numbers together.

The discrete numbers come first, one after the other. Each has a spline flow of its own in one dimension,
whose distribution function F is cut at the edges between the values,

.. math:: q(k | c) = F(k + \tfrac12 | c) - F(k - \tfrac12 | c) , \qquad F(-\tfrac12) = 0, \; F(K -
\tfrac12) = 1 ,

so that probabilities are exact and sum to one, and neighbours learn from each other. The continuous
numbers have
a flow whose context holds the discrete ones. A density is thus one in the continuous numbers times the
probability of the discrete ones.

References:
    | PixelCNN++: Improving the PixelCNN with Discretized Logistic Mixture Likelihood (Salimans et al., 2017)
    | https://arxiv.org/abs/1701.05517
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from veridical.networks.flow import SplineFlow

ONE_HOT = 16  # values up to which a discrete number is told to the flows after it as so many zeros and a one
_LEAST = 1e-6  # by which logarithms of F at two edges differ at least


class MixedFlow(nn.Module):
    """Discrete numbers by flows that are cut into cells, then a flow over the continuous ones.

    Arguments:
        cells: Number of values of each of the K numbers, 0 where it is continuous.
        context: Number of context features C.
        settings: Those of `SplineFlow`, for each of the flows.
    """

    def __init__(self, cells: Sequence[int], context: int, **settings: Any) -> None:
        super().__init__()
        self.cells = [n for n in cells if n]
        self.discrete = [j for j, n in enumerate(cells) if n]
        self.continuous = [j for j, n in enumerate(cells) if not n]
        marginals = []
        for n in self.cells:
            marginals.append(SplineFlow(1, context, **settings))
            context += n if n <= ONE_HOT else 1
        self.marginals = nn.ModuleList(marginals)
        self.rest = SplineFlow(len(self.continuous), context, **settings) if self.continuous else None

    def forward(self, z: Tensor, context: Tensor) -> Tensor:
        """Returns log densities (B,) of z (B, K), discrete ones being 0, 1, ..., given contexts (B, C)."""
        total = z.new_zeros(z.shape[:-1])
        for j, n, flow in zip(self.discrete, self.cells, self.marginals, strict=True):
            total = total + _log_mass(cast(SplineFlow, flow), z[..., j], n, context)
            context = torch.cat([context, _told(z[..., j], n)], dim=-1)
        if self.rest is not None:
            total = total + self.rest(z[..., self.continuous], context)
        return total

    @torch.no_grad()
    def push(self, noise: Tensor, context: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """Returns draws and their log densities from base noise; see `SplineFlow.push`."""
        z, context, rows = noise.clone(), context[index], torch.arange(len(noise))
        log_p = noise.new_zeros(len(noise))
        for j, n, flow in zip(self.discrete, self.cells, self.marginals, strict=True):
            place = cast(SplineFlow, flow).push(noise[:, [j]], context, rows)[0][:, 0]
            z[:, j] = torch.round(place * _scale(n) + (n - 1) / 2).clamp(0, n - 1)
            log_p += _log_mass(cast(SplineFlow, flow), z[:, j], n, context)
            context = torch.cat([context, _told(z[:, j], n)], dim=-1)
        if self.rest is not None:
            z[:, self.continuous], density = self.rest.push(noise[:, self.continuous], context, rows)
            log_p += density
        return z, log_p


def _scale(n: int) -> float:
    """The standard deviation of a uniform number over n cells."""
    return n / 12**0.5


def _told(number: Tensor, n: int) -> Tensor:
    """What flows are told of a discrete number (...), shape (..., n) or (..., 1)."""
    if n <= ONE_HOT:
        return (number[..., None] == torch.arange(n, device=number.device)).to(number.dtype)
    return (number[..., None] - (n - 1) / 2) / _scale(n)


def _log_mass(flow: SplineFlow, number: Tensor, n: int, context: Tensor) -> Tensor:
    """Log probabilities (B,) of the cells `number` (B,) of n, from the base noise at their edges."""
    middle = (number - (n - 1) / 2) / _scale(n)
    edges = torch.stack([middle - 0.5 / _scale(n), middle + 0.5 / _scale(n)])[..., None]
    for transform in flow.transforms:
        edges = transform(context)(edges)
    low, high = edges[..., 0]
    first, last = number == 0, number == n - 1
    upper = low + high > 0  # seen from the tail in which F is precise
    low, high = torch.where(upper, -high, low), torch.where(upper, -low, high)
    first, last = torch.where(upper, last, first), torch.where(upper, first, last)
    below, above = _log_normal_cdf(low), _log_normal_cdf(high)
    inner = above + torch.log(-torch.expm1((below - above).clamp(max=-_LEAST)))
    return torch.where(first, above, torch.where(last, _log_normal_cdf(-low), inner))


def _log_normal_cdf(x: Tensor) -> Tensor:
    """Log of the standard normal distribution function, in either tail; torch's own cannot be stacked."""
    tail = torch.special.erfcx(-x.clamp(max=0.0) / 2**0.5)
    upper = torch.log1p(-torch.special.erfc(x.clamp(min=0.0) / 2**0.5) / 2)
    return torch.where(x < 0, torch.log(tail / 2) - x.square() / 2, upper)

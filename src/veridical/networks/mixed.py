r"""Conditional flows over discrete and continuous numbers together.

The discrete numbers come first, one after the other. Each has a spline flow of its own in one dimension,
whose distribution function F is cut at the edges between the values,

.. math:: q(k | c) = F(k + \tfrac12 | c) - F(k - \tfrac12 | c) , \qquad F(-\tfrac12) = 0, \; F(K -
\tfrac12) = 1 ,

so that probabilities are exact and sum to one, and neighbours learn from each other. The continuous numbers
have a density of any family, whose context holds the discrete ones. A density is thus one in the continuous
numbers times the probability of the discrete ones.

References:
    | PixelCNN++: Improving the PixelCNN with Discretized Logistic Mixture Likelihood (Salimans et al., 2017)
    | https://arxiv.org/abs/1701.05517
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from veridical.networks import build_density
from veridical.networks.density import Density
from veridical.networks.density_settings import SplineFlowSettings
from veridical.networks.flow import SplineFlow

ONE_HOT = 16  # values up to which a discrete number is told to the flows after it as so many zeros and a one
_LEAST = 1e-6  # by which logarithms of F at two edges differ at least


class MixedFlow(Density):
    """Discrete numbers by flows that are cut into cells, then a density of the continuous ones.

    Arguments:
        cells: Number of values of each of the K numbers, 0 where it is continuous.
        context: Number of context features C.
        settings: Those of the density of continuous numbers, with its `type`; of discrete ones too where
            that is a spline flow.
    """

    def __init__(self, cells: Sequence[int], context: int, settings: Mapping[str, Any]) -> None:
        super().__init__(len(cells))
        own = settings if settings["type"] == "spline" else SplineFlowSettings().model_dump()
        self.cells = [n for n in cells if n]
        self.discrete = [j for j, n in enumerate(cells) if n]
        self.continuous = [j for j, n in enumerate(cells) if not n]
        marginals = []
        for n in self.cells:
            marginals.append(build_density(own, 1, context))
            context += n if n <= ONE_HOT else 1
        self.marginals = nn.ModuleList(marginals)
        self.rest = build_density(settings, len(self.continuous), context) if self.continuous else None
        if self.rest is not None:
            self.draw_noise = len(self.discrete) + self.rest.draw_noise
            self.loss_noise, self.keeps_last = self.rest.loss_noise, self.rest.keeps_last
            self.has_density = self.rest.has_density

    def log_prob(self, theta: Tensor, context: Tensor) -> Tensor:
        """Returns log densities (B,) of theta (B, K), discrete numbers 0, 1, ..., given contexts (B, C)."""
        total, context = self._log_masses(theta, context)
        return (
            total if self.rest is None else total + self.rest.log_prob(theta[..., self.continuous], context)
        )

    def log_prob_error(self, theta: Tensor, context: Tensor) -> Tensor:
        """Returns how far `log_prob` may be off, (B,): that of the continuous numbers."""
        if self.rest is None:
            return super().log_prob_error(theta, context)
        context = self._log_masses(theta, context)[1]
        return self.rest.log_prob_error(theta[..., self.continuous], context)

    def loss(self, theta: Tensor, context: Tensor, noise: Tensor | None = None) -> Tensor:
        """Returns minus the mean log mass of the discrete numbers, and the loss of the continuous ones."""
        if self.rest is None or not self.loss_noise:
            return super().loss(theta, context)
        total, context = self._log_masses(theta, context)
        return self.rest.loss(theta[..., self.continuous], context, noise) - total.mean()

    def _log_masses(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """The log probability (B,) of the discrete numbers, and contexts that tell of them."""
        total = z.new_zeros(z.shape[:-1])
        for j, n, flow in zip(self.discrete, self.cells, self.marginals, strict=True):
            total = total + _log_mass(cast(SplineFlow, flow), z[..., j], n, context)
            context = torch.cat([context, _told(z[..., j], n)], dim=-1)
        return total, context

    @torch.no_grad()
    def push(
        self, noise: Tensor, context: Tensor, index: Tensor, density: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Returns draws and their log densities from base noise; see `Density.push`."""
        z, context, rows = noise[:, : self.features].clone(), context[index], torch.arange(len(noise))
        log_p = noise.new_zeros(len(noise))
        for j, n, flow in zip(self.discrete, self.cells, self.marginals, strict=True):
            place = cast(SplineFlow, flow).push(noise[:, [j]], context, rows)[0][:, 0]
            z[:, j] = torch.round(place * _scale(n) + (n - 1) / 2).clamp(0, n - 1)
            log_p = log_p + _log_mass(cast(SplineFlow, flow), z[:, j], n, context)
            context = torch.cat([context, _told(z[:, j], n)], dim=-1)
        if self.rest is not None:
            others = [j for j in range(noise.shape[1]) if j not in self.discrete]
            z[:, self.continuous], more = self.rest.push(noise[:, others], context, rows, density)
            return z, None if more is None else log_p + more
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

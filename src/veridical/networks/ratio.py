r"""A network for the ratio of a likelihood and an evidence, and the losses that it learns by.

With f_0 at pairs (z, x) as they were simulated and f_1, ..., f_K at the same x with z of other rows, by
rolling the batch by 1, ..., K,

.. math::
    L_\text{binary} &= E \, s(-f_0) + E \, s(f_1), \qquad s = \text{softplus} \\
    L_\text{contrastive} &= - \frac{1}{1+\gamma} E \log \frac{K}{K + \gamma \sum_{k=1}^K e^{f_k}}
        - \frac{\gamma}{1+\gamma} E \log \frac{\gamma e^{f_0}}{K + \gamma \sum_{k=0}^{K-1} e^{f_k}} \\
    L_\text{balanced} &= L_\text{binary} + \lambda \, (E \, \sigma(f_0) + E \, \sigma(f_1) - 1)^2 .

Each is least at :math:`f = \log p(x \mid z) / p(x)`, constant included. With K = 1 and gamma = 1 the second
is half of the first. The third is wider than it should be where it has not learned enough.

Slopes of f in z, by the chain rule from its last layer to the first, can be learned from themselves: the
derivative of the activation, :math:`\sigma(h) (1 + h (1 - \sigma(h)))`, is smooth.

References:
    | Likelihood-free MCMC with Amortized Approximate Ratio Estimators (Hermans, Begy and Louppe, 2020)
    | https://arxiv.org/abs/1903.04057
    | Contrastive Neural Ratio Estimation (Miller, Weniger and Forré, 2022), https://arxiv.org/abs/2210.06170
    | Towards Reliable Simulation-Based Inference with Balanced Neural Ratio Estimation
    | (Delaunoy et al., 2022), https://arxiv.org/abs/2208.13624
"""

from __future__ import annotations

from math import log
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

_SMALL = 0.1  # of the last layer of each block at the start


class ResidualNetwork(nn.Module):
    """One number for z and a context: what each enters by is added, then residual blocks.

    Arguments:
        features: Of z.
        context: Numbers of the context.
        width: Of all layers.
        blocks: Number of blocks.
    """

    def __init__(self, features: int, context: int, width: int, blocks: int) -> None:
        super().__init__()
        self.enter = nn.Linear(features, width)
        self.told = nn.Linear(context, width, bias=False)
        self.inner = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.outer = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.leave = nn.Linear(width, 1)
        with torch.no_grad():
            for weight in self.outer.parameters():
                weight.mul_(_SMALL)

    def forward(self, z: Tensor, told: Tensor) -> Tensor:
        """Returns numbers (...) for z (..., K), given `self.told(context)` (..., W)."""
        h = self.enter(z) + told
        for inner, outer in zip(self.inner, self.outer, strict=True):
            h = h + outer(functional.silu(inner(functional.silu(h))))
        found: Tensor = self.leave(functional.silu(h))
        return found.squeeze(-1)

    def with_slopes(self, z: Tensor, told: Tensor, first: int) -> tuple[Tensor, Tensor]:
        """Returns numbers (R, B) for z (R, B, K), and slopes in the first rows of z[0], (first, K)."""
        h, inside = (self.enter(z) + told).flatten(0, 1), []
        for inner, outer in zip(self.inner, self.outer, strict=True):
            within = inner(functional.silu(h))
            inside.append((h[:first], within[:first], inner, outer))
            h = h + outer(functional.silu(within))
        found: Tensor = self.leave(functional.silu(h))
        slopes = slope(self.leave.weight.expand(first, -1), h[:first])
        for before, within, inner, outer in reversed(inside):
            slopes = slopes + slope(slope(slopes @ outer.weight, within) @ inner.weight, before)
        return found.reshape(z.shape[:-1]), slopes @ self.enter.weight


class _Slope(torch.autograd.Function):
    """A gradient times the derivative of the activation, as one step forward and few backward."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, h: Tensor) -> Tensor:
        ctx.save_for_backward(gradient, h)
        return cast(Tensor, torch.ops.aten.silu_backward(gradient, h))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor, Tensor]:
        gradient, h = ctx.saved_tensors
        share = h.sigmoid()
        second = (1 - 2 * share).mul_(h).add_(2).mul_(share).mul_(1 - share)
        return torch.ops.aten.silu_backward(given, h), second.mul_(gradient).mul_(given)


def slope(gradient: Tensor, h: Tensor) -> Tensor:
    """Returns a gradient (...) times the derivative of SiLU at h (...), with gradients in both."""
    return cast(Tensor, _Slope.apply(gradient, h))


def binary(f: Tensor) -> Tensor:
    """Returns the loss of f (1 + K, B), of which the first two rows count."""
    return functional.softplus(-f[0]).mean() + functional.softplus(f[1]).mean()


def contrastive(f: Tensor, gamma: float) -> Tensor:
    """Returns the loss of f (1 + K, B) by K contrasts."""
    k, log_gamma = len(f) - 1, log(gamma)
    none = f.new_full((), log(k))
    apart = none - torch.logaddexp(none, log_gamma + f[1:].logsumexp(0))
    joint = log_gamma + f[0] - torch.logaddexp(none, log_gamma + f[:-1].logsumexp(0))
    return -(apart.mean() + gamma * joint.mean()) / (1 + gamma)


def balanced(f: Tensor, strength: float) -> Tensor:
    """Returns the loss of f (1 + K, B), of which the first two rows count."""
    return binary(f) + strength * (f[0].sigmoid().mean() + f[1].sigmoid().mean() - 1) ** 2

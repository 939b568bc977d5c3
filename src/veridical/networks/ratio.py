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

References:
    | Likelihood-free MCMC with Amortized Approximate Ratio Estimators (Hermans, Begy and Louppe, 2020)
    | https://arxiv.org/abs/1903.04057
    | Contrastive Neural Ratio Estimation (Miller, Weniger and Forré, 2022), https://arxiv.org/abs/2210.06170
    | Towards Reliable Simulation-Based Inference with Balanced Neural Ratio Estimation
    | (Delaunoy et al., 2022), https://arxiv.org/abs/2208.13624
"""

from __future__ import annotations

from math import log

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

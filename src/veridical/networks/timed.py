"""The residual network of densities that learn from noisy parameters: theta at a time, given a context."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor, nn
from torch.nn import functional

FREQUENCIES = 4  # of the time; high ones make the field rough in it
_SMALL = 0.1  # of the last layers at the start, so that blocks begin near the identity


class TimedNetwork(nn.Module):
    """Residual blocks on theta; what the context and the time tell is added inside each of them.

    Arguments:
        features: Number of parameters D.
        context: Number of context features C.
        width: Width of all layers.
        blocks: Number of blocks.
    """

    def __init__(self, features: int, context: int, width: int, blocks: int) -> None:
        super().__init__()
        self.width = width
        self.enter = nn.Linear(features, width)
        self.told = nn.Linear(context, width * (blocks + 1))
        self.timed = nn.Linear(2 * FREQUENCIES + 1, width * (blocks + 1), bias=False)
        self.inner = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(blocks))
        self.outer = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.leave = nn.Linear(width, features)
        with torch.no_grad():
            for layer in (*self.outer, self.leave):
                layer.weight.mul_(_SMALL)

    def forward(self, theta: Tensor, time: Tensor, told: Tensor) -> Tensor:
        """Returns D numbers for theta (..., D) at a time (...) or (), given `self.told(context)`."""
        angle = time[..., None] * (2 * pi * torch.arange(1, FREQUENCIES + 1, device=time.device))
        seen = self.timed(torch.cat([time[..., None], angle.sin(), angle.cos()], dim=-1).to(theta.dtype))
        first, *others = (told + seen).split(self.width, dim=-1)
        h = self.enter(theta) + first
        for inner, outer, more in zip(self.inner, self.outer, others, strict=True):
            h = h + outer(functional.silu(inner(functional.silu(h)) + more))
        return self.leave(functional.silu(h))

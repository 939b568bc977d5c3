r"""Summaries of a series whose steps see each other wherever they are.

Each step is told its time t, of unit variance over the series, by :math:`\sin \omega_k t` and :math:`\cos
\omega_k t`, with frequencies from half a turn over the series to half a turn a step. Patches of steps, which
overlap by as much as the kernel is longer, then make one element each: attention compares all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from veridical.networks.attention import Attention, Pooling
from veridical.networks.elements import ElementsSummary
from veridical.networks.layers import dense

FREQUENCIES = 8
SPAN = 12**0.5  # of evenly spaced times of unit variance


class TransformerSummary(ElementsSummary):
    """Attention among the steps of a series, then of one learned query to them."""

    even: Tensor
    turns: Tensor

    def __init__(
        self,
        x_shape: tuple[int, ...],
        width: int,
        heads: int,
        blocks: int,
        kernel: int,
        patch: int,
        hidden: Sequence[int],
        features: int,
        axis: int = 0,
        times: int | None = None,
        has_missing: bool = False,
    ) -> None:
        super().__init__("transformer", x_shape, axis, has_missing, features)
        self.times = times if times is None else times * (1 + has_missing)
        even = torch.linspace(-SPAN / 2, SPAN / 2, self.length)[:, None]
        slowest = math.pi / SPAN
        turns = slowest * max(2, self.length - 1) ** torch.linspace(0, 1, FREQUENCIES)
        self.register_buffer("even", even, persistent=False)
        self.register_buffer("turns", turns, persistent=False)
        self.patch, self.size = patch, max(kernel, patch)
        more = -self.length % patch + self.size - patch  # steps that whole patches need beyond the series
        self.padding = more // 2, more - more // 2
        self.convolution = nn.Conv1d(self.channels + 2 * FREQUENCIES, width, self.size, stride=patch)
        self.element = nn.Sequential(nn.ReLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(Attention(width, heads) for _ in range(blocks))
        self.pooling = Pooling(1, width, heads)
        self.layers = dense([width + has_missing, *hidden, features])

    def forward(self, x: Tensor) -> Tensor:
        """Returns summaries (B, K) of x (B, *x_shape)."""
        steps, there = self.elements(x)
        time = self.even.expand(len(x), -1, -1)
        if self.times is not None:
            time = steps[..., self.times : self.times + 1]
        told = torch.cat([(time * self.turns).sin(), (time * self.turns).cos()], dim=-1)
        if there is not None:
            told = told * there[..., None]
        steps = torch.cat([steps, told], dim=-1).transpose(1, 2)
        h = self.element(self.convolution(nn.functional.pad(steps, self.padding)).transpose(1, 2))
        seen = there
        if there is not None:
            seen = nn.functional.pad(there, self.padding).unfold(1, self.size, self.patch).amax(-1)
        for block in self.blocks:
            h = block(h, h, seen)
        return self.layers(self.with_count(self.pooling(h, seen)[:, 0], there))

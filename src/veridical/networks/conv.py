"""Summaries of a series by convolutions along it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from veridical.networks.layers import Summary, dense, series_shape

SHORT = 16  # steps that a series should have left before its dense layers


class ConvSummary(Summary):
    """Convolutions of stride 2 along the series, then a dense network on what remains of it."""

    def __init__(
        self,
        x_shape: tuple[int, ...],
        channels: Sequence[int],
        kernel: int,
        hidden: Sequence[int],
        features: int,
    ) -> None:
        super().__init__()
        length, before = series_shape(x_shape, "conv")
        self.features, self.channels = features, list(channels)
        layers: list[nn.Module] = []
        for after in channels:
            layers += [nn.Conv1d(before, after, kernel, stride=2, padding=kernel // 2), nn.ReLU()]
            length = (length + 2 * (kernel // 2) - kernel) // 2 + 1
            before = after
        self.steps = length  # left of the series
        self.convolutions = nn.Sequential(*layers)
        self.layers = nn.Sequential(nn.Flatten(), dense([length * before, *hidden, features]))

    def forward(self, x: Tensor) -> Tensor:
        """Returns summaries (B, K) of x (B, *x_shape)."""
        series = x.reshape(x.shape[0], x.shape[1], -1).transpose(1, 2)
        return self.layers(self.convolutions(series))

    def narrower(self) -> str:
        """Returns which channels would leave a short series; empty where it is short."""
        if self.steps <= SHORT:
            return ""
        more = math.ceil(math.log2(self.steps / SHORT))
        wanted = self.channels + [self.channels[-1]] * more
        return (
            f"summary `conv`: {len(self.channels)} halvings leave {self.steps:,} steps of the series; each "
            f"entry of `channels` halves it once more, so that channels: {wanted} leave "
            f"{math.ceil(self.steps / 2**more)}."
        )

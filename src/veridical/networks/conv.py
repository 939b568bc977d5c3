"""Summaries of a series by convolutions along it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from veridical.networks.convolutions import ConvolvedSummary
from veridical.networks.layers import as_series, series_shape

SHORT = 16  # steps that a series should have left before its dense layers


class ConvSummary(ConvolvedSummary):
    """Convolutions along a series."""

    def __init__(
        self,
        x_shape: tuple[int, ...],
        channels: Sequence[int],
        kernel: int,
        hidden: Sequence[int],
        features: int,
        patch: int = 2,
        means: bool = False,
        axis: int = 0,
    ) -> None:
        length, before = series_shape(x_shape, "conv", axis)
        super().__init__((length,), before, channels, kernel, patch, means, hidden, features)
        self.axis = axis

    def arranged(self, x: Tensor) -> Tensor:
        """Returns x (B, *x_shape) as (B, C, L)."""
        return as_series(x, self.axis).transpose(1, 2)

    def narrower(self) -> str:
        """Returns which channels would leave a short series; empty where it is short."""
        if self.steps <= SHORT:
            return ""
        more = math.ceil(math.log2(self.steps / SHORT))
        wanted = self.channels + [self.channels[-1]] * more
        return (
            f"summary `conv`: {len(self.channels)} halvings leave {self.steps:,} steps of the series; each "
            f"entry of `channels` halves it once more, so that channels: {wanted} leave "
            f"{math.ceil(self.steps / 2**more)}. Or leave `channels` out."
        )

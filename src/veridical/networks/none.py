"""No summaries: the numbers of x themselves."""

from __future__ import annotations

from math import prod

from torch import Tensor

from veridical.networks.layers import Summary


class NoSummary(Summary):
    """All numbers of x as they are."""

    def __init__(self, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.features = prod(x_shape)

    def forward(self, x: Tensor) -> Tensor:
        """Returns x (B, *x_shape) as summaries (B, K)."""
        return x.reshape(len(x), -1)

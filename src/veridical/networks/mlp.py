"""Summaries of all numbers of x by a dense network."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import Tensor

from veridical.networks.layers import Summary, dense


class MLPSummary(Summary):
    """A dense network on all numbers of x."""

    def __init__(self, x_shape: tuple[int, ...], hidden: Sequence[int], features: int) -> None:
        super().__init__()
        self.features = features
        self.layers = dense([prod(x_shape), *hidden, features])

    def forward(self, x: Tensor) -> Tensor:
        """Returns summaries (B, K) of x (B, *x_shape)."""
        return self.layers(x.reshape(len(x), -1))

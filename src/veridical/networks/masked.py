"""Summary networks of x with missing numbers, which are NaN: they see what is there, and which that is.

In a missing place no network ever sees a number: there is 0, the mean of standardised inputs, and the mask
beside it says that it is none.
"""

from __future__ import annotations

import torch
from torch import Tensor

from veridical.networks.layers import Summary


def with_mask(x: Tensor) -> Tensor:
    """Returns x (B, ...) with 0 for missing numbers beside 1 where a number is there, shape (B, ..., 2)."""
    there = ~x.isnan()
    return torch.stack([torch.where(there, x, 0), there.to(x.dtype)], dim=-1)


class Masked(Summary):
    """Any summary network, of values and mask along a last axis more; along a series they are channels."""

    def __init__(self, network: Summary) -> None:
        super().__init__()
        self.network = network
        self.features = network.features

    def forward(self, x: Tensor) -> Tensor:
        """Returns summaries (B, K) of x (B, *x_shape)."""
        return self.network(with_mask(x))

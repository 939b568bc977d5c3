"""Summary networks of x with missing numbers, which are NaN: they see what is there, and which that is.

In a missing place no network ever sees a number: there is 0, the mean of standardised inputs, and the mask
beside it says that it is none.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from veridical.networks.deepset import DeepSetSummary
from veridical.networks.layers import Summary, as_series, dense


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


class MaskedDeepSet(DeepSetSummary):
    """A deep set of the rows that are there: their mean, and how many they are.

    The mean alone would not tell three rows from twenty, on which the width of a posterior depends. Absent
    rows change nothing, so that sets of differing size can be padded to any length. A row is there if any
    number of it is; values and mask of its numbers are what the first network sees.
    """

    def __init__(
        self,
        x_shape: tuple[int, ...],
        element: Sequence[int],
        hidden: Sequence[int],
        features: int,
        axis: int = 0,
    ) -> None:
        super().__init__((*x_shape, 2), element, hidden, features, axis)
        self.layers = dense([element[-1] + 1, *hidden, features])

    def forward(self, x: Tensor) -> Tensor:
        """Returns summaries (B, K) of x (B, *x_shape)."""
        rows = with_mask(as_series(x, self.axis))
        there = rows[..., 1].amax(dim=2)
        count = there.sum(dim=1, keepdim=True)
        mean = (self.element(rows.flatten(2)) * there[..., None]).sum(dim=1) / count.clamp(min=1)
        return self.layers(torch.cat([mean, count.log1p()], dim=1))

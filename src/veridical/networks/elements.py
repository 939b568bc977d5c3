"""Networks of the elements along one axis of x, of which some may be missing."""

from __future__ import annotations

import torch
from torch import Tensor

from veridical.networks.layers import Summary, as_series, series_shape
from veridical.networks.masked import with_mask


class ElementsSummary(Summary):
    """A summary network that sees which elements are there.

    An element is there if any number of it is. What is missing has no influence: there is 0 in its place, and
    where elements meet, those that are not there are left out.

    Arguments:
        name: Of the network, for messages.
        x_shape: Shape of one row of x.
        axis: The axis of x along which they lie.
        has_missing: Whether numbers of x may be missing, which are NaN.
        features: Number of summaries.

    Attributes:
        length: Number of elements L.
        channels: Numbers of one element C, with their masks where they may be missing.
    """

    sees_missing = True

    def __init__(
        self, name: str, x_shape: tuple[int, ...], axis: int, has_missing: bool, features: int
    ) -> None:
        super().__init__()
        self.length, numbers = series_shape(x_shape, name, axis)
        self.channels = numbers * 2 if has_missing else numbers
        self.axis, self.has_missing, self.features = axis, has_missing, features

    def elements(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Returns the elements (B, L, C) of x, and which are there, 1 or 0 (B, L); None where all are."""
        rows = as_series(x, self.axis)
        if not self.has_missing:
            return rows, None
        rows = with_mask(rows)
        return rows.flatten(2), rows[..., 1].amax(dim=2)

    def with_count(self, summary: Tensor, there: Tensor | None) -> Tensor:
        """Returns numbers (B, W) with the logarithm of how many elements there are, where these differ.

        A mean, and so attention, would not tell three rows from twenty, on which the width of a posterior
        depends.
        """
        if there is None:
            return summary
        return torch.cat([summary, there.sum(dim=1, keepdim=True).log1p()], dim=1)

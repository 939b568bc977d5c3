"""What summary networks are put together from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import nn

from veridical.errors import ShapeError


class Summary(nn.Module):
    """A network from x (B, *x_shape) to summaries (B, K).

    Attributes:
        features: Number of summaries K.
    """

    features: int

    def narrower(self) -> str:
        """Returns which settings would leave fewer weights, where it knows of any."""
        return ""


def dense(widths: Sequence[int]) -> nn.Sequential:
    """Returns linear layers of the given widths (inputs first), with ReLU between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def series_shape(x_shape: tuple[int, ...], name: str) -> tuple[int, int]:
    """Returns length and number of channels of one row of x, whose first axis is the series."""
    if not x_shape:
        raise ShapeError(f"summary {name!r}: expected x with at least one axis, got numbers; use 'none'.")
    return x_shape[0], prod(x_shape[1:])

"""What summary networks are put together from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod

from torch import Tensor, nn

from veridical.errors import ShapeError

Activation = Callable[[], nn.Module]  # what makes one, such as nn.ReLU
_NUMBERS = 2**23  # of x that pass through a network at once: up to 1,024 in a row do not lower `most`


class Summary(nn.Module):
    """A network from x (B, *x_shape) to summaries (B, K).

    Attributes:
        features: Number of summaries K.
        sees_missing: Whether it takes x with missing numbers, if told `has_missing`.
    """

    features: int
    sees_missing = False

    def narrower(self) -> str:
        """Returns which settings would leave fewer weights, where it knows of any."""
        return ""


def dense(widths: Sequence[int], activation: Activation = nn.ReLU) -> nn.Sequential:
    """Returns linear layers of the given widths (inputs first), and an activation between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), activation()]
    return nn.Sequential(*layers[:-1])


def series_shape(x_shape: tuple[int, ...], name: str, axis: int = 0) -> tuple[int, int]:
    """Returns length and number of channels of one row of x, one axis of which is the series.

    Raises:
        ShapeError: If there is no such axis.
    """
    if not x_shape:
        raise ShapeError(f"summary {name!r}: expected x with at least one axis, got numbers; use 'none'.")
    if axis >= len(x_shape):
        raise ShapeError(f"summary {name!r}: x of shape {x_shape} has no axis {axis}; they count from 0.")
    return x_shape[axis], prod(x_shape) // x_shape[axis]


def as_series(x: Tensor, axis: int = 0) -> Tensor:
    """Returns x (B, *x_shape) as series along one axis of x, all other numbers side by side: (B, L, C)."""
    return x.movedim(axis + 1, 1).reshape(x.shape[0], x.shape[axis + 1], -1)


def rows_at_once(x_shape: tuple[int, ...], most: int = 8192) -> int:
    """Returns how many rows of x pass through a network at once, outside training: fewer of many numbers."""
    return max(1, min(most, _NUMBERS // max(1, prod(x_shape))))

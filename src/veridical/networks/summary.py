"""Summary networks: x (B, *x_shape) to summaries (B, K).

For `conv` and `gru` the first axis of x is the series and the others are its channels; for `deepset`
the first axis holds exchangeable rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import Tensor, nn

from veridical.errors import ShapeError


def dense(widths: Sequence[int]) -> nn.Sequential:
    """Returns linear layers of the given widths (inputs first), with ReLU between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _series(x_shape: tuple[int, ...], name: str) -> tuple[int, int]:
    """Length and number of channels of one row of x."""
    if not x_shape:
        raise ShapeError(f"summary {name!r}: expected x with at least one axis, got numbers; use 'none'.")
    return x_shape[0], prod(x_shape[1:])


class MLPSummary(nn.Module):
    """A dense network on all numbers of x."""

    def __init__(self, x_shape: tuple[int, ...], hidden: Sequence[int], features: int) -> None:
        super().__init__()
        self.features = features
        self.layers = dense([prod(x_shape), *hidden, features])

    def forward(self, x: Tensor) -> Tensor:
        """Returns summaries (B, K) of x (B, *x_shape)."""
        return self.layers(x.reshape(len(x), -1))


class ConvSummary(nn.Module):
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
        length, before = _series(x_shape, "conv")
        self.features = features
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


class GRUSummary(nn.Module):
    """A gated recurrent network along the series; a dense network on its last state."""

    def __init__(
        self, x_shape: tuple[int, ...], state: int, layers: int, hidden: Sequence[int], features: int
    ) -> None:
        super().__init__()
        _, channels = _series(x_shape, "gru")
        self.features = features
        self.recurrent = nn.GRU(channels, state, layers, batch_first=True)
        self.layers = dense([state, *hidden, features])

    def forward(self, x: Tensor) -> Tensor:
        """Returns summaries (B, K) of x (B, *x_shape)."""
        _, last = self.recurrent(x.reshape(x.shape[0], x.shape[1], -1))
        return self.layers(last[-1])


class DeepSetSummary(nn.Module):
    """Summaries that do not depend on the order of the rows: a dense network of a mean over rows.

    References:
        | Deep Sets (Zaheer et al., 2017)
        | https://arxiv.org/abs/1703.06114
    """

    def __init__(
        self,
        x_shape: tuple[int, ...],
        element: Sequence[int],
        hidden: Sequence[int],
        features: int,
        beside: int = 0,  # further numbers that a subclass puts beside the mean
    ) -> None:
        super().__init__()
        _, channels = _series(x_shape, "deepset")
        self.features = features
        self.element = nn.Sequential(dense([channels, *element]), nn.ReLU())
        self.layers = dense([element[-1] + beside, *hidden, features])

    def forward(self, x: Tensor) -> Tensor:
        """Returns summaries (B, K) of x (B, *x_shape)."""
        rows = x.reshape(x.shape[0], x.shape[1], -1)
        return self.layers(self.element(rows).mean(dim=1))


class NoSummary(nn.Module):
    """All numbers of x as they are."""

    def __init__(self, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.features = prod(x_shape)

    def forward(self, x: Tensor) -> Tensor:
        """Returns x (B, *x_shape) as summaries (B, K)."""
        return x.reshape(len(x), -1)

"""Summaries of a series by a recurrent network."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from veridical.networks.layers import Summary, as_series, dense, series_shape


class GRUSummary(Summary):
    """A gated recurrent network along the series; a dense network on its last state."""

    def __init__(
        self,
        x_shape: tuple[int, ...],
        state: int,
        layers: int,
        hidden: Sequence[int],
        features: int,
        axis: int = 0,
    ) -> None:
        super().__init__()
        _, channels = series_shape(x_shape, "gru", axis)
        self.features, self.axis = features, axis
        self.recurrent = nn.GRU(channels, state, layers, batch_first=True)
        self.layers = dense([state, *hidden, features])

    def forward(self, x: Tensor) -> Tensor:
        """Returns summaries (B, K) of x (B, *x_shape)."""
        _, last = self.recurrent(as_series(x, self.axis))
        return self.layers(last[-1])

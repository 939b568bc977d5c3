"""Summaries of exchangeable rows."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from veridical.networks.layers import Summary, as_series, dense, series_shape


class DeepSetSummary(Summary):
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
        axis: int = 0,
    ) -> None:
        super().__init__()
        _, channels = series_shape(x_shape, "deepset", axis)
        self.features, self.axis = features, axis
        self.element = nn.Sequential(dense([channels, *element]), nn.ReLU())
        self.layers = dense([element[-1], *hidden, features])

    def forward(self, x: Tensor) -> Tensor:
        """Returns summaries (B, K) of x (B, *x_shape)."""
        rows = as_series(x, self.axis)
        return self.layers(self.element(rows).mean(dim=1))

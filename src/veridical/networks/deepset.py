"""Summaries of exchangeable rows by a mean over them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from veridical.networks.elements import ElementsSummary
from veridical.networks.layers import dense


class DeepSetSummary(ElementsSummary):
    """Summaries that do not depend on the order of the rows: a dense network of a mean over rows.

    Of rows that may be missing it is a mean over those that are there, beside their number: absent ones
    change nothing, so that sets of differing size can be padded to any length.

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
        has_missing: bool = False,
    ) -> None:
        super().__init__("deepset", x_shape, axis, has_missing, features)
        self.element = nn.Sequential(dense([self.channels, *element]), nn.ReLU())
        self.layers = dense([element[-1] + has_missing, *hidden, features])

    def forward(self, x: Tensor) -> Tensor:
        """Returns summaries (B, K) of x (B, *x_shape)."""
        rows, there = self.elements(x)
        h = self.element(rows)
        if there is None:
            return self.layers(h.mean(dim=1))
        mean = (h * there[..., None]).sum(dim=1) / there.sum(dim=1, keepdim=True).clamp(min=1)
        return self.layers(self.with_count(mean, there))

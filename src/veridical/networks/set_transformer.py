"""Summaries of exchangeable rows that see each other before they are pooled."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from veridical.networks.attention import Attention, Induced, Pooling
from veridical.networks.elements import ElementsSummary
from veridical.networks.layers import dense


class SetTransformerSummary(ElementsSummary):
    """Attention among the rows, then of a few learned queries to them; the order of rows says nothing.

    References:
        | Set Transformer (Lee et al., 2019)
        | https://arxiv.org/abs/1810.00825
    """

    def __init__(
        self,
        x_shape: tuple[int, ...],
        width: int,
        heads: int,
        blocks: int,
        inducing: int,
        seeds: int,
        hidden: Sequence[int],
        features: int,
        axis: int = 0,
        has_missing: bool = False,
    ) -> None:
        super().__init__("set_transformer", x_shape, axis, has_missing, features)
        self.element = dense([self.channels, width, width])
        self.blocks = nn.ModuleList(
            Induced(inducing, width, heads) if inducing else Attention(width, heads) for _ in range(blocks)
        )
        self.pooling = Pooling(seeds, width, heads)
        self.layers = dense([seeds * width + has_missing, *hidden, features])

    def forward(self, x: Tensor) -> Tensor:
        """Returns summaries (B, K) of x (B, *x_shape)."""
        rows, there = self.elements(x)
        h = self.element(rows)
        for block in self.blocks:
            h = block(h, there) if isinstance(block, Induced) else block(h, h, there)
        return self.layers(self.with_count(self.pooling(h, there).flatten(1), there))

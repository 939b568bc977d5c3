"""Summaries of several blocks of x."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from veridical.networks import build_summary
from veridical.networks.entries import Block
from veridical.networks.layers import Summary


class PartsSummary(Summary):
    """Blocks of the entries along one axis, each seen by a network of its own, summaries side by side."""

    sees_missing = True

    def __init__(
        self,
        x_shape: tuple[int, ...],
        parts: Mapping[str, Mapping[str, Any]],
        axis: int = 0,
        has_missing: bool = False,
    ) -> None:
        super().__init__()
        self.blocks = [Block.of(part, x_shape, axis) for part in parts.values()]
        networks = [
            build_summary(part["summary"], block.shape, has_missing=has_missing)
            for part, block in zip(parts.values(), self.blocks, strict=True)
        ]
        self.networks = nn.ModuleList(networks)
        for i, block in enumerate(self.blocks):
            self.register_buffer(f"entries{i}", torch.tensor(block.entries), persistent=False)
        self.features = sum(network.features for network in networks)

    def forward(self, x: Tensor) -> Tensor:
        """Returns summaries (B, K) of x (B, *x_shape)."""
        found = []
        for i, (block, network) in enumerate(zip(self.blocks, self.networks, strict=True)):
            part = x.index_select(block.axis + 1, self.get_buffer(f"entries{i}"))
            found.append(network(part.reshape(-1, *block.shape)))
        return torch.cat(found, dim=1)

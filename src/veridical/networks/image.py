"""Summaries of an image by convolutions over it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from veridical.errors import ShapeError
from veridical.networks.convolutions import ConvolvedSummary


class ImageSummary(ConvolvedSummary):
    """Convolutions over an image."""

    def __init__(
        self,
        x_shape: tuple[int, ...],
        channels: Sequence[int],
        kernel: int,
        hidden: Sequence[int],
        features: int,
        patch: int = 2,
        axes: Sequence[int] = (-2, -1),
        blocks: int = 0,
        places: bool = True,
    ) -> None:
        if len(x_shape) < 2 or not all(-len(x_shape) <= axis < len(x_shape) for axis in axes):
            raise ShapeError(
                f"summary 'image': expected x with two axes of an image, got shape {x_shape} and axes "
                f"{list(axes)}; use 'mlp' or 'conv'."
            )
        found = tuple(axis % len(x_shape) for axis in axes)
        lengths = tuple(x_shape[axis] for axis in found)
        before = math.prod(x_shape) // math.prod(lengths)
        super().__init__(lengths, before, channels, kernel, patch, True, hidden, features, blocks, places)
        self.axes = tuple(axis + 1 for axis in found)

    def arranged(self, x: Tensor) -> Tensor:
        """Returns x (B, *x_shape) as (B, C, H, W)."""
        x = x.movedim(self.axes, (-2, -1))
        return x.reshape(x.shape[0], -1, *x.shape[-2:])

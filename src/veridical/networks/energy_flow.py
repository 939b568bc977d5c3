r"""Summaries of particles that neither soft nor collinear ones can change.

.. math:: s(x) = F \Big( \sum_i z_i \Phi(p_i) \Big)

with the energy z and the direction p of each particle. The sum takes no notice of the order of particles, of
one more without energy, and of one that is split into two of the same direction: it is infrared and collinear
safe. So energies are scaled, by their mean sum, but never shifted, and enter in no other way.

References:
    | Energy Flow Networks: Deep Sets for Particle Jets (Komiske, Metodiev, Thaler, 2019)
    | https://arxiv.org/abs/1810.05165
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from veridical.errors import ShapeError
from veridical.networks.layers import Summary, as_series, dense, series_shape
from veridical.networks.masked import with_mask


class EnergyFlowSummary(Summary):
    """A dense network of a sum over particles, weighted by their energies; absent particles add nothing."""

    sees_missing = True

    def __init__(
        self,
        x_shape: tuple[int, ...],
        energy: int,
        element: Sequence[int],
        hidden: Sequence[int],
        features: int,
        axis: int = 0,
        has_missing: bool = False,
    ) -> None:
        super().__init__()
        _, numbers = series_shape(x_shape, "energy_flow", axis)
        if numbers < 2:
            raise ShapeError(
                f"summary 'energy_flow': expected particles of an energy and more, got x of shape {x_shape}; "
                "use 'deepset'."
            )
        self.features, self.axis, self.energy, self.has_missing = features, axis, energy, has_missing
        self.element = nn.Sequential(dense([(numbers - 1) * (1 + has_missing), *element]), nn.ReLU())
        self.layers = dense([element[-1], *hidden, features])

    def forward(self, x: Tensor) -> Tensor:
        """Returns summaries (B, K) of x (B, *x_shape)."""
        particles = as_series(x, self.axis)
        before, energy, after = particles.tensor_split([self.energy, self.energy + 1], dim=-1)
        others = torch.cat([before, after], dim=-1)
        if self.has_missing:
            energy, others = with_mask(energy)[..., 0], with_mask(others).flatten(2)
        return self.layers((energy * self.element(others)).sum(dim=1))

r"""Weights that are learned with the network, as precisions of the plain loss and of each slope.

.. math:: L = e^{-a_0} L_0 + \frac{a_0}{2} + \sum_k \frac{e^{-a_k} L_k + a_k}{2} .

Relative to the plain loss the weights are :math:`w_k = K e^{a_0 - a_k} / 2`. Nothing caps them: where a slope
is learned to the digit, its precision grows as long as training lasts.

References:
    | Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry and Semantics
    | (Kendall, Gal and Cipolla, 2018), https://arxiv.org/abs/1705.07115
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from veridical.training.score_weights import ScoreWeights


class Kendall(ScoreWeights):
    """Logarithms of variances, which the optimiser moves beside the network's weights."""

    def __init__(self, settings: Any, parameters: int) -> None:
        super().__init__(settings, parameters)
        self.log_variances = nn.Parameter(torch.zeros(1 + parameters))
        self.weights.fill_(0.5 * parameters)

    def forward(self, loss: Tensor, errors: Tensor, last: Tensor) -> Tensor:
        """Returns the loss that a step descends; see `ScoreWeights.forward`."""
        plain, each = self.log_variances[0], self.log_variances[1:]
        self.weights.copy_((0.5 * len(each) * (plain - each).exp()).detach())
        return (-plain).exp() * loss + 0.5 * (plain + ((-each).exp() * errors + each).sum())

r"""Weights by which parameters whose error has fallen less than others' pull the last layer harder.

The plain loss keeps the weight 1. With :math:`G_k = w_k \lVert \nabla_W L_k \rVert`, :math:`G_0` of the plain
loss, their mean :math:`\bar G` and the errors relative to those of the first step,

.. math:: r_k = \frac{L_k / L_k(0)}{\operatorname{mean}_j L_j / L_j(0)} , \qquad
    w_k \leftarrow w_k \, (1 \pm \eta)

up where :math:`G_k < \bar G r_k^\alpha` and down otherwise: against the gradient of
:math:`\lvert G_k - \bar G r_k^\alpha \rvert`, in steps that are a share of the weight. Weights begin at 1.

References:
    | GradNorm: Gradient Normalization for Adaptive Loss Balancing in Deep Multitask Networks
    | (Chen et al., 2018), https://arxiv.org/abs/1711.02257
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from veridical.training.score_weights import Looking


class GradNorm(Looking):
    """Weights that follow how fast the errors of the slopes fall.

    Attributes:
        first: The errors in the first step, shape (K,).
    """

    first: Tensor

    def __init__(self, settings: Any, parameters: int) -> None:
        super().__init__(settings, parameters)
        self.weights.fill_(min(1.0, settings.cap))
        self.register_buffer("first", torch.zeros(parameters))

    def look(self, step: int, plain: Tensor, norms: Tensor, errors: Tensor) -> None:
        """Moves each weight by one share of itself; see `Looking.look`."""
        if step == 0:
            self.first.copy_(errors)
        pulls = self.weights * norms
        relative = errors / self.first.clamp(min=torch.finfo(errors.dtype).tiny)
        wanted = torch.cat([plain[None], pulls]).mean() * (relative / relative.mean()) ** self.settings.power
        self.take(self.weights * (1 + self.settings.rate * torch.sign(wanted - pulls)), norms)

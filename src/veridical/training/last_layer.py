r"""Weights by which the errors of all slopes pull the last layer as hard as the plain loss does.

With gradients of the last layer's weights W alone, at every look,

.. math:: w_k \leftarrow \beta w_k + (1 - \beta)
    \frac{\lVert \nabla_W L_0 \rVert}{\lVert \nabla_W L_k \rVert} ,

where the first look takes the ratio itself. A weight whose own gradient has vanished stays.
"""

from __future__ import annotations

from torch import Tensor

from veridical.training.score_weights import FLAT, Looking


class LastLayer(Looking):
    """Running means of ratios of gradients."""

    def look(self, step: int, plain: Tensor, norms: Tensor, errors: Tensor) -> None:
        """Moves each weight towards the ratio of the gradients; see `Looking.look`."""
        found = (plain / norms.clamp(min=FLAT)).clamp(max=self.settings.cap)
        share = self.settings.decay if step else 0.0
        self.take(share * self.weights + (1 - share) * found, norms)

r"""A running mean of weights over the steps of a training, which is what looks judge and what is kept.

.. math:: a_n = \sum_{i=1}^{n} \beta^{n-i} w_i \Big/ \sum_{i=1}^{n} \beta^{n-i} ,
    \qquad a_n = a_{n-1} + \frac{1 - \beta}{1 - \beta^n} (w_n - a_{n-1}) ,

so that the weights before the first step have no share in it, however short the training is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from veridical.networks.trainable import Trainable


class Average(nn.Module):
    """The mean of all weights that training moves.

    Arguments:
        network: One network or a stack.
        decay: How much less a step counts than the next one, beta.
    """

    def __init__(self, network: Trainable, decay: float) -> None:
        super().__init__()
        self.moved, self.decay = tuple(network.trained()), decay
        for i, part in enumerate(self.moved):
            self.register_buffer(f"mean{i}", part.detach().clone())

    @property
    def means(self) -> list[Tensor]:
        """The means, in the order of the weights."""
        return list(self.buffers())

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes in the weights after so many steps, 1 after the first."""
        share = (1 - self.decay) / (1 - self.decay**step)
        torch._foreach_lerp_(self.means, [part.detach() for part in self.moved], share)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Puts the means into the network for as long as this lasts."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for part, mean in zip(self.moved, self.means, strict=True):
            part.data, mean.data = mean.data, part.data

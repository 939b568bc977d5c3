r"""How much the score of each parameter counts beside a ratio's plain loss: the contract, and one number.

With the plain loss :math:`L_0` and the errors :math:`L_k` of the K slopes, in units of the mean square of
their scores, training descends

.. math:: L = L_0 + \frac1K \sum_k w_k L_k , \qquad w_k \ge 0 .

What sets the weights is a module: all that it remembers lies in its buffers, so that a training that goes on
from a saved state has them too. One more is a file, its settings in `score_weight_settings`, a line of the
registry.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from veridical.training import SCORE_WEIGHTS

FLAT = 1e-8  # norm of a gradient below which it says nothing


class ScoreWeights(nn.Module):
    """Base of what sets the weights.

    Arguments:
        settings: Its section.
        parameters: Their number, K.

    Attributes:
        weights: As they are now, shape (K,).
    """

    weights: Tensor

    def __init__(self, settings: Any, parameters: int) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("weights", torch.zeros(parameters))

    def forward(self, loss: Tensor, errors: Tensor, last: Tensor) -> Tensor:
        """Returns the loss that a step descends, a number.

        Arguments:
            loss: The plain loss, a number.
            errors: Those of the slopes, shape (K,).
            last: The weights of the last layer.
        """
        raise NotImplementedError(f"{type(self).__name__} has no weights.")

    def weighed(self, loss: Tensor, errors: Tensor) -> Tensor:
        """Returns that loss, with the weights as they are."""
        return loss + (self.weights * errors).mean()


class Looking(ScoreWeights):
    """Base of what looks at gradients of the last layer in the first step, and every so many after it.

    Attributes:
        steps: Done so far.
    """

    steps: Tensor

    def __init__(self, settings: Any, parameters: int) -> None:
        super().__init__(settings, parameters)
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def forward(self, loss: Tensor, errors: Tensor, last: Tensor) -> Tensor:
        """Returns the loss that a step descends; see `ScoreWeights.forward`."""
        step = int(self.steps)
        if step % self.settings.every == 0:
            norms = torch.stack([_norm(part, last) for part in (loss, *errors)])
            self.look(step, norms[0], norms[1:], errors.detach())
        self.steps += 1
        return self.weighed(loss, errors)

    def look(self, step: int, plain: Tensor, norms: Tensor, errors: Tensor) -> None:
        """Sets the weights.

        Arguments:
            step: The number of the step, from 0.
            plain: Norm of the plain loss's gradient, a number.
            norms: Those of the errors, shape (K,).
            errors: The errors, shape (K,).
        """
        raise NotImplementedError(f"{type(self).__name__} has no look().")

    def take(self, weights: Tensor, norms: Tensor) -> None:
        """Takes weights (K,), capped; those whose gradient is flat stay."""
        kept = torch.where(norms > FLAT, weights.clamp(0.0, self.settings.cap), self.weights)
        self.weights.copy_(kept)


class Fixed(ScoreWeights):
    """One weight for all parameters, from the first step to the last."""

    def __init__(self, settings: Any, parameters: int) -> None:
        super().__init__(settings, parameters)
        self.weights.fill_(settings.weight)

    def forward(self, loss: Tensor, errors: Tensor, last: Tensor) -> Tensor:
        """Returns the loss that a step descends; see `ScoreWeights.forward`."""
        return self.weighed(loss, errors)


def built(settings: Any, parameters: int) -> ScoreWeights:
    """Returns what sets the weights of so many parameters, as a section describes it."""
    module, _, name = SCORE_WEIGHTS[settings.type].partition(":")
    found: ScoreWeights = getattr(import_module(module), name)(settings, parameters)
    return found


def _norm(part: Tensor, last: Tensor) -> Tensor:
    """The norm of a gradient of the last layer's weights, which leaves none behind."""
    (found,) = torch.autograd.grad(part, last, retain_graph=True)
    return found.norm()

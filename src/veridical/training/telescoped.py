r"""A loss as a telescoping sum over levels of simulations, and how its gradients are put together.

.. math:: L(\phi) = \frac1{n_0} \sum_{i \le n_0} \ell(\theta_i, x_i^0) + \sum_{l \ge 1} \frac1{n_l}
    \sum_{i \le n_l} \left[ \ell(\theta_i, x_i^l) - \ell(\theta_i, x_i^{l - 1}) \right] ,
    \qquad \ell(\theta, x) = - \log q_\phi(\theta \mid x) ,

where :math:`x_i^l` and :math:`x_i^{l-1}` are made from the same parameters with the same random numbers. Its
mean is the risk at the dearest level, however wrong the cheaper ones are; its variance is small where they
follow each other closely.

The negative terms have no lower bound: on few rows the plain gradient,
:math:`g_0 + \sum_l (g_l^+ + g_l^-)`, soon makes them diverge. So (`combined`) each :math:`g_l^-` is scaled to
the norm of its :math:`g_l^+`, and where their sum :math:`g_c` is opposed to :math:`g_0`, each of the two
loses its part along the other,

.. math:: g_c' = g_c - \frac{\langle g_0, g_c \rangle}{|g_0|^2} g_0 , \qquad
    g_0' = g_0 - \frac{\langle g_0, g_c \rangle}{|g_c|^2} g_c \qquad
    \text{if } \langle g_0, g_c \rangle < 0 .

The step goes along :math:`g_0' + g_c'`, which is no gradient of L any more: stability is paid by a bias.

References:
    | Multilevel neural simulation-based inference (Hikida et al., 2025)
    | https://arxiv.org/abs/2506.06087
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from veridical.networks.density import Density
from veridical.networks.layers import Summary
from veridical.networks.trainable import Trainable
from veridical.tasks.base import Array

_TINY = 1e-30  # a squared norm below which there is nothing to scale, or to project on


class Posterior(Protocol):
    """A summary network and the density behind it."""

    summary: Summary
    flow: Density


class Telescoped(Trainable):
    """A posterior network that learns by the telescoping sum.

    A training batch is standardised theta (B, D) and x (B, *x_shape) of the cheapest level and, for each
    dearer one, the numbers (B,) of the pairs that go with them; all pairs, once each, where there are no more
    than B. The pairs lie here. Rows that are judged come with a weight (B,) each.

    Arguments:
        posterior: The network, whose density is known at one call.
        pairs: For each dearer level standardised theta (N, D), x (N, *x_shape) and that of the level below.
        rescaled: Whether gradients are put together as `combined` does; else they are added.
    """

    tamed_by = "set gradients: rescaled"

    def __init__(self, posterior: Trainable, pairs: Sequence[Sequence[Array]], rescaled: bool) -> None:
        super().__init__()
        self.posterior, self.rescaled, self.sizes = posterior, rescaled, [len(each[0]) for each in pairs]
        for level, arrays in enumerate(pairs):
            for name, array in zip(("theta", "x", "below"), arrays, strict=True):
                self.register_buffer(f"{name}_{level}", torch.from_numpy(array), persistent=False)

    def each(self, theta: Tensor, x: Tensor) -> Tensor:
        """Returns -log q(theta | x) of each row, (B,)."""
        network: Posterior = self.posterior  # type: ignore[assignment]
        return -network.flow.log_prob(theta, network.summary(x))

    def terms(self, *batch: Tensor) -> Iterator[Tensor]:
        """Yields mean losses: of the cheapest level, then of each dearer one those of x and of x below."""
        theta, x, *numbers = batch
        yield self.each(theta, x).mean()
        for level, chosen in enumerate(numbers):
            rows = chosen if len(chosen) < self.sizes[level] else slice(None)
            theta = self.get_buffer(f"theta_{level}")[rows]
            for name in ("x", "below"):
                yield self.each(theta, self.get_buffer(f"{name}_{level}")[rows]).mean()

    def loss(self, *batch: Tensor) -> Tensor:
        """Returns the telescoping sum over a training batch."""
        return summed(list(self.terms(*batch)))

    def losses_on_same(self, *batch: Tensor) -> Tensor:
        """Returns the weighted mean loss of rows that are judged, shape (1,)."""
        theta, x, weight = batch
        return (weight * self.each(theta, x)).mean()[None]

    def accumulate(self, *batch: Tensor) -> Tensor:
        """Adds gradients of a batch to those of the weights; returns the telescoping sum, shape (1,)."""
        if not self.rescaled:
            return super().accumulate(*batch)
        weights, values, gradients = self.trained(), [], []
        for term in self.terms(*batch):
            found = torch.autograd.grad(term, weights, allow_unused=True, materialize_grads=True)
            gradients.append(torch.cat([part.flatten() for part in found]))
            values.append(term.detach())
        step = combined(gradients[0], gradients[1::2], [-below for below in gradients[2::2]])
        for weight, part in zip(weights, step.split([w.numel() for w in weights]), strict=True):
            own = part.view_as(weight)
            weight.grad = own.clone() if weight.grad is None else weight.grad + own
        return summed(values)[None]


def summed(terms: Sequence[Tensor]) -> Tensor:
    """Returns the telescoping sum of mean losses in the order of `Telescoped.terms`."""
    total = terms[0]
    for above, below in zip(terms[1::2], terms[2::2], strict=True):
        total = total + (above - below)
    return total


def combined(base: Tensor, above: Sequence[Tensor], below: Sequence[Tensor]) -> Tensor:
    """Returns the direction of a step, (P,), made of gradients of the terms of a telescoping sum.

    Arguments:
        base: That of the cheapest level, shape (P,).
        above: For each dearer level, that of its positive term.
        below: Likewise that of its negative term, with its sign.
    """
    correction = torch.zeros_like(base)
    for positive, negative in zip(above, below, strict=True):
        correction = correction + (positive + rescaled(negative, positive))
    return sum(projected(base, correction), torch.zeros_like(base))


def rescaled(vector: Tensor, like: Tensor) -> Tensor:
    """Returns a vector (P,) at the norm of another one."""
    return vector * (like.norm() / vector.norm().clamp(min=_TINY**0.5))


def projected(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Returns two vectors (P,), each without its part along the other where they are opposed."""
    opposed = (first @ second).clamp(max=0)
    others = opposed / second.square().sum().clamp(min=_TINY), opposed / first.square().sum().clamp(min=_TINY)
    return first - others[0] * second, second - others[1] * first

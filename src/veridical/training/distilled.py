r"""A loss of few dear rows, helped for a while by a cheaper level and by what a teacher says of it,

.. math:: L_t(\phi) = L_H(\phi) + \beta_t L_L(\phi) + \gamma_F D(\phi)
    + \gamma_t \, E_i \, E_{\theta \sim q_T(\cdot \mid x_i^L)} [- \log q_\phi(\theta \mid x_i^H)] ,

with the plain losses L of both levels. Features h are the summaries of a pair; their distance

.. math:: D = \frac1K \sum_k E_i \frac{(h_k(x_i^H) - \bar h_k(x_i^L))^2}{v_k}

leaves those of the cheap level, which many rows have shaped, where they are (no gradient goes through
:math:`\bar h`, nor through :math:`v_k`, the variance of feature k over a batch of both levels).

Teacher and cheap level are wrong about the dear one. So at step t = 0, ..., T their
weights are :math:`\beta_t = \beta \, (1 - t / (a T))_+`, likewise :math:`\gamma_t`: zero from step a T on.

References:
    | The idea of feature matching and distillation over fidelities: Thiele, Bayer and Takeishi (2025), by
    | their abstract, https://arxiv.org/abs/2507.00514; the loss in this form is our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from veridical import seeds
from veridical.networks.layers import Summary
from veridical.networks.trainable import Trainable
from veridical.tasks.base import Array
from veridical.training.session import Session

_TINY = 1e-12  # variance of a feature that says nothing


class Posterior(Protocol):
    """A summary network, and the loss of the density behind it."""

    summary: Summary

    def loss_given(self, theta: Tensor, context: Tensor) -> Tensor:
        """Returns the mean loss of theta (B, D) given summaries (B, K)."""


@dataclass(frozen=True)
class Weights:
    """How the terms beside the plain loss count.

    Attributes:
        joint: The cheap level's, in the first step.
        matching: That of features, in all steps.
        distillation: The teacher's, in the first step.
        anneal: Share of the steps after which the first and the last are 0.
    """

    joint: float
    matching: float
    distillation: float
    anneal: float

    def at(self, share: float) -> tuple[float, float, float]:
        """Returns the three of them after a share of the steps."""
        left = max(0.0, 1.0 - share / self.anneal)
        return self.joint * left, self.matching, self.distillation * left


class Distilled(Trainable):
    """A posterior network that learns from dear rows, helped by their cheap partners and a teacher.

    A training batch is standardised theta (B, D), x (B, *x_shape) of the dear level, x of the cheap one from
    the same parameters and random numbers, and S draws of a teacher for that, (B, S, D), of which each step
    takes the next one. Rows that are judged have theta and x alone, and their plain loss.

    Arguments:
        posterior: The network.
        lower: Standardised theta (N, D) and x (N, *x_shape) of the cheap level.
        size: Rows of that in a step; picked at random.
        weights: Of the terms.
        steps: Of the whole training.
        run: Decides which rows these are.
    """

    done: Tensor
    lower_theta: Tensor
    lower_x: Tensor

    def __init__(
        self,
        posterior: Trainable,
        lower: tuple[Array, ...],
        size: int,
        weights: Weights,
        steps: int,
        run: Session,
    ) -> None:
        super().__init__()
        self.posterior, self.size, self.weights, self.steps, self.run = posterior, size, weights, steps, run
        for name, array in zip(("theta", "x"), lower, strict=True):
            self.register_buffer(f"lower_{name}", torch.from_numpy(array), persistent=False)
        self.register_buffer("done", torch.zeros((), dtype=torch.long))  # steps; kept with a running state

    def loss(self, *batch: Tensor) -> Tensor:
        """Returns the loss of a training batch, or the plain loss of rows that are judged."""
        network: Posterior = self.posterior  # type: ignore[assignment]
        theta, x, *more = batch
        context = network.summary(x)
        loss = network.loss_given(theta, context)
        if not self.training:
            return loss
        (below, draws), step = more, int(self.done)
        self.done += 1
        joint, matching, distillation = self.weights.at(step / max(1, self.steps - 1))
        if joint:
            rows = self.rows(step)
            loss = loss + joint * network.loss_given(
                self.lower_theta[rows], network.summary(self.lower_x[rows])
            )
        if matching:
            with torch.no_grad():
                features = network.summary(below)
            loss = loss + matching * distance(context, features)
        if distillation:
            loss = loss + distillation * network.loss_given(draws[:, step % draws.shape[1]], context)
        return loss

    def rows(self, step: int) -> Tensor:
        """Returns the numbers of the cheap rows of a step."""
        rng = seeds.generator(self.run.root, "batches", *self.run.path, "lower", step)
        return torch.from_numpy(rng.integers(len(self.lower_x), size=self.size)).to(self.lower_x.device)


def distance(features: Tensor, fixed: Tensor) -> Tensor:
    """Returns the mean squared distance of features (B, K) from fixed ones, standardised over both.

    It is at most 4, whatever the batch: half of a distance counts in the variance.
    """
    fixed = fixed.detach()
    variance = torch.cat([features.detach(), fixed]).var(dim=0, unbiased=False)
    return ((features - fixed).square() / variance.clamp(min=_TINY)).mean()

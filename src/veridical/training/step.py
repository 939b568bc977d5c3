"""One step of the optimiser: gradients, decay, clipping, Adam, the rate of the next step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite

import torch
from torch import Tensor

from veridical.networks.trainable import Trainable
from veridical.training.captured import Captured
from veridical.training.session import Steps
from veridical.training.settings import TrainingSettings


class Step:
    """What happens to the weights of all members at one batch.

    Arguments:
        network: One network or a stack.
        plan: The steps of the whole training.
        settings: How to train.
        decays: The weight decay of each member.
    """

    def __init__(
        self, network: Trainable, plan: Steps, settings: TrainingSettings, decays: Sequence[float]
    ) -> None:
        self.network, self.settings, self.decays = network, settings, decays
        rate = settings.learning_rate
        self.optimiser = torch.optim.Adam(network.parameters(), lr=rate, fused=True)
        self.schedule: torch.optim.lr_scheduler.OneCycleLR | None = None
        if settings.schedule == "one_cycle":
            self.schedule = torch.optim.lr_scheduler.OneCycleLR(
                self.optimiser, rate, total_steps=plan.length(settings), pct_start=settings.warmup
            )
        self.sum_of_rates = plan.sum_of_rates(settings)
        self.gradients: Callable[..., Tensor] = self.plain_gradients
        if settings.captured and next(network.parameters()).is_cuda:
            self.gradients = Captured(self.plain_gradients)

    def __call__(self, *batch: Tensor) -> Tensor:
        """Moves the weights by one batch; returns the losses before, (M,)."""
        losses = self.gradients(*batch)
        if any(self.decays):  # in proportion to the rate, so that all steps shrink weights as stated
            share = self.optimiser.param_groups[0]["lr"] / self.sum_of_rates
            self.network.shrink([1 - decay * share for decay in self.decays])
        self.optimiser.step()
        if self.schedule is not None:
            self.schedule.step()
        return losses

    def plain_gradients(self, *batch: Tensor) -> Tensor:
        """Leaves the clipped gradients of a batch in the weights; returns the losses (M,)."""
        self.network.zero_grad(set_to_none=True)
        losses = self.network.accumulate(*batch)
        if isfinite(self.settings.clip):
            self.network.clip(self.settings.clip)
        return losses

"""The two fields of flow matching corrected posterior estimation, each placed by a regression.

What a field carries is standardised first, by a mean and a width that are linear in the condition: a field
that is zero then already maps as a regression does, and few pairs have to teach it only the rest.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from veridical.networks.density import log_normal
from veridical.networks.flow_matching import FlowMatching
from veridical.networks.localised import REACH
from veridical.networks.trainable import Trainable

INTEGRATION = 10  # steps of a trajectory


class DataField(Trainable):
    """Carries noise to summaries of simulations, given a condition.

    Arguments:
        features: Number of summaries K.
        condition: Numbers of the condition, C.
        width: Of the layers.
        blocks: Residual blocks.
    """

    def __init__(self, features: int, condition: int, width: int, blocks: int) -> None:
        super().__init__()
        self.field = FlowMatching(features, condition, width=width, blocks=blocks, steps=INTEGRATION)
        self.noise = self.field.loss_noise

    def loss(self, *batch: Tensor) -> Tensor:
        """Returns the loss at summaries (B, K), conditions (B, C) and noise."""
        return self.field.loss(*_repeated(batch, self.noise))

    @torch.no_grad()
    def push(self, noise: Tensor, condition: Tensor) -> Tensor:
        """Returns summaries (B, K) from noise (B, K), given conditions (B, C)."""
        return self.field.push(noise, condition, torch.arange(len(noise)), density=False)[0]


class ParameterField(Trainable):
    """Carries draws of a proposal to parameters, given a condition; see `DataField` for its arguments."""

    noise = 1

    def __init__(self, features: int, condition: int, width: int, blocks: int) -> None:
        super().__init__()
        self.field = FlowMatching(features, condition, width=width, blocks=blocks, steps=INTEGRATION)
        self.source = nn.Linear(condition, 2 * features)
        for weights in (*self.source.parameters(), *self.field.place.parameters()):
            nn.init.zeros_(weights)

    def loss(self, *batch: Tensor) -> Tensor:
        """Returns the loss at z (B, D), conditions (B, C), proposals (B, D) and noise (B, 1)."""
        z, condition, proposal, noise = _repeated(batch, self.noise)
        start, placing = _standardised(proposal, self.source(condition))
        end, placing_end = _standardised(z, self.field.place(condition))
        along = torch.cat([noise, start.detach()], dim=1)
        return self.field.loss_of_z(end.detach(), condition, along) + placing + placing_end

    @torch.no_grad()
    def push(self, proposal: Tensor, condition: Tensor) -> Tensor:
        """Returns z (B, D) from proposals (B, D), given conditions (B, C)."""
        start, _ = _standardised(proposal, self.source(condition))
        end, _ = self.field.push_z(start, condition, torch.arange(len(start)), density=False)
        mean, log_sd = _placed(self.field.place(condition))
        return mean + log_sd.exp() * end


def _repeated(batch: tuple[Tensor, ...], numbers: int) -> list[Tensor]:
    """A batch whose noise, (B, R numbers), serves each row R times, as rows of their own."""
    *parts, noise = batch
    times = noise.shape[1] // numbers
    return [part.repeat_interleave(times, 0) for part in parts] + [noise.reshape(-1, numbers)]


def _placed(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Means and logarithms of widths, (B, D) each."""
    mean, width = raw.chunk(2, dim=-1)
    return mean, REACH * (width / REACH).tanh()


def _standardised(z: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
    """Standardised z (B, D), and the mean loss of the normal distribution that does it."""
    mean, log_sd = _placed(raw)
    found = (z - mean) / log_sd.exp()
    return found, (log_sd.sum(-1) - log_normal(found)).mean()

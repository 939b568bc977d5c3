"""The network of a ratio: x passes its summary network once, however many parameters are held against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from veridical.estimators.scored import ScoredNetwork
from veridical.networks import build_summary, choice, ratio

if TYPE_CHECKING:
    from veridical.estimators.nre_settings import NRESettings


class RatioNetwork(ScoredNetwork):
    """A summary network and a residual network for the ratio; its loss is one of `networks/ratio`."""

    def __init__(
        self, settings: NRESettings, x_shape: tuple[int, ...], parameters: int, has_missing: bool
    ) -> None:
        super().__init__()
        known = choice.resolved(settings.summary, x_shape).model_dump()
        self.summary = build_summary(known, x_shape, has_missing=has_missing)
        features = self.summary.features
        self.ratio = ratio.ResidualNetwork(parameters, features, settings.width, settings.blocks)
        self.settings = settings
        self.contrasts = settings.contrasts if settings.loss == "contrastive" else 1

    def contexts(self, x: Tensor) -> Tensor:
        """Returns summaries (N, C) of standardised x (N, *x_shape)."""
        found: Tensor = self.summary(x)
        return found

    def log_likelihood(self, z: Tensor, context: Tensor) -> Tensor:
        """Returns log ratios (B,) of z (B, K), each given its own context (B, C)."""
        found: Tensor = self.ratio(z, self.ratio.told(context))
        return found

    def rolled(self, z: Tensor, x: Tensor, rolls: int) -> Tensor:
        """Returns log ratios (1 + rolls, B) at x (B, *x_shape) of own z (B, K) and those of rows before."""
        told = self.ratio.told(self.contexts(x))
        others = [torch.roll(z, by, 0) for by in range(1, rolls + 1)]
        found: Tensor = self.ratio(torch.stack([z, *others]), told)
        return found

    def with_slopes(self, z: Tensor, x: Tensor, first: int) -> tuple[Tensor, Tensor]:
        """Returns what the loss rolls, (1 + rolls, B), and slopes in the first own z, (first, K).

        Own pairs go through the residual network beside one roll, so that further ones cost nothing more.
        """
        told = self.ratio.told(self.contexts(x))
        rolled = [torch.roll(z, by, 0) for by in range(1, self.rolls(z) + 1)]
        f, slopes = self.ratio.with_slopes(torch.stack([z, rolled[0]]), told, first)
        further = [self.ratio(torch.stack(rolled[1:]), told)] if rolled[1:] else []
        return torch.cat([f, *further]), slopes

    @property
    def last(self) -> Tensor:
        """The weights of its last layer."""
        found: Tensor = self.ratio.leave.weight
        return found

    def rolls(self, z: Tensor) -> int:
        """Returns how many other pairs there are for each row of z (B, K)."""
        return max(1, min(self.contrasts, len(z) - 1))

    def loss(self, *batch: Tensor) -> Tensor:
        """Returns the loss of z (B, K) and standardised x (B, *x_shape)."""
        z, x = batch
        return self.judged(self.rolled(z, x, self.rolls(z)))

    def judged(self, f: Tensor) -> Tensor:
        """Returns the loss of log ratios f (1 + rolls, B)."""
        own = self.settings
        if own.loss == "contrastive":
            return ratio.contrastive(f, own.gamma)
        return ratio.balanced(f, own.strength) if own.loss == "balanced" else ratio.binary(f)

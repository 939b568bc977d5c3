"""The network of an amortised posterior: a summary network, and a density behind it."""

from __future__ import annotations

from math import prod
from typing import TypeVar

from torch import Tensor

from veridical.estimators.base import TaskInfo
from veridical.estimators.npe_settings import PosteriorSettings
from veridical.networks import build_density, build_summary, choice
from veridical.networks.mixed import MixedFlow
from veridical.networks.regressed import Regressed, Residual, regress
from veridical.networks.trainable import Trainable
from veridical.tasks.base import Array

DENSE = ("mlp", "none")  # summary networks of x without an order, in front of which a regression may stand

S = TypeVar("S", bound=PosteriorSettings)


def summarised(settings: S, task: TaskInfo) -> S:
    """Returns the settings with the summary network that fits the axes of x."""
    summary = choice.resolved(settings.summary, task.x_shape, task.axes, task.names)
    if settings.summary.type == "auto":
        print(f"summary: auto takes {summary.model_dump()}")
    return settings.model_copy(update={"summary": summary})


def on_task(settings: S, task: TaskInfo) -> S:
    """Returns the settings with the summary network and the base that fit the axes of x."""
    settings = summarised(settings, task)
    summary = settings.summary
    plain = summary.type in DENSE and not task.has_missing and not any(task.cells)
    return settings.model_copy(update={"base": settings.base if plain else "none"})


class PosteriorNetwork(Trainable):
    """A summary network and a flow; its loss is the negative log density of standardised parameters.

    Arguments:
        settings: Of both, and whether a regression stands in front of them; see `on_task`.
        x_shape: Shape of one row of x.
        cells: Number of values of each latent number of the parameters; 0 where it is continuous.
        has_missing: Whether numbers of x may be missing.
    """

    def __init__(
        self,
        settings: PosteriorSettings,
        x_shape: tuple[int, ...],
        cells: tuple[int, ...],
        has_missing: bool = False,
    ) -> None:
        super().__init__()
        known = choice.resolved(settings.summary, x_shape).model_dump()
        self.summary = build_summary(known, x_shape, has_missing=has_missing)
        if settings.base == "regression":
            self.summary = Regressed(self.summary, prod(x_shape), len(cells))
        features, flow = self.summary.features, settings.flow.model_dump()
        self.flow = (
            MixedFlow(cells, features, flow) if any(cells) else build_density(flow, len(cells), features)
        )
        if settings.base == "regression":
            self.flow = Residual(self.flow)
        self.kind = settings.flow.type
        self.noise, self.keeps_last = self.flow.loss_noise, self.flow.keeps_last

    def regress(self, z: Array, x: Array) -> None:
        """Learns the base, where it has one, from standardised theta (N, D) and x (N, *x_shape)."""
        if isinstance(self.summary, Regressed) and isinstance(self.flow, Residual):
            regress(self.summary, self.flow, z, x)

    def loss(self, *batch: Tensor) -> Tensor:
        """Returns the mean loss over rows, -log q(theta | x) of most flows.

        A batch is standardised theta (B, D), x (B, *x_shape) and, where the flow's loss needs noise, as much
        of it as serves a row once or several times, (B, R * noise).
        """
        theta, x, *noise = batch
        return self.loss_given(theta, self.summary(x), *noise)

    def loss_given(self, theta: Tensor, context: Tensor, *noise: Tensor) -> Tensor:
        """Returns the mean loss of theta (B, D) given summaries (B, K); see `loss`."""
        if not noise:
            return self.flow.loss(theta, context)
        times = noise[0].shape[1] // self.noise
        return self.flow.loss(
            theta.repeat_interleave(times, 0),
            context.repeat_interleave(times, 0),
            noise[0].reshape(-1, self.noise),
        )

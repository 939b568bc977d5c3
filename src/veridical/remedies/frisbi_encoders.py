r"""Encoders of real data for FRISBI: summaries as those that simulations of the same parameters have.

In units of the spread of summaries h over simulations, with K of them, an encoder g minimises

.. math:: \frac1m \sum_i \frac{\| g(y_i) - E_\epsilon h(S(\theta_i, \epsilon)) \|^2}{K}
    + \lambda \frac{1}{B} \sum_{ij} \alpha_{ij} C_{ij} , \qquad
    C_{ij} = \frac{\| g(u_i) - h(x_j) \|^2}{K} , \quad
    \alpha_{ij} = \operatorname{softmax}_j(- C_{ij} / \gamma)

over labelled pairs :math:`(\theta_i, y_i)` and B of the unlabelled real data u, :math:`\alpha` being held:
that is the gradient of the optimal cost of transport without a demand on the simulations.

Two kinds of encoders learn, a copy of h and a linear map, which begins as the ridge regression of summaries
on data. Of both, as they began and as they ended, the one is kept that comes nearest in pairs held out.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
import torch
from torch import Tensor, nn

from veridical import seeds
from veridical.estimators.encoded import Encoded
from veridical.networks import ridge, weights
from veridical.networks.layers import rows_at_once
from veridical.networks.standardised import standardised
from veridical.networks.trainable import Trainable
from veridical.networks.transforms import InputTransform
from veridical.remedies.frisbi_settings import FRISBISettings
from veridical.remedies.short_training import short_training
from veridical.tasks.base import Array
from veridical.training import fitting, session

PENALTIES = np.geomspace(1e-4, 1e2, 13)  # of the ridge regression, a row
KINDS = ("copy", "linear")


@dataclass(frozen=True, eq=False)
class Cloud:
    """Summaries of simulations in units of their spread.

    Attributes:
        rows: Scaled summaries, shape (n, K).
        mean: What is subtracted from summaries, shape (K,).
        scale: What divides them, shape (K,).
    """

    rows: Array
    mean: Array
    scale: Array

    @classmethod
    def of(cls, summaries: Array) -> Cloud:
        """Returns the cloud of summaries (n, K)."""
        mean, scale = summaries.mean(axis=0), summaries.std(axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        return cls((summaries - mean) / scale, mean, scale)

    def scaled(self, summaries: Array) -> Array:
        """Returns summaries (N, K) in these units, none beyond those of the simulations."""
        found = (summaries - self.mean) / self.scale
        return np.clip(found, self.rows.min(axis=0), self.rows.max(axis=0))


class Linear(nn.Module):
    """Summaries that are linear in the data: begins as their ridge regression."""

    def __init__(self, numbers: int, features: int) -> None:
        super().__init__()
        self.layer = nn.Linear(numbers, features)

    def forward(self, x: Tensor) -> Tensor:
        """Returns summaries (B, K) of x (B, *x_shape)."""
        found: Tensor = self.layer(x.flatten(1))
        return found

    def regress(self, x: Array, summaries: Array) -> None:
        """Takes the ridge regression of summaries (n, K) on x (n, *x_shape)."""
        found = ridge.regress(x.reshape(len(x), -1).astype(float), summaries, PENALTIES)
        with torch.no_grad():
            self.layer.weight.copy_(torch.from_numpy(found.coefficients.T))
            self.layer.bias.copy_(torch.from_numpy(found.intercept))


class Aligned(Trainable):
    """An encoder that learns pairs, which a batch holds, and is drawn to simulations by unlabelled data.

    Arguments:
        encoder: From inputs to summaries.
        cloud: Summaries of simulations.
        real: Inputs of unlabelled data, shape (M, *x_shape).
        settings: The weight of what draws, its gamma, and the rows of a step.
        run: Decides the random numbers of each step.
    """

    done: Tensor
    mean: Tensor
    scale: Tensor
    cloud: Tensor
    real: Tensor

    def __init__(
        self, encoder: nn.Module, cloud: Cloud, real: Array, settings: FRISBISettings, run: session.Session
    ) -> None:
        super().__init__()
        self.encoder, self.settings, self.run = encoder, settings, run
        self.register_buffer("done", torch.zeros((), dtype=torch.long))  # steps; kept with a running state
        for name, part in {
            "mean": cloud.mean,
            "scale": cloud.scale,
            "cloud": cloud.rows,
            "real": real,
        }.items():
            self.register_buffer(name, torch.from_numpy(np.asarray(part, np.float32)), persistent=False)

    def encode(self, x: Tensor) -> Tensor:
        """Returns scaled summaries (B, K) of inputs (B, *x_shape)."""
        found: Tensor = (self.encoder(x) - self.mean) / self.scale
        return found

    def loss(self, *batch: Tensor) -> Tensor:
        """Returns the loss of inputs (B, *x_shape) and scaled goals (B, K); of pairs alone in a look."""
        x, goal = batch
        left = (self.encode(x) - goal).square().mean()
        if not (self.training and self.settings.alignment):
            return left
        rng = seeds.generator(self.run.root, "batches", *self.run.path, "alignment", int(self.done))
        self.done += 1
        real, simulated = (
            part[torch.from_numpy(rng.permutation(len(part))[: self.settings.batch_size])]
            for part in (self.real, self.cloud)
        )
        return left + self.settings.alignment * transported(self.encode(real), simulated, self.settings.gamma)


def transported(real: Tensor, simulated: Tensor, gamma: float) -> Tensor:
    """Returns the mean cost of rows (B, K) under their plan to simulations (n, K), which is held."""
    cost = torch.cdist(real, simulated).square() / real.shape[1]
    plan = torch.softmax(-cost.detach() / gamma, dim=1)
    return (plan * cost).sum(dim=1).mean()


@dataclass(eq=False)
class RealEncoder:
    """An encoder of real data.

    Attributes:
        kind: `copy` of that of simulations, or `linear`.
        inputs: The transform of real data.
        encoder: From inputs to summaries.
        error: Mean square distance to goals of the pairs that chose it, in units of the cloud.
        trained: Whether its training brought these nearer.
    """

    kind: str
    inputs: InputTransform
    encoder: nn.Module
    error: float
    trained: bool

    def __call__(self, x: Array) -> Array:
        """Returns summaries (N, K) of x (N, *x_shape), as those of simulations are."""
        inputs = torch.from_numpy(self.inputs(x))
        with torch.no_grad():
            parts = [self.precise(part) for part in inputs.split(rows_at_once(x.shape[1:]))]
        return torch.cat(parts).numpy()

    @cached_property
    def precise(self) -> nn.Module:
        """The encoder in double precision."""
        return copy.deepcopy(self.encoder).double()

    def arrays(self, prefix: str) -> dict[str, Array]:
        """Returns its numbers by name, the prefix before each."""
        own = {"kind": np.array(KINDS.index(self.kind)), "error": np.array(self.error)}
        own |= {"trained": np.array(self.trained), **self.inputs.arrays()}
        return {f"{prefix}{name}": array for name, array in own.items()} | weights.arrays_of(
            self.encoder, f"{prefix}encoder."
        )

    @classmethod
    def from_arrays(cls, arrays: dict[str, Array], parent: Encoded) -> RealEncoder:
        """Returns the encoder that `arrays` came from, their names without the prefix."""
        kind = KINDS[int(arrays["kind"])]
        encoder = started(kind, parent)
        weights.load_into(encoder, arrays, "encoder.")
        inputs = InputTransform.from_arrays(parent.inputs.kind, arrays)
        return cls(kind, inputs, encoder, float(arrays["error"]), bool(arrays["trained"]))


def started(kind: str, parent: Encoded) -> nn.Module:
    """Returns an encoder of a kind, in evaluation mode: a copy, or a linear map without its regression."""
    assert parent.encoder is not None and parent.cloud is not None
    if kind == "copy":
        return copy.deepcopy(parent.encoder).eval()
    with torch.random.fork_rng(devices=[]):
        return Linear(prod(parent.task.x_shape), len(parent.cloud.mean)).eval()


def learned(
    settings: FRISBISettings,
    parent: Encoded,
    cloud: Cloud,
    real: Array,
    pairs: tuple[Array, Array],
    learn: Array,
    stop: Array,
    run: session.Session,
) -> RealEncoder:
    """Returns the encoder that comes nearest in the pairs which stop.

    Arguments:
        settings: How it learns.
        parent: What knows the encoder of simulations.
        cloud: Their summaries.
        real: Unlabelled real data, shape (M, *x_shape).
        pairs: Real data (n, *x_shape) and scaled mean summaries of simulations (n, K).
        learn: Which pairs are learned from, shape (n,).
        stop: Which choose the weights, shape (n,).
        run: Of this fit.
    """
    y, goals = pairs
    inputs = parent.inputs
    if settings.inputs == "real":
        inputs = standardised(parent.settings.summary, real, inputs.kind, like=inputs)
    both = inputs(y, np.float32), goals.astype(np.float32)
    data = fitting.Data(tuple(part[learn] for part in both), tuple(part[stop] for part in both))
    found = []
    for number, kind in enumerate(KINDS):
        start, own = started(kind, parent), session.member_run(run, number)
        if isinstance(start, Linear):
            start.regress(data.train[0], goals[learn] * cloud.scale + cloud.mean)
        network = Aligned(
            copy.deepcopy(start).train().requires_grad_(True), cloud, inputs(real, np.float32), settings, own
        )
        fitting.fit(network, data, short_training(settings, len(data.train[0])), own)
        for trained, encoder in enumerate((start, network.encoder)):
            one = RealEncoder(kind, inputs, encoder.eval().requires_grad_(False), 0.0, bool(trained))
            left = (one(y[stop]) - cloud.mean) / cloud.scale - goals[stop]
            one.error = float((left**2).mean())
            found.append(one)
    return min(found, key=lambda one: one.error)

"""The contract of what a training adds to the loss of a posterior's network.

A regulariser is built with its settings and what it is about. In every step it gets the network, the
summaries of the batch and a generator of the step's own; it leaves gradients in that network, and in one of
its own where it has such, which is trained beside and kept no longer. One more is a file, its settings in
`regulariser_settings`, a line of the registry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from veridical.networks.density import Density
from veridical.networks.layers import Summary
from veridical.tasks.base import Array
from veridical.training import REGULARISERS

LogJoint = Callable[[Array, Array], Array]


class Network(Protocol):
    """A summary network and the density behind it."""

    summary: Summary
    flow: Density


@dataclass(frozen=True)
class About:
    """What a regulariser may use beside the simulations.

    Attributes:
        x: Inputs of the network for unlabelled real data, shape (M, *x_shape); none where M is 0.
        log_joint: The logarithm of prior times likelihood of z (B, K), each for the observation of its number
            (B,), up to a constant of each observation; shape (B,), None where there is no likelihood.
        features: Number of summaries, K.
    """

    x: Tensor
    log_joint: LogJoint | None = None
    features: int = 0

    def some(self, most: int, rng: np.random.Generator) -> Array:
        """Returns the numbers of so many observations, at most, picked at random."""
        n = len(self.x)
        return np.arange(n) if n <= most else np.sort(rng.choice(n, most, replace=False))


class Regulariser:
    """A term of a loss.

    Arguments:
        settings: Its section.
        about: What it may use.

    Attributes:
        network: One of its own, trained beside; None for most.
        keeps_last: Whether the loss with it ranks no weights, so that those of the last step are kept.
    """

    network: nn.Module | None = None
    keeps_last = False

    def __init__(self, settings: Any, about: About) -> None:
        self.settings, self.about = settings, about

    def weight(self, share: float) -> float:
        """Returns its weight after this share of all steps."""
        return float(self.settings.weight)

    def __call__(self, network: Network, summaries: Tensor, rng: np.random.Generator) -> Tensor:
        """Returns the term, a number, given the summaries (B, K) of a batch of simulations."""
        raise NotImplementedError(f"{type(self).__name__} has no term.")


def built(settings: Any, about: About) -> Regulariser:
    """Returns the regulariser that a section describes."""
    module, _, name = REGULARISERS[settings.type].partition(":")
    found: Regulariser = getattr(import_module(module), name)(settings, about)
    return found


def normal(rng: np.random.Generator, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Returns standard normal numbers, of the type and on the device of a tensor."""
    return torch.from_numpy(rng.standard_normal(shape, np.float32)).to(like)

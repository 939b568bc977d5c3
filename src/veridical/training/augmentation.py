"""What a training adds to x, of standardised numbers: noise of one width, or a distortion by its settings.

One more distortion is a file, a line of the registry and its settings in `distortion_settings`. It is called
with standardised x (B, *x_shape), with where zero lies there, (*x_shape), and with a generator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from veridical.errors import TrainingError
from veridical.networks.transforms import InputTransform
from veridical.tasks.base import Array
from veridical.training import DISTORTIONS
from veridical.training.settings import TrainingSettings


@dataclass(frozen=True)
class Distorted:
    """A distortion of the inputs of a network.

    Attributes:
        distortion: Of standardised x.
        inputs: The transform that these inputs came from.
    """

    distortion: Callable[[Array, Array, np.random.Generator], Array]
    inputs: InputTransform

    @classmethod
    def of(cls, settings: Any, inputs: InputTransform) -> Distorted:
        """Returns the distortion that a section describes."""
        module, _, name = DISTORTIONS[settings.type].partition(":")
        return cls(getattr(import_module(module), name)(settings), inputs)

    def __call__(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        """Returns inputs x (B, *x_shape) distorted: in standardised numbers, which `squash` takes last."""
        plain, squashed = x.cpu().numpy().astype(float), self.inputs.kind == "squash"
        zero = -self.inputs.mean / self.inputs.scale
        found = self.distortion(np.sinh(plain) if squashed else plain, zero, rng)
        found = np.arcsinh(found) if squashed else found
        return torch.from_numpy(found.astype(np.float32)).to(x.device)


Augment = float | Distorted


def augmentation(settings: TrainingSettings, inputs: InputTransform | None) -> Augment | None:
    """Returns what is added to inputs that came from this transform; None where nothing is.

    Raises:
        TrainingError: If a distortion is asked for by a method that does not tell its transform.
    """
    if settings.augment is None or isinstance(settings.augment, float):
        return settings.augment
    if inputs is None:
        raise TrainingError(
            f"training.augment: a distortion ({settings.augment.type}) needs the transform of x, which this "
            "method does not tell; use an `npe` or `ensemble`, or a number."
        )
    return Distorted.of(settings.augment, inputs)

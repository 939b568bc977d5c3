"""What remedies may ask of a posterior behind an encoder: to be taken apart, and put together anew."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from veridical.errors import TrainingError
from veridical.estimators.base import Estimator
from veridical.estimators.transformed import Transformed
from veridical.tasks.base import Array

if TYPE_CHECKING:
    from torch import Tensor, nn

    from veridical.networks.transforms import ParameterTransform


class Encoded(Transformed):
    """A posterior q(theta | s(x)) whose encoder s and density q can be had apart; q is a density of z."""

    parameters: ParameterTransform

    @property
    @abstractmethod
    def encoder(self) -> nn.Module | None:
        """The network from transformed x (N, *x_shape) to summaries (N, K); None where there is none."""

    @abstractmethod
    def with_encoder(self, encoder: nn.Module) -> Encoded:
        """Returns the same density behind another encoder."""

    @property
    def draw_noise(self) -> int:
        """Standard normal numbers that a draw is made of."""
        return len(self.task.cells)

    @abstractmethod
    def push(
        self, noise: Array, context: Tensor, index: Array, density: bool = True
    ) -> tuple[Array, Array | None]:
        """Returns draws (B, D) and their log densities (B,) from standard normal noise (B, draw_noise).

        Row i of noise belongs to row `index[i]` of the summaries, (N, K) in single precision; index ascends.
        Densities are None where they are not wanted, or there are none.
        """

    @abstractmethod
    def density(self, z: Tensor, context: Tensor) -> Tensor:
        """Returns log densities (B,) of z (B, D) given summaries (B, K), in double precision."""

    @abstractmethod
    def summary(self, x: Array) -> Array:
        """Returns summaries (N, K) of x (N, *x_shape)."""


class Recoded(Estimator):
    """A remedy whose own encoder sends real data where that of `parent` sends simulations."""

    parent: Encoded


def encoder_of(parent: Estimator, method: str, *, tuned: bool = False) -> Encoded:
    """Returns `parent` where it is a posterior with an encoder, or, if `tuned` ones will do, what it wraps.

    Raises:
        TrainingError: If it is something else.
    """
    if tuned and isinstance(parent, Recoded):
        parent = parent.parent
    if not isinstance(parent, Encoded):
        raise TrainingError(
            f"remedy {method!r} needs the encoder of an npe, but `of` leads to a method of type "
            f"{parent.type!r}; name an npe."
        )
    if parent.encoder is None:
        raise TrainingError(
            f"remedy {method!r} needs the encoder of an npe, but the one it builds on has `summary: none`; "
            "give it a summary network, such as `summary: {type: mlp, features: 10}`."
        )
    return parent

"""Weights of a network as plain arrays by name, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from veridical.errors import ArtifactError
from veridical.tasks.base import Array

NETWORK = "network."


def arrays_of(network: nn.Module, prefix: str = NETWORK) -> dict[str, Array]:
    """Returns the weights and buffers of a network, the prefix before each name."""
    return {f"{prefix}{name}": tensor.cpu().numpy() for name, tensor in network.state_dict().items()}


def load_into(network: nn.Module, arrays: Mapping[str, Array], prefix: str = NETWORK) -> None:
    """Gives a network the weights that `arrays_of` returned; other arrays are left alone.

    Raises:
        RuntimeError: If one is missing, or of another shape (torch's own error; see `fitting`).
    """
    network.load_state_dict({name: torch.tensor(array) for name, array in below(arrays, prefix).items()})


def below(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    """Returns the arrays whose names begin with a prefix, by their names without it."""
    return {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}


@contextmanager
def fitting(what: str, to: str = "the settings") -> Iterator[None]:
    """Raises ArtifactError in place of what a missing or misshapen array raises within.

    Arguments:
        what: What is being rebuilt, such as `estimator npe`.
        to: What its weights have to fit.
    """
    try:
        yield
    except (RuntimeError, KeyError) as error:
        raise ArtifactError(f"{what}: weights do not fit {to}: {error}") from error

"""The transform of x that a summary network asks for: which numbers share their mean and scale."""

from __future__ import annotations

from typing import Any

import numpy as np

from veridical.networks.entries import Block
from veridical.networks.transforms import InputTransform
from veridical.tasks.base import Array


def standardised(summary: Any, x: Array, kind: str, *, has_missing: bool = False) -> InputTransform:
    """Returns the transform of training data x (N, *x_shape) for a network with all its settings known.

    Exchangeable elements share mean and scale, and so do the times of a series. Energies are divided by their
    mean sum, and not shifted. Each block of several is standardised for its own network.

    Arguments:
        summary: Settings of the network; see `choice.resolved`.
        x: Training data, shape (N, *x_shape).
        kind: See `InputTransform`.
        has_missing: Whether numbers may be missing.
    """
    if summary.type == "parts":
        mean, scale = np.zeros(x.shape[1:]), np.ones(x.shape[1:])
        for part in summary.parts.values():
            block = Block.of(part.model_dump(), x.shape[1:], summary.axis)
            own = standardised(part.summary, block.taken(x), kind, has_missing=has_missing)
            block.put(mean, own.mean)
            block.put(scale, own.scale)
        return InputTransform(kind, mean, scale, has_missing)
    found = InputTransform.fit(
        x, kind, shared=summary.axis if summary.exchangeable else None, has_missing=has_missing
    )
    if summary.type == "energy_flow":
        energies = Block.of({"entries": [summary.energy]}, x.shape[1:], 1 - summary.axis)
        total = np.nansum(energies.taken(x), axis=(1, 2), dtype=float).mean()
        energies.put(found.mean, np.zeros(energies.shape))
        energies.put(found.scale, np.full(energies.shape, total if total > 0 else 1.0))
    if summary.type == "transformer" and summary.times is not None:
        times = Block.of({"entries": [summary.times]}, x.shape[1:], 1 - summary.axis)
        own = InputTransform.fit(times.taken(x), kind, shared=summary.axis, has_missing=has_missing)
        times.put(found.mean, own.mean)
        times.put(found.scale, own.scale)
    return found

"""The transform of x that a summary network asks for: which numbers share their mean and scale."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from veridical.networks.entries import Block
from veridical.networks.transforms import InputTransform
from veridical.tasks.base import Array


def standardised(
    summary: Any,
    x: Array,
    kind: str,
    *,
    has_missing: bool = False,
    like: InputTransform | None = None,
) -> InputTransform:
    """Returns the transform of training data x (N, *x_shape) for a network with all its settings known.

    Exchangeable elements share mean and scale, and so do the times of a series. Energies are divided by their
    mean sum, and not shifted. Each block of several is standardised for its own network.

    Arguments:
        summary: Settings of the network; see `choice.resolved`.
        x: Training data, shape (N, *x_shape).
        kind: See `InputTransform`.
        has_missing: Whether numbers may be missing.
        like: The transform whose numbers count as heavy-tailed here too.
    """
    if summary.type == "parts":
        found = InputTransform(kind, np.zeros(x.shape[1:]), np.ones(x.shape[1:]), has_missing)
        for part in summary.parts.values():
            block = Block.of(part.model_dump(), x.shape[1:], summary.axis)
            theirs = like and replace(like, tails=None if like.tails is None else block.taken(like.tails))
            own = standardised(part.summary, block.taken(x), kind, has_missing=has_missing, like=theirs)
            found = _with(found, block, own)
        return found
    shared = summary.axis if summary.exchangeable else None
    found = InputTransform.fit(x, kind, shared=shared, has_missing=has_missing, like=like)
    if summary.type == "energy_flow":
        energies = Block.of({"entries": [summary.energy]}, x.shape[1:], 1 - summary.axis)
        total = np.nansum(energies.taken(x), axis=(1, 2), dtype=float).mean()
        scale = np.full(energies.shape, total if total > 0 else 1.0)
        found = _with(found, energies, InputTransform("none", np.zeros(energies.shape), scale))
    if summary.type == "transformer" and summary.times is not None:
        times = Block.of({"entries": [summary.times]}, x.shape[1:], 1 - summary.axis)
        theirs = like and replace(like, tails=None if like.tails is None else times.taken(like.tails))
        own = InputTransform.fit(
            times.taken(x), kind, shared=summary.axis, has_missing=has_missing, like=theirs
        )
        found = _with(found, times, own)
    return found


def _with(whole: InputTransform, block: Block, own: InputTransform) -> InputTransform:
    """The transform of a whole x in which a block has a transform of its own."""
    block.put(whole.mean, own.mean)
    block.put(whole.scale, own.scale)
    if whole.tails is None and own.tails is None:
        return whole
    tails = np.zeros((2, *whole.mean.shape)) if whole.tails is None else whole.tails.copy()
    for name, part in zip(
        tails, np.zeros((2, *own.mean.shape)) if own.tails is None else own.tails, strict=True
    ):
        block.put(name, part)
    return replace(whole, tails=tails)

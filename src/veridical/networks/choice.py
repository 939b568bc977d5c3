"""Which summary network fits the axes of x, and the settings of one that the shape of x decides.

What is chosen is written into the settings that a trained method keeps, so that it stays what it is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from veridical.errors import ShapeError
from veridical.networks.entries import Block, numbered, ranges
from veridical.networks.settings import (
    ConvSummarySettings,
    DeepSetSummarySettings,
    ImageSummarySettings,
    MLPSummarySettings,
    PartSettings,
    PartsSummarySettings,
)

IMAGE, SERIES = (
    16,
    64,
)  # least lengths of axes that are taken for an image and a series without being declared
LONG, SHORT = 256, 16  # steps of a series from which on its network grows with it, and that this leaves
LARGE, SMALL = 32, 4  # the same of the longer axis of an image
SEEN = 64  # steps, or patches of them, that see each other at most
DIRECTLY, POINTS = 32, 16  # exchangeable rows that do so without a detour, and points of it for more
FIRST, FURTHER = 32, 64  # channels of the convolutions


def resolved(
    summary: Any,
    x_shape: tuple[int, ...],
    axes: Sequence[str] = (),
    names: Sequence[Sequence[str]] = (),
) -> Any:
    """Returns the settings of a summary network with nothing left open.

    Arguments:
        summary: One of the sections of `settings.py`.
        x_shape: Shape of one row of x.
        axes: The kind of each axis: as the task declares it, `vector` where its coordinates are names, else
            empty.
        names: The names of the entries along each axis, none where they have numbers.

    Raises:
        UnknownName: If x has no entry that is named.
        ShapeError: If x has no axis for it, or blocks overlap or leave entries out.
    """
    axes = tuple(axes) or ("",) * len(x_shape)
    names = tuple(names) or ((),) * len(x_shape)
    if summary.type == "parts":
        return _shared_out(summary, x_shape, axes, names)
    if summary.type == "auto":
        summary = _chosen(summary.features, x_shape, axes)
    found: dict[str, Any] = {}
    if summary.type == "image":
        found["axes"] = list(_declared("image", axes)) or list(range(max(2, len(x_shape))))[-2:]
    elif "axis" in type(summary).model_fields:
        kind = "exchangeable" if summary.exchangeable else "series"
        found["axis"] = (_declared(kind, axes) or (0,))[0]
    given = summary.model_dump(exclude_none=True)
    found = {**found, **given}
    for name in {"energy", "times"} & {*given}:
        found[name] = _beside(found["axis"], given[name], x_shape, names, f"summary.{name}")
    along = found.get("axes", [found.get("axis", 0)])
    lengths = [x_shape[axis] for axis in along if axis < len(x_shape)] or [1]
    return type(summary)(**{**_of_lengths(summary, lengths), **found})


def _of_lengths(summary: Any, lengths: Sequence[int]) -> dict[str, Any]:
    """What the lengths of its axes decide of a network."""
    if summary.type == "conv":
        return _along(lengths[0], summary)
    if summary.type == "image":
        return _over(max(lengths), summary)
    if summary.type == "transformer":
        return {"patch": math.ceil(lengths[0] / SEEN)}
    if summary.type == "set_transformer":
        return {"inducing": POINTS if lengths[0] > DIRECTLY else 0}
    return {}


def _beside(
    axis: int, entry: int | str, x_shape: tuple[int, ...], names: Sequence[Sequence[str]], what: str
) -> int:
    """The number of an entry along the other one of two axes."""
    if len(x_shape) != 2 or axis > 1:
        raise ShapeError(
            f"{what}: expected x with two axes, elements and their numbers, got shape {x_shape}."
        )
    found = numbered(entry, x_shape[1 - axis], names[1 - axis])
    if len(found) > 1:
        raise ShapeError(f"{what}: expected one entry, got {len(found)} for {entry!r}.")
    return found[0]


def _shared_out(
    summary: PartsSummarySettings,
    x_shape: tuple[int, ...],
    axes: Sequence[str],
    names: Sequence[Sequence[str]],
) -> PartsSummarySettings:
    """Several blocks, each with a network of known settings."""
    axis = summary.axis
    if axis is None:
        axis = max((i for i, own in enumerate(names) if own), default=len(x_shape) - 1)
    if not 0 <= axis < len(x_shape):
        raise ShapeError(f"summary 'parts': x of shape {x_shape} has no axis {axis}; they count from 0.")
    blocks = {
        name: Block.of(part.model_dump(), x_shape, axis, names[axis]) for name, part in summary.parts.items()
    }
    times = Counter(entry for block in blocks.values() for entry in block.entries)
    if wrong := [i for i in range(x_shape[axis]) if times[i] != 1]:
        known = [names[axis][i] for i in wrong] if names[axis] else ranges(wrong)
        raise ShapeError(
            f"summary 'parts': expected each entry of x in one block, got {len(wrong)} in none or in "
            f"several: {', '.join(map(str, known[:10]))}. Name all of them once."
        )
    parts = {name: _known(name, part, blocks[name], axes, names) for name, part in summary.parts.items()}
    return summary.model_copy(update={"axis": axis, "parts": parts})


def _known(
    name: str, part: PartSettings, block: Block, axes: Sequence[str], names: Sequence[Sequence[str]]
) -> PartSettings:
    """One block, its entries as ranges, with a network of known settings."""
    kinds, own = part.kinds or axes, [*names]
    if part.shape:
        kinds, own = part.kinds or [""] * len(block.shape), [()] * len(block.shape)
    elif names[block.axis]:
        own[block.axis] = [names[block.axis][i] for i in block.entries]
    if len(kinds) != len(block.shape):
        raise ShapeError(
            f"summary 'parts': block {name!r}: expected a kind for each axis of its shape {block.shape}, "
            f"got {kinds}."
        )
    network = resolved(part.summary, block.shape, kinds, own)
    return part.model_copy(update={"entries": ranges(block.entries), "summary": network})


def _declared(kind: str, axes: Sequence[str]) -> tuple[int, ...]:
    return tuple(i for i, axis in enumerate(axes) if axis == kind)


def _chosen(features: int, x_shape: tuple[int, ...], axes: Sequence[str]) -> Any:
    """The network that `auto` stands for."""
    if exchangeable := _declared("exchangeable", axes):
        return DeepSetSummarySettings(features=features, axis=exchangeable[0])
    image, series = _declared("image", axes), _declared("series", axes)
    open_axes = [] if image or series else _declared("", axes)
    image = image or tuple(i for i in open_axes if x_shape[i] >= IMAGE)[-2:]
    if len(image) == 2:
        return ImageSummarySettings(features=features, axes=list(image))
    series = series or tuple(i for i in open_axes if x_shape[i] >= SERIES)
    return (
        ConvSummarySettings(features=features, axis=series[0])
        if series
        else MLPSummarySettings(features=features)
    )


def _along(length: int, settings: ConvSummarySettings) -> dict[str, Any]:
    """What the length of a series decides."""
    if settings.channels is not None or length <= LONG:
        return {"channels": [FIRST, FURTHER], "patch": 2, "means": False}
    return {**_halvings(length, settings.patch or max(2, math.ceil(length / LONG)), SHORT), "means": True}


def _over(longest: int, settings: ImageSummarySettings) -> dict[str, Any]:
    """What the size of an image decides."""
    wanted = 2 if settings.channels is not None else max(2, math.ceil(longest / LARGE))
    return _halvings(longest, settings.patch or wanted, SMALL)


def _halvings(length: int, patch: int, wanted: int) -> dict[str, Any]:
    """A patch, and channels that halve what it leaves until at most so many steps are left."""
    times = max(0, math.ceil(math.log2(math.ceil(length / patch) / wanted)))
    return {"channels": [FIRST, *[FURTHER] * times], "patch": patch}

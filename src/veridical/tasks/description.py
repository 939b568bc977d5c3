"""Parameters, prior and axes of a task that is described in settings rather than written in Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from veridical.errors import TaskError
from veridical.tasks.base import Dimension
from veridical.tasks.priors import Product, marginal


def prior_of(parameters: Mapping[str, Mapping[str, Any]]) -> Product:
    """Returns the prior described by {name: {prior: uniform, lower: 0, upper: 1, unit: m}}."""
    return Product({name: marginal(name, settings) for name, settings in parameters.items()})


def units_of(parameters: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Returns the unit of each parameter, empty where there is none."""
    return {name: str(settings.get("unit", "")) for name, settings in parameters.items()}


def dimensions_of(
    described: Sequence[Mapping[str, Any]] | None, x_shape: Sequence[int] | None
) -> tuple[Dimension, ...] | None:
    """Returns the axes of x from {name, coordinates or length, unit, kind, missing} each, or from lengths.

    Returns:
        The axes; None where neither is given.

    Raises:
        TaskError: If the two disagree, or an axis has neither coordinates nor a length.
    """
    if described:
        axes = tuple(_axis(i, settings) for i, settings in enumerate(described))
    elif x_shape:
        axes = tuple(Dimension(f"axis_{i}", tuple(range(length))) for i, length in enumerate(x_shape))
    else:
        return None
    shape = tuple(len(axis.coordinates) for axis in axes)
    if x_shape and tuple(x_shape) != shape:
        raise TaskError(f"x_shape {tuple(x_shape)} and the lengths of dimensions {shape} must agree.")
    return axes


def _axis(i: int, settings: Mapping[str, Any]) -> Dimension:
    name = str(settings.get("name", f"axis_{i}"))
    coordinates, length = settings.get("coordinates"), settings.get("length")
    if coordinates is None:
        if length is None:
            raise TaskError(f"dimension {name!r}: expected `coordinates` or a `length`, got neither.")
        coordinates = range(int(length))
    values = tuple(coordinates)
    if length is not None and len(values) != length:
        raise TaskError(f"dimension {name!r}: length {length} but {len(values)} coordinates.")
    unit, kind = (str(settings.get(key, "")) for key in ("unit", "kind"))
    return Dimension(name, values, unit, kind=kind, missing=bool(settings.get("missing")))

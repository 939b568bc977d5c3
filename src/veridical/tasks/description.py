"""Parameters, prior and axes of a task that is described in settings rather than written in Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from veridical.errors import TaskError
from veridical.tasks import latents, supports
from veridical.tasks.base import Dimension, Parameter
from veridical.tasks.families import names_of, prior_of


def units_of(parameters: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Returns the unit of each parameter, empty where there is none."""
    return {
        name: str(settings.get("unit", "")) for key, settings in parameters.items() for name in names_of(key)
    }


def stored_parameters(
    described: Mapping[str, Mapping[str, Any]],
) -> tuple[tuple[Parameter, ...], tuple[supports.Constraint, ...]]:
    """Returns parameters and constraints of simulations made elsewhere, by priors or by bounds and `support`.

    Raises:
        TaskError: If a support does not fit the number of its parameters.
    """
    parameters: list[Parameter] = []
    constraints: list[supports.Constraint] = []
    for key, settings in described.items():
        names, kind = names_of(key), settings.get("support")
        if settings.get("prior"):
            prior = prior_of({key: settings})
            bounds, found = prior.bounds, latents.constraints_of(prior, names)
        else:
            lower, upper = settings.get("lower", -np.inf), settings.get("upper", np.inf)
            found = _support(names, kind, settings)
            bounds = np.tile([lower, upper], (len(names), 1))
            if kind == "simplex":
                bounds[:] = 0.0, 1.0
            elif kind == "categories":
                bounds[:] = found[0].codes[[0, -1]]  # type: ignore[attr-defined]
        unit = str(settings.get("unit", ""))
        parameters += [
            Parameter(n, float(a), float(b), unit) for n, (a, b) in zip(names, bounds, strict=True)
        ]
        constraints += found
    return tuple(parameters), tuple(constraints)


def _support(
    names: tuple[str, ...], kind: str | None, settings: Mapping[str, Any]
) -> tuple[supports.Constraint, ...]:
    """What `support` says that parameters can be."""
    name = ", ".join(names)
    if (len(names) > 1) != (kind in ("simplex", "ordered")):
        expected = "`support: simplex` or `ordered`" if len(names) > 1 else "two or more names, as in 'a, b'"
        raise TaskError(f"parameter {name!r}: expected {expected}, got {len(names)} with support {kind!r}.")
    if kind == "simplex":
        return (supports.Simplex(names),)
    if kind == "ordered":
        return (supports.Ordered(names, settings.get("lower", -np.inf), settings.get("upper", np.inf)),)
    if kind == "integers":
        return (supports.Whole(name, settings.get("lower", -np.inf), settings.get("upper", np.inf)),)
    if kind == "categories":
        return (supports.OneOf(name, tuple(settings.get("values") or ())),)
    return ()


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

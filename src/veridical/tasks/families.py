"""Priors from settings: the family and the numbers of each parameter, or of several together.

A key may name several parameters, as `a, b`, and a number may be a formula of parameters before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from veridical.errors import TaskError, suggest
from veridical.tasks import priors
from veridical.tasks.discrete import Categories, Integers
from veridical.tasks.joint import Conditional, Dirichlet, Joint, Sorted
from veridical.tasks.priors import (
    MARGINALS,
    LogitNormal,
    LogNormal,
    MultivariateNormal,
    Normal,
    Product,
    Uniform,
    marginal,
)

ALONE: dict[str, type[Any]] = {**MARGINALS, "integers": Integers, "categories": Categories}
TOGETHER: dict[str, type[Any]] = {"normal": MultivariateNormal, "dirichlet": Dirichlet, "ordered": Sorted}
_KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # needed and optional
    "integers": (("lower", "upper"), ()),
    "categories": (("values",), ("weights",)),
    "dirichlet": (("concentration",), ()),
    "ordered": (("each",), ()),
    "normals": (("mean",), ("covariance", "sd", "correlation")),
    "conditional": (("base", "location", "scale"), ()),
    "uniform": (("lower", "upper"), ()),
    "normal": (("mean", "sd"), ()),
    "lognormal": (("mean", "sd"), ()),
    "logitnormal": (("lower", "upper"), ("mean", "sd")),
}
_BESIDE = ("prior", "unit")


def names_of(key: str) -> tuple[str, ...]:
    """Returns the parameters that a key names.

    >>> names_of("a, b")
    ('a', 'b')
    """
    return tuple(name.strip() for name in key.split(","))


def is_product(described: Mapping[str, Mapping[str, Any]]) -> bool:
    """Returns whether all parameters are independent, continuous and alone."""
    return all(
        len(names_of(key)) == 1 and settings.get("prior") in MARGINALS and not _formulas(settings)
        for key, settings in described.items()
    )


def prior_of(described: Mapping[str, Mapping[str, Any]]) -> Product | Joint:
    """Returns the prior described by {name: {prior: uniform, lower: 0, upper: 1, unit: m}}.

    Raises:
        TaskError: If a family or a number is unknown, missing or out of range.
    """
    if is_product(described):
        return Product({name: marginal(name, settings) for name, settings in described.items()})
    return Joint({names_of(key): _family(names_of(key), settings) for key, settings in described.items()})


def classes(described: Mapping[str, Mapping[str, Any]]) -> list[type]:
    """Returns the classes that decide what the described prior draws."""
    stated = {key: settings for key, settings in described.items() if settings.get("prior")}
    if not stated:
        return []
    kinds = sorted({settings["prior"] for settings in stated.values()})
    if is_product(stated):
        return [Product, *(MARGINALS[kind] for kind in kinds)]
    every = [found[kind] for kind in kinds for found in (ALONE, TOGETHER) if kind in found]
    return [Joint, *sorted({*every, Conditional, *MARGINALS.values()}, key=lambda cls: cls.__name__)]


def to_json(prior: Any) -> dict[str, Any]:
    """Returns a prior as plain data.

    Raises:
        TaskError: If it is of another kind than those of veridical.tasks.
    """
    if type(prior) is Product and any(hasattr(m, "constraint") for m in prior.marginals.values()):
        prior = Joint({(name,): one for name, one in prior.marginals.items()})
    if type(prior) is Joint:
        return {"kind": "joint", "parameters": described(prior)}
    return priors.to_json(prior)


def from_json(record: Mapping[str, Any]) -> Product | MultivariateNormal | Joint:
    """Returns the prior that `to_json` wrote down.

    Raises:
        TaskError: If the record is not of a known kind.
    """
    if record.get("kind") == "joint":
        blocks = record["parameters"].items()
        return Joint({names_of(key): _family(names_of(key), settings) for key, settings in blocks})
    return priors.from_json(record)


def described(prior: Joint) -> dict[str, dict[str, Any]]:
    """Returns a prior as settings.

    Raises:
        TaskError: If a distribution is of another package.
    """
    return {", ".join(names): _settings(given) for names, given in prior.given.items()}


def _settings(given: Any) -> dict[str, Any]:
    kinds: dict[type, str] = {cls: kind for kind, cls in MARGINALS.items()}
    match given:
        case MultivariateNormal():
            return {"prior": "normal", "mean": given.mean.tolist(), "covariance": given.covariance.tolist()}
        case Dirichlet():
            return {"prior": "dirichlet", "concentration": given.concentration.tolist()}
        case Sorted():
            return {"prior": "ordered", "each": _settings(given.each)}
        case Conditional():
            numbers = {"location": given.location, "scale": given.scale}
            return {"prior": "conditional", "base": _settings(given.base), **numbers}
        case Integers():
            return {"prior": "integers", "lower": given.lower, "upper": given.upper}
        case Categories():
            return {"prior": "categories", "values": list(given.values), "weights": given.weights.tolist()}
        case _ if type(given) in kinds:
            numbers = {name: value for name, value in vars(given).items() if np.isfinite(value)}
            return {"prior": kinds[type(given)], **numbers}
    raise TaskError(
        f"a prior with {type(given).__name__} cannot be written down; expected distributions of "
        "veridical.tasks."
    )


def _family(names: tuple[str, ...], settings: Mapping[str, Any]) -> Any:
    """The distribution of one block."""
    name, kind = ", ".join(names), str(settings.get("prior", ""))
    known = ALONE if len(names) == 1 else TOGETHER
    if kind not in known and kind != "conditional":
        what = "of one parameter" if len(names) == 1 else "of several parameters"
        raise TaskError(f"parameter {name!r}: there is no prior {kind!r} {what}. {suggest(kind, known)}")
    plain = kind in MARGINALS and len(names) == 1
    if plain and not _formulas(settings):
        return marginal(name, settings)
    given = _require_keys(name, "normals" if len(names) > 1 and kind == "normal" else kind, settings)
    try:
        return _conditional(kind, given) if plain else _of(kind, names, given)
    except TaskError as error:
        raise TaskError(f"parameter {name!r}: {error}") from error


def _of(kind: str, names: tuple[str, ...], given: Mapping[str, Any]) -> Any:
    if kind == "integers":
        return Integers(given["lower"], given["upper"])
    if kind == "categories":
        return Categories(given["values"], given.get("weights"))
    if kind == "dirichlet":
        stated = given["concentration"]
        return Dirichlet([stated] * len(names) if isinstance(stated, int | float) else stated)
    if kind == "ordered":
        return Sorted(marginal("each", given["each"]))
    if kind == "conditional":
        return Conditional(_family(("base",), given["base"]), given["location"], given["scale"])
    return _normals(names, given)


def _normals(names: tuple[str, ...], given: Mapping[str, Any]) -> MultivariateNormal:
    """Jointly normal parameters from a covariance, or from standard deviations and correlations."""
    d, mean = len(names), given["mean"]
    if not isinstance(mean, list) or len(mean) != d:
        raise TaskError(f"mean: expected {d} numbers, one for each parameter, got {mean}.")
    if ("covariance" in given) == ("sd" in given):
        raise TaskError("expected `covariance`, or `sd` and `correlation`.")
    if "covariance" in given:
        covariance = given["covariance"]
    else:
        sd, correlation = given["sd"], given.get("correlation", np.eye(d).tolist())
        if not isinstance(sd, list) or len(sd) != d or not all(value > 0 for value in sd):
            raise TaskError(f"sd: expected {d} positive numbers, one for each parameter, got {sd}.")
        if isinstance(correlation, int | float):
            correlation = np.where(np.eye(d) > 0, 1.0, correlation).tolist()
        covariance = [
            [r * sd[i] * sd[j] for j, r in enumerate(row[:d])] for i, row in enumerate(correlation[:d])
        ]
        if (
            len(correlation) != d
            or any(len(row) != d for row in correlation)
            or any(correlation[i][i] != 1 for i in range(d))
        ):
            raise TaskError(
                f"correlation: expected one number, or {d} rows of {d} with ones in the diagonal."
            )
    if len(covariance) != d or any(len(row) != d for row in covariance):
        raise TaskError(f"covariance: expected {d} rows of {d} numbers, got {covariance}.")
    return MultivariateNormal(dict(zip(names, mean, strict=True)), np.array(covariance, dtype=float))


def _conditional(kind: str, given: Mapping[str, Any]) -> Conditional:
    """A family whose numbers depend on parameters before it, as location and scale of one that does not."""
    if kind == "uniform":
        return Conditional(Uniform(0.0, 1.0), given["lower"], f"({given['upper']}) - ({given['lower']})")
    if kind == "normal":
        return Conditional(Normal(0.0, 1.0), given["mean"], given["sd"])
    shape = given.get("sd", 1.0)
    if isinstance(shape, str) or (kind == "logitnormal" and isinstance(given.get("mean"), str)):
        raise TaskError(
            f"a {kind} prior may have a formula for its {'mean' if kind == 'lognormal' else 'bounds'} "
            "only; write "
            "other dependence as a class in Python."
        )
    if kind == "lognormal":
        return Conditional(LogNormal(0.0, shape), 0.0, f"exp({given['mean']})")
    base = LogitNormal(0.0, 1.0, float(given.get("mean", 0.0)), shape)
    return Conditional(base, given["lower"], f"({given['upper']}) - ({given['lower']})")


def _require_keys(name: str, kind: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a family, which has to have what it needs and nothing else."""
    needed, optional = _KEYS[kind]
    given = {key: value for key, value in settings.items() if key not in _BESIDE}
    shown = "normal" if kind == "normals" else kind
    for key in given:
        if key not in needed + optional:
            formula = " whose numbers depend on others" if _formulas(settings) else ""
            raise TaskError(
                f"parameter {name!r}: a {shown} prior{formula} has no {key!r}. "
                f"{suggest(key, needed + optional)}"
            )
    if missing := [key for key in needed if key not in given]:
        raise TaskError(
            f"parameter {name!r}: a {shown} prior needs {' and '.join(needed)}; {' and '.join(missing)} "
            "is missing."
        )
    return given


def _formulas(settings: Mapping[str, Any]) -> list[str]:
    """The settings that are formulas."""
    return [key for key in ("lower", "upper", "mean", "sd") if isinstance(settings.get(key), str)]

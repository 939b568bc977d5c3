"""Methods of one study that are alike but for one number, such as the templates mixed: a scan of it.

What a scan shows is read from the answers and experiments that these methods have anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from veridical.digests import canonical
from veridical.methods import MethodSettings

Methods = Mapping[str, MethodSettings]
Scans = dict[str, dict[str, tuple[str, float]]]


def scans(methods: Methods) -> Scans:
    """Returns for each method that is part of one the scans by their name: (first method of it, its number).

    Methods that estimate a fraction are siblings if their settings agree in all but the scanned one; of
    `members`, which the ensemble that they wrap has, if those of the ensembles do, too. A scan needs two
    different numbers. Methods that learned from other simulators of the same number are counted from 0.
    """
    found: Scans = {}
    asked = {name: method for name, method in methods.items() if method.answers == "estimate"}
    for scan, (number, but) in _SCANNED.items():
        families: dict[str, dict[str, float]] = {}
        for name, method in asked.items():
            if (value := number(method, methods)) is not None:
                families.setdefault(but(method, methods), {})[name] = value
        for family in families.values():
            if len(set(family.values())) > 1:
                for name, value in family.items():
                    found.setdefault(name, {})[scan] = (next(iter(family)), value)
    for draws in _draws(asked, methods).values():
        for place, name in enumerate(draws if len(draws) > 1 else ()):
            found.setdefault(name, {})["simulators"] = (draws[0], float(place))
    return found


def _draws(asked: Methods, methods: Methods) -> dict[str, list[str]]:
    """Methods that differ in the templates of their ensemble alone, one for each set of templates."""
    found: dict[str, dict[str, str]] = {}
    for name, method in asked.items():
        parent = methods.get(str(method.setting("of")))
        sides: Any = parent.setting("templates") if parent else None
        if parent is not None and sides:
            alike = _without("of")(method, methods) + _without("first", "second")(parent, methods)
            alike += canonical([len(side) for side in sides])
            found.setdefault(alike, {}).setdefault(canonical(sides), name)
    return {alike: list(names.values()) for alike, names in found.items()}


def _templates(method: MethodSettings, methods: Methods) -> float | None:
    parent = methods.get(str(method.setting("of")))
    sides: Any = parent.setting("templates") if parent else None
    if not sides or "mixes" not in type(method).model_fields:
        return None
    chosen: Any = method.setting("mixes")
    return float(min(map(len, sides)) if chosen is None else len(chosen))


def _number(name: str) -> Callable[[MethodSettings, Methods], float | None]:
    def number(method: MethodSettings, _: Methods) -> float | None:
        value: Any = method.setting(name)
        return None if value is None else float(value)

    return number


def _members(method: MethodSettings, methods: Methods) -> float | None:
    parent = methods.get(str(method.setting("of")))
    value: Any = parent.setting("members") if parent else None
    return None if value is None else float(value)


def _without(*left: str) -> Callable[[MethodSettings, Methods], str]:
    def key(method: MethodSettings, _: Methods) -> str:
        return canonical({k: v for k, v in method.model_dump(mode="json").items() if k not in left})

    return key


def _but_members(method: MethodSettings, methods: Methods) -> str:
    parent = methods[str(method.setting("of"))]
    return _without("of")(method, methods) + _without("members")(parent, methods)


# What the number of a method is, and what says which methods are alike but for it.
_SCANNED: dict[str, tuple[Callable[..., float | None], Callable[..., str]]] = {
    "templates": (_templates, _without("mixes")),
    "ridge": (_number("ridge"), _without("ridge")),
    "members": (_members, _but_members),
    "topics": (_number("topics"), _without("topics")),
}

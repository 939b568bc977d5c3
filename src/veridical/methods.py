"""Methods: estimators and the remedies around them, found by what the settings say.

A specification is the settings of a method as plain data; its `type` names an entry of a registry, or is
`own` for a class in a Python file of the user's.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from veridical.errors import TrainingError, UnknownName, suggest
from veridical.estimators import ESTIMATORS
from veridical.remedies import REMEDIES

if TYPE_CHECKING:
    from veridical.estimators.base import Estimator, Material, TaskInfo
    from veridical.training.session import Session, TrainingResult

METHODS = {**ESTIMATORS, **REMEDIES}
OWN = "own"


def method_class(spec: Mapping[str, Any]) -> type[Estimator]:
    """Returns the class of a method, importing its module.

    Raises:
        UnknownName: If no registry has its type.
        TrainingError: If a user's own class cannot be had.
    """
    if spec["type"] == OWN:
        from veridical.estimators.base import Estimator
        from veridical.own_code import load_class

        return load_class(spec["file"], spec["class"], Estimator, "estimator", TrainingError)  # type: ignore[type-abstract]
    module, _, attribute = _entry(spec["type"]).partition(":")
    return getattr(import_module(module), attribute)


def fit(
    spec: Mapping[str, Any], task: TaskInfo, material: Material, run: Session
) -> tuple[Estimator, TrainingResult | None]:
    """Returns a fitted method and how its training went; see `Estimator.fit`.

    Raises:
        TrainingError: If training cannot go on, or a user's own class returns something else.
    """
    found = method_class(spec).fit(spec, task, material, run)
    if spec["type"] == OWN:
        _require_fitted(spec, found)
    return found


def _require_fitted(spec: Mapping[str, Any], found: Any) -> None:
    """Holds what a user's own class returns against the contract."""
    from veridical.estimators.base import Estimator
    from veridical.training.session import TrainingResult

    parts = found if isinstance(found, tuple) else (found,)
    if len(parts) == 2 and isinstance(parts[0], Estimator) and isinstance(parts[1], TrainingResult | None):
        return
    names = ", ".join(type(part).__name__ for part in parts)
    got = f"a tuple ({names})" if isinstance(found, tuple) else names
    raise TrainingError(
        f"{spec['file']}: {spec['class']}.fit: expected a pair, the fitted estimator and its TrainingResult "
        f"or None, got {got}. Write `return estimator, None` where nothing was iterated."
    )


def modules(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the modules of this package that define a method, for the digest of its code."""
    if spec["type"] == OWN:
        return ("veridical.estimators.base",)
    return (_entry(spec["type"]).partition(":")[0], "veridical.networks.summary")


def sources(spec: Mapping[str, Any]) -> list[Path]:
    """Returns the user's files that define a method of their own.

    Raises:
        TrainingError: If a file is missing.
    """
    if spec["type"] != OWN:
        return []
    found = sorted({Path(name) for name in (spec["file"], *spec.get("depends_on", ()))})
    for path in found:
        if not path.exists():
            raise TrainingError(f"estimator file {path} is missing; paths are taken from {Path.cwd()}.")
    return found


def _entry(name: str) -> str:
    if name not in METHODS:
        raise UnknownName(f"estimator {name!r} is unknown. {suggest(name, METHODS)}")
    return METHODS[name]

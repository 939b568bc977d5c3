"""Methods: estimators and the remedies around them, found by what the settings say.

A specification is the settings of a method as plain data; its `type` names an entry of a registry, or is
`own` for a class in a Python file of the user's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from importlib import import_module
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from veridical.errors import TrainingError, UnknownName, suggest
from veridical.estimators import ESTIMATORS
from veridical.estimators.settings import MethodSettings
from veridical.networks import DENSITIES, MASKED, SUMMARIES
from veridical.remedies import REMEDIES
from veridical.sections import Fidelity, Threads
from veridical.training import DISTORTIONS, REGULARISERS, SCORE_WEIGHTS

if TYPE_CHECKING:
    from veridical.estimators.base import Estimator, Material, TaskInfo
    from veridical.training.session import Session, TrainingResult

METHODS = {**ESTIMATORS, **REMEDIES}
OWN = "own"


class OwnSettings(MethodSettings):
    """A method in a Python file of the user's."""

    type: Literal["own"] = "own"
    file: str = Field(description="Python file.")
    class_: str = Field(alias="class", description="Subclass of veridical.estimators.Estimator in the file.")
    settings: dict[str, Any] = Field(
        default={}, description="What the class finds in `spec['settings']` when it is fitted."
    )
    uses: list[Literal["simulations", "calibration"]] = Field(
        default=["simulations"], description="What it learns from."
    )
    summaries: bool = Field(
        default=False, description="Whether it has summaries of the data, for checks of typicality."
    )
    missing: bool = Field(
        default=False, description="Whether it takes x with missing numbers (NaN); see docs/missing.md."
    )
    apart: bool = Field(
        default=False,
        description="Whether it tells what answers its labelled pairs without having learned from them "
        "(`apart`), so that other methods may build on it.",
    )
    transductive: bool = Field(
        default=False,
        description="Whether its answer to one data set depends on others asked about with it (`given`).",
    )
    depends_on: list[str] = Field(default=[], description="Other files that decide what it learns.")
    fidelity: Fidelity = None
    threads: Threads = Field(default=1, description="CPU threads of its jobs.")
    gpus: Annotated[int, Field(ge=0, le=64)] = Field(default=0, description="GPUs of its training job.")

    @property
    def takes_missing(self) -> bool:  # type: ignore[override]
        """Whether it takes x with missing numbers."""
        return self.missing

    def learns_from(self, *what: str) -> bool:
        """Returns whether it learns from any of these."""
        return not {*what}.isdisjoint(self.uses)

    def offers(self, what: str) -> bool:
        """Returns whether it gives this: summaries or answers apart, if anything."""
        return {"summaries": self.summaries, "answers apart": self.apart}.get(what, False)

    @property
    def amortised(self) -> bool:
        """Whether its answer to one data set is the same whatever it is asked beside it."""
        return not self.transductive


class OwnEstimatorSettings(OwnSettings):
    """An estimator in a Python file of the user's."""


class OwnRemedySettings(OwnSettings):
    """A remedy in a Python file of the user's, around another method."""

    of: str = Field(description="The method that it improves.")
    uses: list[Literal["simulations", "calibration"]] = Field(
        default=["calibration"], description="What it learns from."
    )


def settings_class(kind: str) -> type[MethodSettings]:
    """Returns the class of the settings of a type of method, which state what it is.

    Raises:
        UnknownName: If no registry has the type.
    """
    if kind not in METHODS:
        raise UnknownName(f"estimator {kind!r} is unknown. {suggest(kind, METHODS)}")
    return _imported(METHODS[kind])


def _any_of(registry: Mapping[str, str], own: type[OwnSettings]) -> Any:
    """The settings of any method of a registry, or of a user's own, told apart by their `type`."""
    models: list[Any] = [*map(settings_class, registry), own]
    return Annotated[reduce(or_, models), Field(discriminator="type")]


def _imported(entry: str) -> Any:
    """What an entry `module:Class` stands for."""
    module, _, attribute = entry.partition(":")
    return getattr(import_module(module), attribute)


if TYPE_CHECKING:
    EstimatorSettings = MethodSettings
    RemedySettings = MethodSettings
else:
    EstimatorSettings = _any_of(ESTIMATORS, OwnEstimatorSettings)
    RemedySettings = _any_of(REMEDIES, OwnRemedySettings)


def taking_missing() -> list[str]:
    """Returns the types that answer with a posterior and take missing numbers, whatever their settings."""
    found = {name: settings_class(name) for name in METHODS if name != "prior"}
    return [
        name for name, each in found.items() if each.answers == "posterior" and each.takes_missing is True
    ]


def giving(what: Iterable[str]) -> list[str]:
    """Returns the types of methods that give any of these."""
    return [name for name in METHODS if not {*what}.isdisjoint(settings_class(name).gives)]


def typed(kind: str, spec: Mapping[str, Any]) -> Any:
    """Returns settings as a class of this type gets them: typed; as they are where it is a user's own.

    Raises:
        UnknownName: If no registry has the type.
        ValidationError: If a setting is wrong.
    """
    return spec if kind == OWN else settings_class(kind).model_validate(dict(spec))


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
    found: type[Estimator] = _imported(settings_class(spec["type"]).code)
    return found


def fit(
    spec: Mapping[str, Any], task: TaskInfo, material: Material, run: Session
) -> tuple[Estimator, TrainingResult | None]:
    """Returns a fitted method and how its training went; see `Estimator.fit`.

    Raises:
        TrainingError: If training cannot go on, or a user's own class returns something else.
    """
    found = method_class(spec).fit(typed(spec["type"], spec), task, material, run)
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
    own = settings_class(spec["type"])
    entries = [own.code]
    parts = {"summary", "flow"} if {"member", "posterior"} & own.model_fields.keys() else own.model_fields
    if not {"summary", "flow"}.isdisjoint(parts):
        network = spec.get("posterior", spec)
        network = network.get("member", network)
        for part, registry in (("summary", SUMMARIES), ("flow", DENSITIES)):
            kind = network.get(part, {}).get("type")
            known = [registry[kind]] if kind in registry and kind != "parts" else registry.values()
            entries += known if part in parts else []
        entries += [MASKED]
        if isinstance(augment := network.get("training", {}).get("augment"), dict):
            entries += [DISTORTIONS[augment["type"]]]
    if "regulariser" in own.model_fields:
        kind = spec.get("regulariser", {}).get("type")
        entries += [REGULARISERS[kind]] if kind in REGULARISERS else REGULARISERS.values()
    if (scores := spec.get("scores")) and "scores" in own.model_fields:
        kind = scores.get("type") if isinstance(scores, dict) else scores
        entries += [SCORE_WEIGHTS[kind]] if kind in SCORE_WEIGHTS else SCORE_WEIGHTS.values()
    return tuple(entry.partition(":")[0] for entry in entries)


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

"""Settings of a study: typed, unknown keys refused, one source of truth for defaults, schema and docs.

A study is one YAML file. `scales:` inside it holds overrides for `smoke`, `laptop` and `paper`, deep-merged
over the rest (lists and plain values are replaced). A method or data set that is null there is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, create_model, field_validator, model_validator

from veridical.bank.settings import SimulationSettings
from veridical.checks import ASKED_FOR, CHECKS, check_class
from veridical.checks.experiment_settings import ExperimentSettings
from veridical.coordinates import LABELLED, REFERENCE
from veridical.errors import SettingError, suggest
from veridical.inference.settings import AllocationSettings, ReferenceSettings
from veridical.methods import EstimatorSettings, MethodSettings, RemedySettings, giving
from veridical.saved.settings import ObservationSettings
from veridical.sections import Name, Section
from veridical.setting_messages import sentence, shown
from veridical.study import yaml_reading
from veridical.tasks.settings import TaskSettings

SHARED = "bank"  # below the folder of results, beside the studies
SCALES = ("smoke", "laptop", "paper")
Rows = Annotated[int, Field(gt=0)]
ChecksSettings = create_model(  # type: ignore[call-overload]
    "ChecksSettings",
    __base__=Section,
    __doc__="Which checks run, and how; `null` switches one off.",
    **{
        name: (model | None, None if name in ASKED_FOR else model())
        for name in CHECKS
        for model in [check_class(name).settings_class]
    },
)


class StudySettings(Section):
    """One study: a task, budgets, estimators, remedies, observations, checks, seeds."""

    study: Name = Field(description="Name of the study and of its folder of results.")
    title: str = Field("", description="Heading of the report.")
    description: str = Field("", description="What the reader of the report should know first.")
    seed: int = Field(ge=0, lt=2**63, description="Root of all randomness.")
    task: TaskSettings
    simulation: SimulationSettings = SimulationSettings()
    observations: dict[Name, ObservationSettings] = Field(
        default_factory=dict, description="Real data sets by name."
    )
    estimators: dict[Name, EstimatorSettings] = Field(
        min_length=1, description="Estimators by name of method."
    )
    remedies: dict[Name, RemedySettings] = Field(
        default_factory=dict, description="Remedies by name of method."
    )
    calibration: list[Rows] = Field(
        default_factory=list,
        description="Nested sizes of the set of labelled real data that some methods learn from.",
    )
    experiments: ExperimentSettings | None = Field(
        None, description="A study of coverage with pseudo-experiments."
    )
    budgets: list[Rows] = Field(
        min_length=1, description="Nested numbers of training simulations; the last one is the answer."
    )
    replicates: Annotated[int, Field(ge=1, le=1000)] = Field(
        3, description="Independent repetitions of everything."
    )
    test_rows: Annotated[int, Field(ge=20)] = Field(500, description="Simulated data sets for the checks.")
    sampled_rows: Annotated[int, Field(ge=40)] | None = Field(
        None,
        description="How many of these are asked of methods whose answers cost chains (`nle`, `nre`); all "
        "where not given. Checks near the observation are left out where they would ask more.",
    )
    draws: Annotated[int, Field(ge=100)] = Field(4000, description="Posterior draws per observation.")
    test_draws: Annotated[int, Field(ge=99)] = Field(
        999, description="Posterior draws per simulated data set."
    )
    checks: ChecksSettings = ChecksSettings()
    reference: ReferenceSettings | None = Field(
        None, description="Exact sampling of the posterior, for tasks with a likelihood."
    )
    allocation: AllocationSettings | None = Field(
        None, description="How many rows of each level a given cost should buy."
    )

    @field_validator("study")
    @classmethod
    def _no_shared_folder(cls, name: str) -> str:
        if name.lower() == SHARED:
            raise ValueError(f"results/{SHARED} holds simulations of all studies; choose another name")
        return name

    @field_validator("budgets", "calibration")
    @classmethod
    def _nested(cls, budgets: list[int], info: ValidationInfo) -> list[int]:
        if budgets != sorted(set(budgets)):
            raise ValueError(f"{info.field_name} must grow from first to last")
        return budgets

    @field_validator("estimators", "remedies", "observations", mode="before")
    @classmethod
    def _without_those_left_out(cls, entries: Any) -> Any:
        if not isinstance(entries, Mapping):
            return entries
        return {name: entry for name, entry in entries.items() if entry is not None}

    @field_validator("observations")
    @classmethod
    def _no_reserved_names(cls, observations: dict[str, Any]) -> dict[str, Any]:
        for name in observations:
            if name in LABELLED:
                raise ValueError(f"the name {name!r} is taken; call the data set something else")
        return observations

    @field_validator("estimators", "remedies")
    @classmethod
    def _no_reserved_methods(cls, methods: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        for name, method in methods.items():
            if name == REFERENCE or (name == "prior" and method.type != "prior"):
                raise ValueError(f"the name {name!r} is taken; call the method something else")
            if name in info.data.get("estimators", {}):
                raise ValueError(f"the name {name!r} is that of an estimator; call the remedy something else")
        return methods

    @model_validator(mode="after")
    def _methods_build_on_others(self) -> StudySettings:
        methods = self.methods
        for name in methods:
            below = self._below(name)
            self._require_likelihood(name)
            if not self.calibration and any(methods[m].learns_from("calibration") for m in below):
                raise ValueError(
                    f"method {name!r} learns from labelled real data, but `calibration` is empty; give sizes"
                )
        for name in (self.experiments.methods or []) if self.experiments else []:
            if name not in methods:
                raise ValueError(
                    f"experiments.methods: {name!r} is no method of this study. {suggest(name, methods)}"
                )
        return self

    def _below(self, name: str, *chain: str) -> list[str]:
        """A method of a chain of methods and all that it builds on, none of which may be above it."""
        chain, settings, found = (*chain, name), self.methods[name], [name]
        for other in [settings.parent, *settings.others]:
            if other is None:
                continue
            if other not in self.methods:
                place = "estimators" if name in self.estimators else "remedies"
                raise ValueError(
                    f"{place}.{name} builds on {other!r}, which is no method of this study. "
                    f"{suggest(other, self.methods)}"
                )
            if other in chain:
                raise ValueError(f"methods build on each other in a circle: {', '.join(chain)}")
            found += self._below(other, *chain)
        return found

    def _require_likelihood(self, name: str) -> None:
        """Raises ValueError where a method asks the likelihood of one that has none."""
        other = self.methods[name].weighed_by
        if other is None:
            return
        known = [m for m, settings in self.methods.items() if settings.offers("likelihood")]
        if other in known:
            return
        theirs = self.methods.get(other)
        got = f"of type {theirs.type!r}" if theirs else "no method of this study"
        place = "estimators" if name in self.estimators else "remedies"
        raise ValueError(
            f"{place}.{name}.likelihood: expected a method of type "
            f"{' or '.join(sorted(giving(['likelihood'])))}, got {other!r}, which is {got}. "
            f"{suggest(other, known) if known else 'Add one to `estimators`.'}"
        )

    @property
    def methods(self) -> dict[str, MethodSettings]:
        """Settings of all methods by name: estimators, then remedies."""
        return {**self.estimators, **self.remedies}

    @model_validator(mode="after")
    def _reference_needs_data(self) -> StudySettings:
        if self.reference is not None and not self.observations:
            raise ValueError(
                "`reference` samples the posterior of an observation, but `observations` is empty"
            )
        return self


class StudyFile(StudySettings):
    """A study file: the settings of a study and what each scale changes."""

    scales: dict[Literal["smoke", "laptop", "paper"], dict[str, Any]] = Field(
        default_factory=dict, description="Overrides per scale, deep-merged over the rest."
    )


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `base` with `over` laid on top; mappings are merged, all else is replaced."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def require_scale(scale: str) -> None:
    """Raises SettingError unless there is such a scale."""
    if scale not in SCALES:
        raise SettingError(f"scale {scale!r} is unknown. {suggest(scale, SCALES)}")


def parse(raw: Mapping[str, Any], scale: str = "laptop") -> StudySettings:
    """Returns the settings of a study at one scale.

    Raises:
        SettingError: If a key is unknown (names the nearest valid one), of a wrong type or out of range.
    """
    require_scale(scale)
    raw = dict(raw)
    scales = raw.pop("scales", None) or {}
    if not isinstance(scales, Mapping):
        raise SettingError(f"scales: expected a mapping of {', '.join(SCALES)}, got {shown(scales)}.")
    for name, overrides in scales.items():
        if name not in SCALES:
            raise SettingError(f"scales: there is no scale {name!r}. {suggest(str(name), SCALES)}")
        if overrides is not None and not isinstance(overrides, Mapping):
            raise SettingError(f"scales.{name}: expected a mapping of settings, got {shown(overrides)}.")
    found: dict[str, StudySettings] = {}
    for name in SCALES:  # all scales must be right, not only the one that runs now
        validated = _validated(merge(raw, scales.get(name) or {}))
        if isinstance(validated, list):
            common = _validated(raw) if scales.get(name) else validated
            raise SettingError("\n".join(_blamed(validated, common, name)))
        found[name] = validated
    return found[scale]


def load(path: str | Path, scale: str = "laptop") -> StudySettings:
    """Returns the settings in a YAML file at one scale.

    Raises:
        SettingError: If the file is missing or cannot be read, or a setting in it is wrong.
    """
    path = Path(path)
    if not path.is_file():
        known = sorted(p.stem for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        raise SettingError(f"study file {path} does not exist. {suggest(path.stem, known)}")
    return parse(yaml_reading.read(path), scale)


def as_written(files: Iterable[str | Path], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what some files say, the later ones laid on top, and what a command line says on top of them.

    Raises:
        SettingError: If a file cannot be read as it is written.
    """
    raw: dict[str, Any] = {}
    for file in files:
        raw = merge(raw, yaml_reading.read(file))
    return merge(raw, yaml_reading.of_command_line(overrides))


def is_study(path: str | Path) -> bool:
    """Returns whether a file says that it is a study, or a collection of them."""
    return re.search(rb"^(study|collection)\s*:", Path(path).read_bytes(), re.MULTILINE) is not None


def schema() -> dict[str, Any]:
    """Returns the JSON schema of a study file, as stored in `workflow/schemas/study.json`."""
    return StudyFile.model_json_schema()


def _validated(raw: Mapping[str, Any]) -> StudySettings | list[str]:
    """Returns the settings, or a sentence for each thing that is wrong with them."""
    try:
        study = StudySettings.model_validate(raw)
    except ValidationError as error:
        return [sentence(one, schema()) for one in error.errors()]
    return list(_otherwise(raw, study.model_dump(), "")) or study


def _otherwise(given: Any, taken: Any, where: str) -> Iterator[str]:
    """A sentence for each value that was taken for another: true for 1, the text '3' for the number."""
    if isinstance(given, Mapping) and isinstance(taken, Mapping):
        for name in given.keys() & taken.keys():
            yield from _otherwise(given[name], taken[name], f"{where}.{name}".lstrip("."))
    elif isinstance(given, list) and isinstance(taken, list) and len(given) == len(taken):
        for i, (one, other) in enumerate(zip(given, taken, strict=True)):
            yield from _otherwise(one, other, f"{where}.{i}")
    elif isinstance(given, bool) and type(taken) in (int, float):
        yield f"{where}: expected a number; got {str(given).lower()}."
    elif isinstance(given, str) and type(taken) is int:
        yield f"{where}: expected an integer; got the text {given!r}. Write it without quotes."
    elif type(given) in (int, float, str) and isinstance(taken, bool):
        yield f"{where}: expected true or false; got {given!r}."


def _blamed(faults: list[str], common: StudySettings | list[str], scale: str) -> list[str]:
    """The faults, with the scale in front of those that only its overrides bring in."""
    shared = common if isinstance(common, list) else []
    return [fault if fault in shared else f"scales.{scale}: {fault}" for fault in faults]

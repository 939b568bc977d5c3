"""Collections: one file that stands for a study of each of several tasks, all of which are one DAG.

A collection is a study file with `collection` and `tasks` in place of `study` and `task`. What it says is
said of every task; what stands below a task's name in `tasks` is laid over it. Finished studies of their own
files can be named beside them. Each task becomes a study like any other, below the folder of the collection;
with `severities`, a study at each of them, which share the simulations of all levels but `real`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator

from veridical.coordinates import at_severity
from veridical.errors import SettingError, VeridicalError
from veridical.sections import Name, Section
from veridical.setting_messages import sentence, shown
from veridical.study import resources, settings, validation, yaml_reading
from veridical.study.layout import Layout, at_scale
from veridical.study.settings import merge
from veridical.tasks import build

CONFIG = Path("config")
COLLECTIONS = CONFIG / "collections"


class CollectionSettings(Section):
    """What a collection says beside the settings of a study, which all of its studies have."""

    collection: Name = Field(description="Name of the collection and of its folder of results.")
    title: str = Field("", description="Heading of its page.")
    description: str = Field("", description="What the reader of the page should know first.")
    tasks: dict[Name, dict[str, Any] | None] = Field(
        default_factory=dict,
        description="Tasks by name, each with what differs there from the settings of all, `{}` for nothing; "
        "below a scale, `null` leaves a task out.",
    )
    severities: list[Annotated[float, Field(ge=0, le=1)]] = Field(
        default_factory=list,
        description="How far nature departs from the simulator, from 0 (not at all) to 1: each task becomes "
        "a study at each of these values of its setting `severity`.",
    )
    studies: list[Name] = Field(
        default_factory=list,
        description="Studies in files of their own in config/ that belong to it, too.",
    )

    @field_validator("severities")
    @classmethod
    def _growing(cls, severities: list[float]) -> list[float]:
        if severities != sorted(set(severities)):
            raise ValueError("severities must grow from first to last")
        return severities


@dataclass(frozen=True)
class Studies:
    """The studies of one DAG: one alone, or those of a collection.

    Attributes:
        layouts: The layout of each, by the name of its folder below that of all results.
        scale: `smoke`, `laptop` or `paper`.
        collection: What the collection says of itself; None of one study alone.
    """

    layouts: dict[str, Layout]
    scale: str
    collection: CollectionSettings | None = None
    root: str = field(default="results", kw_only=True)

    @property
    def first(self) -> Layout:
        """The first of them."""
        return next(iter(self.layouts.values()))

    @property
    def name(self) -> str:
        """The name of the study or the collection."""
        return self.collection.collection if self.collection else self.first.study.study

    @property
    def report(self) -> str:
        """The folder of the page on all of them."""
        if self.collection is None:
            return self.first.report
        return f"{self.root}/{at_scale(self.name, self.scale)}"

    @property
    def folders(self) -> list[str]:
        """All folders of results."""
        found = [folder for one in self.layouts.values() for folder in (one.results, one.report)]
        return list(dict.fromkeys([*found, self.report]))

    @property
    def pages(self) -> list[str]:
        """Paths of all that a run ends with."""
        made = ("report.html", "metrics.csv", "verdict.json", "provenance.json", "outcome.json")
        paths = [f"{one.report}/{name}" for one in self.layouts.values() for name in made]
        return paths + [f"{self.report}/{name}" for name in made[:2] if self.collection]

    @property
    def about(self) -> dict[str, str]:
        """What the page says of the collection."""
        stated = {} if self.collection is None else self.collection.model_dump(exclude={"tasks", "studies"})
        if not stated.get("severities"):
            stated.pop("severities", None)
        return {**stated, "scale": self.scale}

    @property
    def methods(self) -> list[str]:
        """The methods of all studies in the order of their files."""
        return list(dict.fromkeys(name for one in self.layouts.values() for name in one.methods))

    def place(self, folder: str) -> str:
        """What a reader calls one of the studies in its folder."""
        own = self.collection is not None and self.layouts[folder].collection
        return f"{'tasks' if own else 'studies'}.{self.layouts[folder].study.study}"

    def user_of(self, bank: str) -> Layout:
        """A study that uses the bank in a folder of this name.

        Raises:
            SettingError: If none does.
        """
        for layout in self.layouts.values():
            named = bank.startswith(f"{layout.task_spec['name']}-")  # the key takes longer
            if named and any(Path(own).name == bank for own in layout.banks):
                return layout
        raise SettingError(f"bank {bank}: expected one that {self.name} uses, got another.")

    @cached_property
    def modules(self) -> list[str]:
        """The modules of the site that simulations load.

        Raises:
            SettingError: If studies differ in them: rules can name them only once.
        """
        found = {name: list(resources.simulation_needs(one).modules) for name, one in self.layouts.items()}
        wanted = found[next(iter(found))]
        for name, modules in found.items():
            if modules != wanted:
                raise SettingError(
                    f"{self.place(name)}: simulations of one DAG load the same modules; expected "
                    f"{shown(wanted)} as of {self.place(next(iter(found)))}, got {shown(modules)}. Set "
                    "simulation.modules for all to what each needs, or make two collections."
                )
        return wanted

    def validate(self) -> None:
        """Stops on all that can be known to be wrong before a job starts.

        Raises:
            VeridicalError: What is wrong, with the name of the task where it is wrong for one alone.
        """
        if self.collection is None:
            validation.validate(self.first)
            return
        faults: dict[str, VeridicalError] = {}
        for name, layout in self.layouts.items():
            try:
                if self.collection.severities and layout.collection:
                    _require_severity(layout)
                validation.validate(layout)
            except VeridicalError as error:
                faults[self.place(name)] = error
        _raise_all(faults, len(self.layouts))
        _ = self.modules


def load(path: str | Path, scale: str = "laptop", root: str = "results") -> Studies:
    """Returns the studies that a file stands for, at one scale.

    Raises:
        SettingError: If the file is missing or cannot be read, or a setting in it is wrong.
    """
    if not Path(path).is_file():
        settings.load(path, scale)  # says what there is
    return read(yaml_reading.read(path), scale, root=root)


def read(
    options: Mapping[str, Any], scale: str | None = None, data: Any = None, root: str = "results"
) -> Studies:
    """Returns the studies that the settings of a file stand for, at one scale and with new data, if any.

    Raises:
        SettingError: If a setting is wrong; with the task where it is wrong for one alone.
    """
    scale = "laptop" if scale is None else scale
    if "collection" not in options:
        named = None if data is None else str(data)  # a name such as 1900 arrives as a number
        one = Layout(settings.parse(options, scale), scale=scale, data=named, root=root)
        return Studies({one.folder: one}, scale, root=root)
    settings.require_scale(scale)
    if data is not None:
        raise SettingError("data: new data belong to one study, and this is a collection. Name a study.")
    own = _own(options, scale)
    tasks = [name for name, over in own.tasks.items() if over is not None]
    parsed = _parsed({name: one for task in tasks for name, one in _studies_of(options, task, own)}, scale)
    layouts = [Layout(study, scale=scale, root=root, collection=own.collection) for study in parsed]
    for name in own.studies:
        study = settings.load(CONFIG / f"{name}.yaml", scale)
        layouts.append(Layout(study, scale=scale, root=root))
    _require_names(own, layouts)
    return Studies({layout.folder: layout for layout in layouts}, scale, own, root=root)


OWN = frozenset(CollectionSettings.model_fields)


def _own(options: Mapping[str, Any], scale: str) -> CollectionSettings:
    """What a collection says of itself at one scale."""
    for name, instead in (("study", "collection"), ("task", "tasks")):
        if name in options:
            raise SettingError(f"{name}: a collection has `{instead}` in its place; remove it.")
    given = {name: value for name, value in options.items() if name in OWN}
    over = options.get("scales") or {}
    for part in (over, *(over.values() if isinstance(over, Mapping) else ())):
        if not isinstance(part, Mapping | None):
            raise SettingError(
                f"scales: expected settings below {', '.join(settings.SCALES)}, got {shown(part)}."
            )
    found = {"": _validated(given, "")}
    for name, part in over.items():
        here = {key: value for key, value in (part or {}).items() if key in OWN}
        found[name] = _validated(merge(given, here), f"scales.{name}: ")
    return found.get(scale, found[""])


def _validated(given: Mapping[str, Any], place: str) -> CollectionSettings:
    try:
        found = CollectionSettings.model_validate(given)
    except ValidationError as error:
        schema = CollectionSettings.model_json_schema()
        faults = [place + sentence(one, schema) for one in error.errors()]
        raise SettingError("\n".join(faults)) from None
    for name, own in found.tasks.items():
        if "study" in (own or {}):
            raise SettingError(f"{place}tasks.{name}.study: {name} is the name of its study; remove it.")
    return found


def _studies_of(
    options: Mapping[str, Any], task: str, own: CollectionSettings
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The studies of one task by name: one, or one at each severity."""
    plain = _study_of(options, task)
    if not own.severities:
        yield task, plain
    for severity in own.severities:
        name, settings_ = at_severity(task, severity), {"settings": {"severity": severity}}
        title = f"{plain['title']}, severity {severity:g}"
        yield name, merge(plain, {"study": name, "title": title, "task": settings_})


def _require_severity(layout: Layout) -> None:
    """Stops where the severity of a collection says nothing to a task."""
    spec = layout.study.task.spec()
    plain = {name: value for name, value in (spec.get("settings") or {}).items() if name != "severity"}
    known = build({**spec, "settings": plain}).of_nature if "settings" in spec else ()
    if "severity" not in known:
        raise SettingError(
            f"severities: expected a task that names `severity` in its `of_nature`, got {spec['name']!r}. "
            "Leave the task out, or list a study of it under `studies`."
        )


def _study_of(options: Mapping[str, Any], task: str) -> dict[str, Any]:
    """The study of one task, as its file would say it."""
    title = f"{options.get('title') or options['collection']}: {task}"
    raw: dict[str, Any] = {"study": task, "title": title, "task": {"name": task}, "scales": {}}
    raw = merge(raw, {name: value for name, value in options.items() if name not in {*OWN, "scales"}})
    raw = merge(raw, (options.get("tasks") or {}).get(task) or {})
    for scale, over in (options.get("scales") or {}).items():
        common = {name: value for name, value in (over or {}).items() if name not in OWN}
        own = ((over or {}).get("tasks") or {}).get(task) or {}
        raw = merge(raw, {"scales": {scale: merge(common, own)}})
    return raw


def _parsed(raw: Mapping[str, Mapping[str, Any]], scale: str) -> list[settings.StudySettings]:
    found, faults = [], {}
    for task, study in raw.items():
        try:
            found.append(settings.parse(study, scale))
        except VeridicalError as error:
            faults[f"tasks.{task}"] = error
    _raise_all(faults, len(raw))
    return found


def _raise_all(faults: Mapping[str, VeridicalError], of: int) -> None:
    """Raises an error for all faults, with the places of those that are not the same in all studies."""
    texts = {place: str(error) for place, error in faults.items()}
    if len(texts) == of > 1 and len({*texts.values()}) == 1:
        raise next(iter(faults.values()))
    if texts:
        raise SettingError("\n".join(f"{place}: {text}" for place, text in texts.items()))


def _require_names(own: CollectionSettings, layouts: list[Layout]) -> None:
    """Stops where results of two studies, or of a study and its collection, would lie in one place."""
    if not layouts:
        raise SettingError(f"tasks: collection {own.collection} has none at this scale; name one or more.")
    for layout in layouts:
        name = layout.study.study
        if layout.collection and name in validation.FOLDERS:
            raise SettingError(f"tasks.{name}: a folder of the collection has this name; choose another one.")
        if not layout.collection and name == own.collection:
            raise SettingError(f"studies.{name}: the collection has the same name; choose another one.")
    if own.collection == settings.SHARED or (CONFIG / f"{own.collection}.yaml").is_file():
        raise SettingError(
            f"collection: results/{own.collection}/ belongs to something else; choose another name."
        )
    names = [layout.study.study for layout in layouts]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SettingError(f"studies: {', '.join(twice)} is the name of two studies; keep one of them.")

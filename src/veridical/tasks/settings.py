"""The task section of a study's settings, what its jobs may need, and settings of the exact reference.

A task is written in one of four forms, or as a short string:

    task: lotka_volterra                     # or my_model.py:MyTask
    task: {name: gaussian_linear, settings: {dimension: 10}}
    task: {file: my_model.py, class: MyTask, depends_on: [tables.csv]}
    task: {name: crude, command: "./sim.sh {theta} {out}", parameters: {...}, x_shape: [21, 2]}
    task: {simulations: made_elsewhere.npz, parameters: {...}}
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Discriminator, Field, Tag, model_validator

from veridical.errors import TaskError
from veridical.sections import Cores, Count, Megabytes, Module, Seconds, Section
from veridical.tasks.expressions import Expression
from veridical.tasks.families import names_of

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
_LABEL = (
    "What figures and tables show for the name: text, with mathematics between dollars (`α`, `$\\alpha_s$`)."
)


class NeedsSettings(Section):
    """What a simulation job may ask for: the rules for `Task.needs`, the same as in a study."""

    cores: Cores
    mem_mb: Megabytes
    seconds: dict[str, Seconds]
    modules: list[Module]


def _number(given: Any) -> Any:
    """Refuses what is neither a number nor a formula."""
    if isinstance(given, str):
        try:
            if Expression(given).names:
                return given
        except TaskError as error:
            raise ValueError(str(error).rstrip(".")) from error
    if isinstance(given, bool) or not isinstance(given, int | float | None):
        raise ValueError("expected a number, or a formula of parameters before it such as 2 * a")
    return given


def _number_or_list(given: Any) -> Any:
    return given if isinstance(given, list) else _number(given)


def _positive(given: Any) -> Any:
    numbers = [one for one in (given if isinstance(given, list) else [given]) if isinstance(one, int | float)]
    if any(not one > 0 for one in numbers):
        raise ValueError("expected a number greater than 0")
    return given


Number = Annotated[float | str | None, BeforeValidator(_number)]
NumberOrList = Annotated[float | str | list[float] | None, BeforeValidator(_number_or_list)]


class EachSettings(Section):
    """The distribution of one parameter of several."""

    prior: Literal["uniform", "normal", "lognormal", "logitnormal"] = Field(description="Family.")
    lower: float | None = Field(None, description="Lower bound.")
    upper: float | None = Field(None, description="Upper bound.")
    mean: float | None = Field(None, description="Mean, of the logarithm or logit where the prior has one.")
    sd: float | None = Field(None, gt=0, description="Standard deviation, in the same scale.")


class ParameterSettings(Section):
    """One parameter, or several of one key: prior, or bounds and `support` where simulations exist."""

    prior: (
        Literal[
            "uniform", "normal", "lognormal", "logitnormal", "integers", "categories", "dirichlet", "ordered"
        ]
        | None
    ) = Field(
        None, description="Family of the prior; `mean` and `sd` are those of the normal variable behind it."
    )
    lower: Number = Field(None, description="Lower bound.")
    upper: Number = Field(None, description="Upper bound.")
    mean: NumberOrList = Field(
        None,
        description="Mean, of the logarithm or logit where the prior has one; of several parameters a list.",
    )
    sd: Annotated[NumberOrList, AfterValidator(_positive)] = Field(
        None, description="Standard deviation, in the same scale; of several parameters a list."
    )
    covariance: list[list[float]] | None = Field(None, description="Covariance of several normal parameters.")
    correlation: float | list[list[float]] | None = Field(
        None, description="Their correlation, beside `sd`: one number for all pairs, or rows."
    )
    values: list[float | str] | None = Field(
        None,
        description="Values of `categories`: ascending numbers, or texts, given to a simulator as 0, 1, ...",
    )
    weights: list[float] | None = Field(None, description="Weights of the values; equal where unset.")
    concentration: float | list[float] | None = Field(
        None, description="Of `dirichlet`: one number for each share, or one for all; 1 is uniform."
    )
    each: EachSettings | None = Field(
        None, description="Of `ordered`: the distribution of each parameter before they are put in order."
    )
    support: Literal["integers", "categories", "simplex", "ordered"] | None = Field(
        None, description="What parameters without a prior can be, where simulations exist already."
    )
    unit: str | None = Field(None, description="Unit, for tables and figures.")
    label: str | list[str] | None = Field(None, description=f"{_LABEL} A list where a key names several.")


class DimensionSettings(Section):
    """One axis of x behind the rows."""

    name: str = Field(description="Name of the axis.")
    coordinates: list[float | str] | None = Field(None, description="Values along the axis.")
    length: Count | None = Field(None, description="Number of values, where they have no coordinates.")
    unit: str | None = Field(None, description="Unit of the coordinates.")
    label: str | None = Field(None, description=_LABEL)
    kind: Literal["exchangeable", "series", "image", "vector"] | None = Field(
        None,
        description="What networks may take for granted along it (`summary: auto`): entries without order, "
        "a series, one of the two axes of an image, numbers without neighbours.",
    )
    missing: bool | None = Field(
        None, description="Whether entries along it may be missing, as NaN; see docs/missing.md."
    )


def _each_label(given: str | list[str] | None, key: str) -> list[str]:
    """The label of each parameter that a key names."""
    names = names_of(key)
    labels = [""] * len(names) if given is None else [given] if isinstance(given, str) else given
    if len(labels) != len(names):
        raise ValueError(f"label of {key!r}: expected a list of {len(names)} labels, got {given!r}")
    return labels


class _Task(Section):
    block_rows: Count | None = Field(
        None, description="Rows simulated together, the unit of randomness; the task's own where unset."
    )
    x_dtype: Literal["float32", "float64"] | None = Field(
        None, description="Type of x in the bank; float64 for dates, coordinates; the task's own where unset."
    )

    def spec(self) -> dict[str, Any]:
        """Returns the plain dict from which `veridical.tasks.build` makes the task: without labels."""
        spec = self.model_dump(mode="json", exclude_none=True)
        for described in (*spec.get("parameters", {}).values(), *spec.get("dimensions", ())):
            described.pop("label", None)
        return spec

    @model_validator(mode="after")
    def _label_all(self) -> _Task:
        self.labels()
        return self

    def labels(self) -> dict[str, dict[str, str]]:
        """Returns what readers see for the names of `parameters` and `dimensions`."""
        axes = {axis.name: axis.label for axis in getattr(self, "dimensions", None) or ()}
        parameters = {
            name: label
            for key, one in getattr(self, "parameters", {}).items()
            for name, label in zip(names_of(key), _each_label(one.label, key), strict=True)
        }
        of = {"parameters": parameters, "dimensions": axes}
        return {what: {n: label for n, label in found.items() if label} for what, found in of.items()}


class RegistryTaskSettings(_Task):
    """A task that comes with veridical."""

    name: Name = Field(description="Name in the registry.")
    settings: dict[str, Any] = Field({}, description="Arguments of the task's class.")


class OwnTaskSettings(_Task):
    """A task in a Python file of the user's."""

    name: Name = Field(description="Name in paths; the file's where unset.")
    file: str = Field(description="Python file.")
    class_: str = Field(alias="class", description="Subclass of veridical.tasks.Task in the file.")
    settings: dict[str, Any] = Field({}, description="Arguments of the class.")
    depends_on: list[str] = Field([], description="Other files that decide what is simulated.")


class CommandTaskSettings(_Task):
    """A task whose simulator is an executable in any language."""

    name: Name = Field(description="Name in paths.")
    command: str = Field(description="Words with {theta} {out} and optionally {fidelity} {seeds}; no shell.")
    parameters: dict[str, ParameterSettings] = Field(min_length=1, description="Prior of each parameter.")
    fidelities: dict[Name, Annotated[float, Field(gt=0)]] = Field(
        {"model": 1.0}, min_length=1, description="Nominal cost of a row for each level, cheapest first."
    )
    dimensions: list[DimensionSettings] | None = Field(None, description="Axes of one simulation.")
    x_shape: list[Count] | None = Field(None, description="Lengths of those axes, where they have no names.")
    x_unit: str | None = Field(None, description="Unit of x.")
    depends_on: list[str] = Field([], description="Files that decide what is simulated, beside the command.")
    block_rows: Count = Field(100, description="Rows simulated by one call, the unit of randomness.")
    timeout: float | None = Field(
        None,
        gt=0,
        description="Seconds after which a call is killed; the study's time limit alone where unset.",
    )
    timeout_is_data: bool = Field(
        False, description="Whether a time-out marks the rows as failed; otherwise it fails the job."
    )
    output: Literal["csv", "npy"] = Field("csv", description="Format in which the command writes {out}.")

    @model_validator(mode="after")
    def _complete(self) -> CommandTaskSettings:
        for name, parameter in self.parameters.items():
            if parameter.prior is None:
                raise ValueError(f"parameter {name!r}: expected a `prior` to simulate from")
            if parameter.support is not None:
                raise ValueError(f"parameter {name!r}: its prior says what it can be; leave `support` out")
        if self.dimensions is None and self.x_shape is None:
            raise ValueError("expected `dimensions` or `x_shape`, the shape of one simulation")
        return self


class SimulationsTaskSettings(_Task):
    """A task whose simulations were made elsewhere."""

    name: Name = Field(description="Name in paths; the file's where unset.")
    simulations: str = Field(description="File: .npz, .csv and other tables, .zarr, .zarr.zip, .h5 or .nc.")
    parameters: dict[str, ParameterSettings] = Field(min_length=1, description="Bounds of each parameter.")
    dimensions: list[DimensionSettings] | None = Field(None, description="Axes of one simulation.")
    x_shape: list[Count] | None = Field(None, description="Lengths of those axes, where they have no names.")
    x_unit: str | None = Field(None, description="Unit of x.")
    columns: list[str] | None = Field(
        None, description="Columns of x in a table; all but the parameters' if unset."
    )
    reserved: dict[Literal["test", "calibration", "fit"], Annotated[int, Field(ge=0)]] = Field(
        {}, description="Rows kept apart for each split other than train."
    )
    fidelity: Name = Field("stored", description="Name of the level that the file holds.")
    depends_on: list[str] = Field([], description="Other files that decided what was simulated.")


def _expand(value: Any) -> Any:
    """Turns the short forms into dicts and takes a missing name from the file's."""
    if not isinstance(value, str | Mapping | BaseModel):
        raise ValueError("expected the name of a task, a file and class, or a mapping")
    if isinstance(value, str):
        file, separator, attribute = value.rpartition(":")
        if value.endswith(".py"):
            raise ValueError("expected a class behind the file, as in my_model.py:MyTask")
        value = {"file": file, "class": attribute} if separator else {"name": value}
    if isinstance(value, Mapping) and "name" not in value:
        file = value.get("file", value.get("simulations"))
        if isinstance(file, str):
            return {"name": Path(file).name.split(".")[0], **value}
    return value


def _form(value: Any) -> str:
    """Names the form of a task by the key that only this form has, misspelt or not."""
    keys = [key for key in value if isinstance(key, str)] if isinstance(value, Mapping) else vars(value)
    forms = ("command", "simulations", "file")
    for form in forms:
        if form in keys:
            return form
    near = [form for form in forms if get_close_matches(form, keys, n=1, cutoff=0.8)]
    return near[0] if near else "registry"


TaskSettings = Annotated[
    Annotated[RegistryTaskSettings, Tag("registry")]
    | Annotated[OwnTaskSettings, Tag("file")]
    | Annotated[CommandTaskSettings, Tag("command")]
    | Annotated[SimulationsTaskSettings, Tag("simulations")],
    Discriminator(_form),
    BeforeValidator(
        _expand,
        json_schema_input_type=str
        | RegistryTaskSettings
        | OwnTaskSettings
        | CommandTaskSettings
        | SimulationsTaskSettings,
    ),
]

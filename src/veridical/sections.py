"""What all sections of a study file share: the base class and the types of their values."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
Width = Annotated[int, Field(ge=1, le=8192)]
Widths = Annotated[list[Width], Field(max_length=16)]
Count = Annotated[int, Field(ge=1)]
Threads = Annotated[int, Field(ge=1, le=256)]
Positive = Annotated[float, Field(gt=0)]
Rate = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
Alpha = Annotated[float, Field(gt=0, lt=0.5)]
Repeats = Annotated[int, Field(ge=2)]


def no_boolean(given: Any) -> Any:
    """Refuses yes and no where a number is expected; Python takes them for 1 and 0."""
    if isinstance(given, bool):
        raise ValueError("expected a number")
    return given


Cores = Annotated[int, Field(ge=1, le=1024), BeforeValidator(no_boolean)]
Megabytes = Annotated[int, Field(ge=0, le=10**8), BeforeValidator(no_boolean)]
Seconds = Annotated[float, Field(gt=0, le=1e7, allow_inf_nan=False), BeforeValidator(no_boolean)]
Module = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.+/@-]*$")]


def _growing(budgets: list[int]) -> list[int]:
    if budgets != sorted(set(budgets)):
        raise ValueError("budgets must grow from first to last")
    return budgets


Budgets = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1), AfterValidator(_growing)]
OwnBudgets = Annotated[
    Budgets | None, Field(description="Budgets of this method, where they are not those of the study.")
]
Fidelity = Annotated[
    str | None, Field(description="Fidelity of its simulations; where not given, the dearest.")
]


class Section(BaseModel):
    """Base of all sections: unknown keys are refused and values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True)

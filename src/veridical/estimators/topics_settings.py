"""Settings of the fraction of a class from topics of many simulators."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from veridical.estimators.settings import MethodSettings

if TYPE_CHECKING:
    from veridical.estimators.base import TaskInfo

MOST_NUMBERS, MOST_BINS = 3, 20_000


def _first(given: Any) -> Any:
    """The first n simulators where a number stands for a list."""
    return list(range(given)) if isinstance(given, int) and not isinstance(given, bool) else given


def _different(given: list[int]) -> list[int]:
    if len(set(given)) < len(given):
        raise ValueError("expected different simulators")
    return given


Ends = Annotated[list[float], Field(min_length=2, max_length=2)]
Simulator = Annotated[int, Field(ge=0)]
Simulators = Annotated[
    list[Simulator],
    Field(min_length=1),
    AfterValidator(_different),
    BeforeValidator(_first, json_schema_input_type=Annotated[int, Field(ge=1)] | list[Simulator]),
]


class TopicsSettings(MethodSettings):
    """The fraction of a class by Bayesian topic modelling: shapes in bins, learned from many simulators."""

    code: ClassVar[str] = "veridical.estimators.topics:Topics"
    answers: ClassVar = "estimate"
    learns: ClassVar[tuple[str, ...]] = ("classes",)

    type: Literal["topics"] = "topics"
    simulators: Simulators = Field(
        description="Simulators whose events of both classes it learns from: their numbers, or how many of "
        "the first. Hundreds are of use."
    )
    topics: Annotated[int, Field(ge=1, le=100)] = Field(
        default=8, description="Topics of each class, at most as many as simulators."
    )
    prior: Literal["simulators", "flat"] = Field(
        default="simulators",
        description="Of the weights of topics: as the simulators have them, or all the same. That of the "
        "fraction is flat.",
    )
    bins: Annotated[int, Field(ge=2, le=200)] = Field(default=12, description="Bins along each axis of x.")
    limits: list[Ends] | None = Field(
        default=None,
        description="Ends of each axis, between which bins are of equal width, and beyond which no event "
        "may be. Without them bins hold as many simulated events each along an axis, the outermost open.",
    )
    draws: Annotated[int, Field(ge=400, le=100_000)] = Field(
        default=1600, description="Draws of the posterior of each answer, of four chains together."
    )

    def levels(self, classes: Sequence[str]) -> list[str]:
        """Returns the levels of a task with these classes that it learns from, the first class first."""
        return [f"{cls}_{k}" for cls in classes for k in self.simulators]

    def unsuited(self, task: TaskInfo) -> str | None:
        """Returns what keeps it from a task: x of many numbers, or other limits than it has axes."""
        numbers = prod(task.x_shape)
        if numbers > MOST_NUMBERS or self.bins**numbers > MOST_BINS:
            return (
                f"x of task {task.name} has {numbers} numbers, and {self.bins} bins along each; expected at "
                f"most {MOST_NUMBERS} numbers and {MOST_BINS} bins in all. Give the task fewer numbers as x, "
                "or take a `tamm`, whose networks know no bins."
            )
        if self.limits is not None and len(self.limits) != numbers:
            return f"limits: expected a pair for each of {numbers} axes, got {len(self.limits)} pairs."
        if any(low >= high for low, high in self.limits or ()):
            return f"limits: expected the lower end of each axis first, got {self.limits}."
        return None

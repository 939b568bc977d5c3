"""Settings of robust neural likelihoods."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from veridical.estimators.settings import MethodSettings
from veridical.inference.settings import SamplingSettings
from veridical.sections import Positive, Threads

if TYPE_CHECKING:
    from veridical.estimators.base import TaskInfo


class RSNLSettings(MethodSettings):
    """A learned likelihood in which each number of an observation may be shifted, at a price."""

    code: ClassVar[str] = "veridical.remedies.rsnl:RSNL"
    learns: ClassVar[tuple[str, ...]] = ()
    builds_on: ClassVar[tuple[str, ...]] = ("density of data",)
    discrete: ClassVar[bool] = False
    sampled: ClassVar[bool] = True
    as_parent: ClassVar[bool] = True

    type: Literal["rsnl"] = "rsnl"
    of: str = Field(description="The `nle` whose likelihood is asked at shifted data.")
    share: Annotated[float, Field(ge=0, le=10)] = Field(
        default=0.3,
        description="Scale of the Laplace prior of a shift, as a share of the standardised number itself: "
        "of how far the observation is from the middle of the simulations.",
    )
    least: Positive = Field(
        default=0.01, description="The scale at least, in units of a number's own spread."
    )
    draws: Annotated[int, Field(ge=100, le=100_000)] = Field(
        default=4_000, description="Draws of the shifts of each observation, from which they are told."
    )
    sampling: SamplingSettings = SamplingSettings()
    threads: Threads = Field(default=1, description="CPU threads.")

    @model_validator(mode="after")
    def _by_chains(self) -> RSNLSettings:
        """Refuses weights, which so many shifts make useless."""
        if self.sampling.by != "chains":
            raise ValueError(f"sampling.by: shifts are drawn by `chains`, not by {self.sampling.by}")
        return self

    @property
    def has_density(self) -> bool:
        """False: the densities of its answers lack their constants."""
        return False

    def misfit(self, parent: MethodSettings, name: str) -> str | None:
        """Returns what keeps it from building on a method of this name, if anything."""
        if parent.setting("independent") is None:
            return None
        return (
            f"{name!r} adds the likelihoods of many alike entries (`independent`), and a shift is told for "
            "single numbers; give the task summaries as x, and an `nle` of these."
        )

    def unsuited(self, task: TaskInfo) -> str | None:
        """Returns what keeps it from answering for a task, if anything."""
        numbers = len(task.cells) + prod(task.x_shape)
        if self.sampling.walkers >= 4 * numbers:
            return None
        return (
            f"sampling.walkers: task {task.name} has {numbers} parameters and numbers of x to sample; "
            f"expected at least {4 * numbers} walkers, got {self.sampling.walkers}."
        )

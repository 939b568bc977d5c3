"""Settings of robust neural posterior estimation."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from veridical.estimators.settings import MethodSettings, TrainedSettings
from veridical.networks.density_settings import LikelihoodFlow, SplineFlowSettings
from veridical.sections import Fidelity, Positive, Share
from veridical.training.settings import TrainingSettings

if TYPE_CHECKING:
    from veridical.estimators.base import TaskInfo


MOST = 100  # numbers of x, beyond which no sampler of single errors is of use


class RNPESettings(TrainedSettings):
    """Robust neural posterior estimation: any posterior, of what the data would be without their errors."""

    code: ClassVar[str] = "veridical.remedies.rnpe:RNPE"
    as_parent: ClassVar[bool] = True
    sampled: ClassVar[bool] = True
    refuses: ClassVar = {**TrainedSettings.refuses, "augment": "its density is that of x as it is"}

    type: Literal["rnpe"] = "rnpe"
    of: str = Field(description="The method whose posterior is asked at data without errors.")
    fidelity: Fidelity = None
    simulations: Annotated[int, Field(ge=20)] = Field(
        default=10_000, description="Fresh simulations that the density of x is learned from."
    )
    flow: LikelihoodFlow = Field(default_factory=SplineFlowSettings)
    training: TrainingSettings = TrainingSettings()
    share: Share = Field(default=0.5, description="Probability that a number of x gets the slab.")
    spike: Positive = Field(
        default=0.01, description="Standard deviation of the normal spike, in units of a number's own spread."
    )
    slab: Positive = Field(
        default=0.25, description="Scale of the Cauchy slab, in units of a number's own spread."
    )
    populations: Annotated[int, Field(ge=2, le=64)] = Field(
        default=4, description="Independent populations of data without errors, which R-hat compares."
    )
    particles: Annotated[int, Field(ge=8, le=10_000)] = Field(
        default=48, description="Members of each; answers are mixtures over all of them."
    )
    thorough: bool = Field(
        default=False,
        description="Whether populations are led there in smaller steps and moved farther, for five times "
        "the time: where numbers of x depend on each other so closely that populations differ.",
    )

    @property
    def has_density(self) -> None:
        """As what it wraps."""
        return None

    @property
    def fresh_rows(self) -> int:
        """Rows of the split `fit` that it learns from."""
        return self.simulations

    def misfit(self, parent: MethodSettings, name: str) -> str | None:
        """Returns what keeps it from building on a method of this name, if anything."""
        if parent.amortised and parent.answers == "posterior" and not (parent.local or parent.may_refuse):
            return None
        return (
            f"{name!r} does not answer each observation by itself with a posterior, so that none is asked at "
            "data without errors; name a method that does, such as an `npe`."
        )

    def unsuited(self, task: TaskInfo) -> str | None:
        """Returns what keeps it from answering for a task, if anything."""
        if (k := prod(task.x_shape)) <= MOST:
            return None
        return (
            f"x has {k} numbers, and errors of single numbers are told for at most {MOST}; give the task "
            "summaries as x, or use an `npe` with `training.augment: {type: spike_and_slab}`"
        )

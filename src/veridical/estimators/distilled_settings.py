"""Settings of a posterior that learns from a cheap level by matched features and a teacher."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from veridical.estimators.multilevel_settings import LevelledSettings
from veridical.estimators.settings import MethodSettings, TrainedSettings
from veridical.sections import Count, Rate
from veridical.training.settings import TrainingSettings

Weight = Annotated[float, Field(ge=0, le=1000)]


class DistilledTrainingSettings(TrainingSettings):
    """How it is trained: in many passes over few dear rows, none of which ends before what helps is gone."""

    epochs: Count = Field(default=1000, description="Passes over the rows of the dear level, at most.")
    max_steps: Count | None = Field(default=600, description="Optimiser steps, at most.")
    batch_size: Count | None = Field(default=64, description="Rows of the dear level per optimiser step.")
    learning_rate: Rate = Field(
        default=2e-3, description="Learning rate: the peak of the one cycle, or constant."
    )
    patience: Count = Field(
        default=100_000,
        description="Looks without a better validation loss before training stops early, which may be before "
        "weights are annealed; by default never.",
    )


class DistilledSettings(LevelledSettings):
    """Neural posterior estimation on few dear rows, helped by matched features and a teacher."""

    code: ClassVar[str] = "veridical.estimators.distilled:DistilledNPE"
    gives: ClassVar[tuple[str, ...]] = ("summaries",)
    coupled: ClassVar[bool] = True
    refuses: ClassVar = {
        **TrainedSettings.refuses,
        "augment": "what is added to one of a pair would be missing from the other",
        "captured": "its loss changes from step to step",
    }

    type: Literal["distilled_npe"] = "distilled_npe"
    of: str | None = Field(
        default=None,
        description="The teacher: a method of the study that has learned from the level of `lower`.",
    )
    joint: Weight = Field(
        default=1.0, description="Weight of the loss of the cheap level in the first step; annealed to 0."
    )
    matching: Weight = Field(
        default=1.0, description="Weight of the squared distance between standardised features of a pair."
    )
    distillation: Weight = Field(
        default=0.5, description="Weight of the teacher's draws in the first step; annealed to 0."
    )
    anneal: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.75, description="Share of the steps after which annealed weights are 0."
    )
    draws: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=64, description="Draws of the teacher for each pair; each step takes one of them."
    )
    lower_batch: Count = Field(default=256, description="Rows of the cheap level per optimiser step.")
    base: Literal["none"] = Field(default="none", description="No regression stands in front.")
    training: DistilledTrainingSettings = DistilledTrainingSettings()

    @model_validator(mode="after")
    def _whole(self) -> DistilledSettings:
        """Refuses weights without what they weigh."""
        if len(self.lower) > 1:
            raise ValueError(
                f"lower: expected one cheaper level, got {', '.join(self.lower)}; leave all but one out, or "
                "take an `ml_npe` or `pooled_npe`"
            )
        if self.matching and self.summary.type == "none":
            raise ValueError(
                "matching: without a summary network features are x itself, which no training moves; take "
                "one, such as `summary: mlp`, or set `matching: 0`"
            )
        if self.distillation and self.of is None:
            raise ValueError(
                "of: `distillation` needs a teacher; name a method of the study with the fidelity of "
                "`lower`, or set `distillation: 0`"
            )
        if self.of is not None and not self.distillation:
            raise ValueError(
                f"of: nothing of {self.of!r} is distilled; leave it out, or raise `distillation`"
            )
        return self

    def misfit(self, parent: MethodSettings, name: str) -> str | None:
        """Returns why a method cannot be its teacher, if so."""
        (level,) = self.lower
        theirs = parent.setting("fidelity")
        if theirs != level:
            learned = f"from {theirs!r}" if theirs else "not from that"
            return (
                f"its teacher answers for {level!r}, but {name!r} has learned {learned}; give that the level."
            )
        if parent.local or parent.answers != "posterior":
            return f"its teacher answers any data with a posterior, as {name!r} does not; take an `npe`."
        return None

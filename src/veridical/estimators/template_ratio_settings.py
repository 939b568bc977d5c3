"""Settings of the log ratios of templates to their pool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from veridical.estimators.member_settings import MembersSettings, Particles
from veridical.networks.settings import InputsSettings
from veridical.sections import Count, Rate, Widths
from veridical.training.settings import RatioTrainingSettings

Names = Annotated[list[str], Field(min_length=1)]


class TemplateTrainingSettings(RatioTrainingSettings):
    """How classifiers of templates are trained: by Adam, each member keeping its best look."""

    epochs: Count = Field(default=100, description="Passes over a member's events.")
    batch_size: Annotated[int, Field(ge=2)] = Field(
        default=4096, description="Events per optimiser step and member, as many of each template."
    )
    learning_rate: Rate = Field(default=1e-3, description="Rate of Adam.")


class TemplateRatiosSettings(MembersSettings):
    """An ensemble of small classifiers that tell the templates of two classes from each other."""

    code: ClassVar[str] = "veridical.estimators.template_ratios:TemplateRatios"
    answers: ClassVar = "functions"
    learns: ClassVar[tuple[str, ...]] = ("classes",)
    gives: ClassVar[tuple[str, ...]] = ("template functions",)

    type: Literal["template_ratios"] = "template_ratios"
    first: Names = Field(description="Names of the templates of the first class.")
    second: Names = Field(description="Names of the templates of the second class.")
    members: Annotated[int, Field(ge=1, le=1024)] = Field(default=4, description="Number of networks.")
    mode: Literal["bootstrap", "partition", "whole"] = Field(
        default="bootstrap",
        description="What a member learns from: a resample of all events, a part of them, or all of them.",
    )
    inputs: InputsSettings = InputsSettings()
    particles: Particles = None
    hidden: Widths = Field(default=[64, 64, 64], min_length=1, description="Widths of the hidden layers.")
    slope: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.2, description="Slope of the leaky ReLU below zero."
    )
    training: TemplateTrainingSettings = TemplateTrainingSettings()

    @model_validator(mode="after")
    def _templates_differ(self) -> Self:
        """Refuses a template that stands twice, or in both classes."""
        names = [*self.first, *self.second]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"expected different templates in `first` and `second`, got {twice[0]!r} twice")
        return self

    def levels(self, classes: Sequence[str]) -> list[str]:
        """Returns the templates, those of the first class first."""
        return [*self.first, *self.second]

    @property
    def templates(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names of the templates of both classes."""
        return tuple(self.first), tuple(self.second)

"""Settings of the log ratios of templates to their pool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from veridical.estimators.member_settings import MembersSettings, Particles
from veridical.networks.settings import InputsSettings
from veridical.sections import Widths
from veridical.training.settings import RatioTrainingSettings

Names = Annotated[list[str], Field(min_length=1)]


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
    training: RatioTrainingSettings = RatioTrainingSettings(epochs=100, batch_size=4096, learning_rate=1e-3)

    def levels(self, classes: Sequence[str]) -> list[str]:
        """Returns the templates, those of the first class first."""
        return [*self.first, *self.second]

    @property
    def templates(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names of the templates of both classes."""
        return tuple(self.first), tuple(self.second)

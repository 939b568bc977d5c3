"""Settings of the density ratios between two classes."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from veridical.estimators.member_settings import MembersSettings, Particles
from veridical.networks.settings import InputsSettings
from veridical.sections import Widths
from veridical.training.settings import RatioTrainingSettings


class RatiosSettings(MembersSettings):
    """An ensemble of small networks for the density ratio of two classes."""

    code: ClassVar[str] = "veridical.estimators.ratios:Ratios"
    answers: ClassVar = "functions"
    learns: ClassVar[tuple[str, ...]] = ("classes",)
    gives: ClassVar[tuple[str, ...]] = ("functions",)

    type: Literal["ratios"] = "ratios"
    members: Annotated[int, Field(ge=1, le=1024)] = Field(default=16, description="Number of networks.")
    mode: Literal["bootstrap", "partition", "whole"] = Field(
        default="bootstrap",
        description="What a member learns from: a resample of all events, a part of them, or all of them.",
    )
    loss: Literal["mlc", "bce"] = Field(
        default="mlc", description="`mlc`, the symmetrised maximum-likelihood loss, or `bce`, cross-entropy."
    )
    inputs: InputsSettings = InputsSettings()
    particles: Particles = None
    hidden: Widths = Field(default=[32, 32], min_length=1, description="Widths of the hidden layers.")
    slope: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.2, description="Slope of the leaky ReLU below zero."
    )
    training: RatioTrainingSettings = RatioTrainingSettings()

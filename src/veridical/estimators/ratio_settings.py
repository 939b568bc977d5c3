"""Settings of the density ratios between two classes."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from veridical.estimators.settings import InputsSettings, Section, Widths


class RatioTrainingSettings(Section):
    """How the networks are trained: Adam at a constant rate, each member keeping its best look."""

    epochs: Annotated[int, Field(ge=1)] = Field(default=150, description="Passes over a member's events.")
    batch_size: Annotated[int, Field(ge=2)] = Field(
        default=5000, description="Events per optimiser step and member, half of them of each class."
    )
    learning_rate: Annotated[float, Field(gt=0, le=1)] = Field(default=1e-2, description="Rate of Adam.")
    look_every: Annotated[int, Field(ge=1)] = Field(
        default=3, description="Epochs between two looks at the validation loss."
    )
    threads: Annotated[int, Field(ge=1, le=256)] = Field(
        default=1, description="CPU threads; results are bit-identical at an equal number."
    )
    accelerator: Literal["auto", "cpu", "gpu"] = Field(
        default="cpu",
        description="These networks are too small to gain from a GPU; `auto` takes one if there.",
    )


class RatiosSettings(Section):
    """An ensemble of small networks for the density ratio of two classes."""

    simulations: ClassVar[bool] = False
    calibration: ClassVar[bool] = False
    classes: ClassVar[bool] = True

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
    hidden: Widths = Field(default=[32, 32], min_length=1, description="Widths of the hidden layers.")
    slope: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.2, description="Slope of the leaky ReLU below zero."
    )
    training: RatioTrainingSettings = RatioTrainingSettings()

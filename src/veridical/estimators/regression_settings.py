"""Settings of a Gaussian posterior by regression with a network."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from veridical.estimators.settings import TrainedSettings
from veridical.networks.settings import InputsSettings
from veridical.sections import Count, Rate, Share, Widths
from veridical.training.settings import Decay, TrainingSettings


class MLPTrainingSettings(TrainingSettings):
    """How the regression is trained: plain Adam at a constant rate, and many looks."""

    epochs: Count = Field(default=100_000, description="Passes over the training rows, at most.")
    max_steps: Count | None = Field(default=4000, description="Optimiser steps, at most.")
    batch_size: Count = Field(default=32, description="Rows per optimiser step.")
    learning_rate: Rate = Field(default=3e-4, description="Learning rate of Adam.")
    weight_decay: Decay = Field(default=0.0, description="As for `npe`.")
    schedule: Literal["one_cycle", "constant"] = Field(
        default="constant", description="Course of the learning rate."
    )
    patience: Count = Field(
        default=100, description="Looks without a better validation loss before training stops early."
    )


class MLPSettings(TrainedSettings):
    """A dense network trained on calibration pairs alone: a normal distribution for each observation."""

    code: ClassVar[str] = "veridical.estimators.regression:MLPRegression"
    learns: ClassVar[tuple[str, ...]] = ("calibration",)
    discrete: ClassVar[bool] = False
    type: Literal["mlp"] = "mlp"
    inputs: InputsSettings = InputsSettings()
    hidden: Widths = Field(default=[256, 128], description="Widths of the hidden layers.")
    least_sd: Share = Field(
        default=0.1,
        description="Smallest standard deviation of an answer, in units of that of the pairs; its inverse "
        "is the largest.",
    )
    training: MLPTrainingSettings = MLPTrainingSettings()

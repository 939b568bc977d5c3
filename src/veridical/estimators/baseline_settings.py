"""Settings of the baselines: what a method that goes beyond plain simulation-based inference has to beat."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from veridical.estimators.settings import (
    FlowSettings,
    InputsSettings,
    MLPSummarySettings,
    Section,
    SummarySettings,
    TrainingSettings,
    Widths,
)


class PriorSettings(Section):
    """The prior itself, as an answer that learns nothing from the data."""

    simulations: ClassVar[bool] = False
    calibration: ClassVar[bool] = False
    summaries: ClassVar[bool] = False
    type: Literal["prior"] = "prior"


class JointTrainingSettings(TrainingSettings):
    """How J-NPE is trained: as NPE, with many looks, for the best weights come early."""

    rounds: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=100, description="Looks at the loss of the calibration pairs held out, at least."
    )
    patience: Annotated[int, Field(ge=1)] = Field(
        default=50, description="Looks without a better validation loss before training stops early."
    )


class JNPESettings(Section):
    """Neural posterior estimation on simulations and calibration pairs, half and half in each batch."""

    simulations: ClassVar[bool] = True
    calibration: ClassVar[bool] = True
    type: Literal["j_npe"] = "j_npe"
    fidelity: str | None = Field(
        default=None, description="Fidelity of its simulations; where not given, the dearest."
    )
    inputs: InputsSettings = InputsSettings()
    summary: SummarySettings = Field(default_factory=MLPSummarySettings)
    flow: FlowSettings = FlowSettings()
    training: JointTrainingSettings = JointTrainingSettings()


class MLPTrainingSettings(TrainingSettings):
    """How the regression is trained: plain Adam at a constant rate, and many looks."""

    epochs: Annotated[int, Field(ge=1)] = Field(
        default=100_000, description="Passes over the training rows, at most."
    )
    max_steps: Annotated[int, Field(ge=1)] | None = Field(
        default=4000, description="Optimiser steps, at most."
    )
    batch_size: Annotated[int, Field(ge=1)] = Field(default=32, description="Rows per optimiser step.")
    learning_rate: Annotated[float, Field(gt=0, le=1)] = Field(
        default=3e-4, description="Learning rate of Adam."
    )
    schedule: Literal["one_cycle", "constant"] = Field(
        default="constant", description="Course of the learning rate."
    )
    patience: Annotated[int, Field(ge=1)] = Field(
        default=100, description="Looks without a better validation loss before training stops early."
    )


class MLPSettings(Section):
    """A dense network trained on calibration pairs alone: a normal distribution for each observation."""

    simulations: ClassVar[bool] = False
    calibration: ClassVar[bool] = True
    type: Literal["mlp"] = "mlp"
    inputs: InputsSettings = InputsSettings()
    hidden: Widths = Field(default=[256, 128], description="Widths of the hidden layers.")
    least_sd: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.1,
        description="Smallest standard deviation of an answer, in units of that of the pairs; its inverse "
        "is the largest.",
    )
    training: MLPTrainingSettings = MLPTrainingSettings()


class RidgeSettings(Section):
    """Ridge regression on calibration pairs alone, with normal residuals."""

    simulations: ClassVar[bool] = False
    calibration: ClassVar[bool] = True
    type: Literal["ridge"] = "ridge"
    inputs: InputsSettings = InputsSettings()
    smallest: Annotated[float, Field(gt=0)] = Field(
        default=1e-6, description="Smallest penalty tried, per row and standardised number of x."
    )
    largest: Annotated[float, Field(gt=0)] = Field(
        default=1e4, description="Largest penalty tried, likewise."
    )
    penalties: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=81, description="Number of penalties tried, evenly spaced in their logarithm."
    )

    @model_validator(mode="after")
    def _ordered(self) -> RidgeSettings:
        if not self.smallest <= self.largest:
            raise ValueError(f"expected smallest <= largest, got {self.smallest:g} and {self.largest:g}")
        return self

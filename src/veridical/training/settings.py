"""Settings of a training."""

from __future__ import annotations

from math import inf
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from veridical.sections import Count, Positive, Rate, Section, Share, Threads, no_boolean
from veridical.training.distortion_settings import DistortionSettings

Decay = Annotated[float, Field(ge=0, le=3)]
DECAY = (
    "How far weights without a gradient decay in all steps: to exp(-weight_decay) of themselves. "
    "It is the decay of AdamW times the sum of all learning rates"
)

FEWEST_STEPS = 1500  # that a training of few rows still takes, by smaller batches
SMALLEST, LARGEST = 32, 256  # rows of a batch whose size is not given


class TrainingSettings(Section):
    """How a network is trained."""

    epochs: Count = Field(default=25, description="Passes over the training rows, at most.")
    max_steps: Count | None = Field(
        default=None, description="Optimiser steps, at most: larger budgets then take fewer epochs."
    )
    batch_size: Count | None = Field(
        default=None,
        description=f"Rows per optimiser step. Where not given {LARGEST}, or as many fewer as make the "
        f"epochs {FEWEST_STEPS} steps, at least {SMALLEST}.",
    )
    learning_rate: Rate = Field(
        default=5e-3, description="Learning rate: the peak of the one cycle, or constant."
    )
    weight_decay: Decay = Field(
        default=0.7,
        description=f"{DECAY}; 0 with `start`, if not given.",
    )
    schedule: Literal["one_cycle", "constant"] = Field(
        default="one_cycle",
        description="Course of the learning rate; `constant`, with patience, for fine-tuning and few rows.",
    )
    warmup: Share = Field(default=0.2, description="Share of the steps before the peak of the one cycle.")
    clip: Positive = Field(default=5.0, description="Largest norm of the gradient.")
    ema: Share | None = Field(
        default=None,
        description="Decay, a step, of running means of the weights, such as 0.999: these are judged and "
        "kept. Where not given, the weights themselves.",
    )
    augment: Positive | DistortionSettings | None = Field(
        default=None,
        description="Standard deviation of normal noise that is added to transformed x in every batch, in "
        "units of a number's own spread; validation rows get none. Or a distortion that is drawn anew in "
        "every batch, and once for validation rows.",
    )
    rounds: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=20,
        description="Looks at the validation loss, at least (one per epoch where there are more epochs).",
    )
    patience: Count = Field(
        default=10, description="Looks without a better validation loss before training stops early."
    )
    validation_rows: Count = Field(
        default=10_000, description="Validation rows that a look uses, at most (the first ones)."
    )
    threads: Threads = Field(
        default=1, description="CPU threads; results are bit-identical at an equal number."
    )
    accelerator: Literal["auto", "cpu", "gpu"] = Field(
        default="auto", description="`auto` takes a GPU where there is one."
    )
    captured: bool = Field(
        default=False,
        description="On a GPU: gradients are recorded once as a CUDA graph, for all members of a stack, and "
        "replayed, which spares small networks their launches. Equal to rounding; nothing on a CPU.",
    )
    streaming: Annotated[int, Field(ge=1), BeforeValidator(no_boolean)] | Literal["online"] | None = Field(
        default=None,
        description="For a bank larger than memory: MB of rows held at once. They are read in shuffled "
        "blocks; those that fit first give means, scales, regression and validation rows. Where not given, "
        "all are held. `online`: every pass after the first simulates as many new rows in place of showing "
        "the same ones again, which are not stored; for simulators that take less time than learning.",
    )

    def batch(self, rows: int) -> int:
        """Returns the rows per optimiser step, given so many training rows."""
        steps = min(FEWEST_STEPS, self.max_steps or FEWEST_STEPS)
        chosen = self.batch_size or min(max(rows * self.epochs // steps, SMALLEST), LARGEST)
        return min(chosen, rows)

    def visits(self, rows: int) -> float:
        """Returns how many rows a training sees in all, at most."""
        steps = inf if self.max_steps is None else self.max_steps
        return min(rows * self.epochs, steps * self.batch(rows))


class RatioTrainingSettings(Section):
    """How the networks are trained: by Adam, each member keeping its best look."""

    epochs: Count = Field(default=150, description="Passes over a member's events.")
    batch_size: Annotated[int, Field(ge=2)] = Field(
        default=5000, description="Events per optimiser step and member, half of them of each class."
    )
    learning_rate: Rate = Field(default=1e-2, description="Rate of Adam.")
    schedule: Literal["one_cycle", "constant"] = Field(
        default="constant", description="Course of that rate, its peak where there is one."
    )
    look_every: Count = Field(default=3, description="Epochs between two looks at the validation loss.")
    threads: Threads = Field(
        default=1, description="CPU threads; results are bit-identical at an equal number."
    )
    accelerator: Literal["auto", "cpu", "gpu"] = Field(
        default="cpu",
        description="These networks are too small to gain from a GPU; `auto` takes one if there.",
    )

    def plain(self) -> TrainingSettings:
        """Returns them as the loop takes them: nothing clipped, every look waited for."""
        shared = {"epochs", "batch_size", "learning_rate", "schedule", "threads", "accelerator"}
        own = {"weight_decay": 0.0, "clip": inf, "patience": self.epochs}
        return TrainingSettings.model_validate({**self.model_dump(include=shared), **own})

    def visits(self, rows: int) -> float:
        """Returns how many events a member sees in all."""
        return rows * self.epochs

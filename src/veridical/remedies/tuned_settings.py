"""Settings of fine-tuned encoders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from veridical.estimators.settings import MethodSettings
from veridical.sections import Count, Fidelity, Rate, Share, Threads


class EncoderRemedySettings(MethodSettings):
    """Base for remedies that compare real and simulated data by the encoder of what they wrap."""

    builds_on: ClassVar[tuple[str, ...]] = ("encoder",)
    gives: ClassVar[tuple[str, ...]] = ("summaries",)
    takes_missing: ClassVar[bool] = True

    if TYPE_CHECKING:
        simulations: int

    @property
    def fresh_rows(self) -> int:
        """Rows of the split `fit` that it learns from."""
        return self.simulations

    def misfit(self, parent: MethodSettings, name: str) -> str | None:
        """Returns what keeps it from building on a method of this name, if anything."""
        if any(parent.offers(what) for what in self.builds_on):
            return None
        return (
            f"{name!r} has no summary network (summary: none), so there is no encoder to compare real and "
            "simulated data by; give it one."
        )


class TunedSettings(EncoderRemedySettings):
    """A copy of the encoder of an `npe`, fine-tuned on labelled real data."""

    code: ClassVar[str] = "veridical.remedies.tuned:Tuned"
    learns: ClassVar[tuple[str, ...]] = ("calibration",)
    gives: ClassVar[tuple[str, ...]] = ("summaries", "tuned encoder")

    type: Literal["tuned"] = "tuned"
    of: str = Field(description="The `npe` whose encoder is copied.")
    fidelity: Fidelity = None
    simulations: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="Stored simulations, of which the one with the nearest parameters stands in for a fresh "
        "one; 0 calls the simulator at every step.",
    )
    steps: Annotated[int, Field(ge=1, le=1_000_000)] = Field(default=2000, description="Optimiser steps.")
    learning_rate: Rate = Field(default=1e-4, description="Constant learning rate of Adam.")
    batch_size: Count = Field(
        default=256, description="Pairs per step, at most; each gets one simulation per step."
    )
    validation_share: Share = Field(default=0.2, description="Share of the pairs that choose when to stop.")
    validation_simulations: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=50, description="Simulations behind the mean summary of a validation pair."
    )
    looks: Count = Field(
        default=100, description="Looks at the validation pairs; the weights of the best one are kept."
    )
    threads: Threads = Field(default=1, description="CPU threads.")

    @property
    def has_density(self) -> None:
        """As what it wraps."""
        return None

    def visits(self, rows: int) -> float:
        """Returns how many pairs its steps see in all."""
        return float(self.steps * min(self.batch_size, rows))

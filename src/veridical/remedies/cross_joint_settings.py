"""Settings of J-NPE that goes on from a posterior, without a fifth of the labelled pairs each time."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from veridical.estimators.apart import FOLDS
from veridical.estimators.settings import MethodSettings
from veridical.remedies.tuned_settings import EncoderRemedySettings
from veridical.sections import Count, Fidelity, Positive, Rate, Threads


class CrossJNPESettings(EncoderRemedySettings):
    """J-NPE from the weights of an `npe`, five times without a fifth of the pairs: their mixture."""

    code: ClassVar[str] = "veridical.remedies.cross_joint:CrossJNPE"
    learns: ClassVar[tuple[str, ...]] = ("calibration",)
    gives: ClassVar[tuple[str, ...]] = ("answers apart",)

    type: Literal["cross_j_npe"] = "cross_j_npe"
    of: str = Field(description="The `npe` from whose weights it goes on.")
    fidelity: Fidelity = None
    simulations: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="Stored simulations that half of each batch is taken from; 0 simulates at fresh draws of "
        "the prior at every step.",
    )
    steps: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=600, description="Optimiser steps of each fit, at most."
    )
    looks: Count = Field(
        default=40,
        description="Looks at the pairs, each by the fit that has not seen it; one is best for all fits.",
    )
    patience: Count = Field(
        default=10, description="Looks without a better score before all fits stop early."
    )
    batch_size: Annotated[int, Field(ge=2)] = Field(
        default=128, description="Rows of a step: half simulations, half pairs, each pair four times at most."
    )
    learning_rate: Rate = Field(default=1e-3, description="Constant learning rate of Adam.")
    clip: Positive = Field(default=5.0, description="Largest norm of the gradient.")
    threads: Threads = Field(default=1, description="CPU threads.")

    @property
    def needs_density(self) -> bool:
        """The look that is best is so by the densities of what it wraps."""
        return True

    def misfit(self, parent: MethodSettings, name: str) -> str | None:
        """Returns what keeps it from building on a method of this name, if anything."""
        if parent.learns_from("calibration"):
            return f"{name!r} has learned from the labelled pairs that fits are to leave out; name an `npe`."
        return super().misfit(parent, name)

    def visits(self, rows: int) -> float:
        """Returns how many rows the steps of all fits see."""
        return float(FOLDS * self.steps * self.batch_size)

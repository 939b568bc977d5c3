"""Settings of flow matching corrected posterior estimation."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from veridical.estimators.settings import MethodSettings
from veridical.remedies.tuned_settings import EncoderRemedySettings
from veridical.sections import Count, Fidelity, Rate, Threads

FLOWS = 2 * 5  # that are trained: two in each of five fits


class FMCPESettings(EncoderRemedySettings):
    """Flow matching corrected posterior estimation: from real data to simulations, and back to parameters."""

    code: ClassVar[str] = "veridical.remedies.fmcpe:FMCPE"
    learns: ClassVar[tuple[str, ...]] = ("calibration",)
    gives: ClassVar[tuple[str, ...]] = ("answers apart",)
    discrete: ClassVar[bool] = False
    takes_missing: ClassVar[bool] = False

    type: Literal["fmcpe"] = "fmcpe"
    of: str = Field(description="The `npe` that is corrected.")
    beside: Annotated[list[str], Field(max_length=20)] = Field(
        default=[], description="Others whose beliefs are told to the flows too, where these are `moments`."
    )
    fidelity: Fidelity = None
    condition: Literal["summaries", "moments", "data"] = Field(
        default="data",
        description="What the flows are told of real data: the `npe`'s summaries of them, medians and "
        "widths of what it believes, or the principal components of the data.",
    )
    correct: Literal["best", "data", "both"] = Field(
        default="best",
        description="Whether a flow of parameters follows that of data (`both`) or not (`data`); `best` is "
        "what answers pairs better that took no part in the fit.",
    )
    simulations: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="Stored simulations, of which the one with the nearest parameters stands in for a fresh "
        "one; 0 calls the simulator.",
    )
    repeats: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=20, description="Simulations at the parameters of each pair."
    )
    steps: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=500, description="Optimiser steps of a flow."
    )
    batch_size: Count = Field(default=256, description="Rows of a step, at most.")
    learning_rate: Rate = Field(default=2e-3, description="Peak of the rate of Adam.")
    looks: Count = Field(
        default=50, description="Looks at the pairs that stop a training; the best weights are kept."
    )
    width: Annotated[int, Field(ge=1, le=4096)] = Field(default=64, description="Width of the fields.")
    blocks: Annotated[int, Field(ge=1, le=64)] = Field(default=2, description="Residual blocks of a field.")
    draws: Annotated[int, Field(ge=20, le=100_000)] = Field(
        default=300, description="Draws behind the kernel density of an answer."
    )
    broad: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.02, description="Weight of a Gaussian as wide as the prior in every answer."
    )
    threads: Threads = Field(default=1, description="CPU threads.")

    def misfit(self, parent: MethodSettings, name: str) -> str | None:
        """Returns what keeps it from building on a method of this name, if anything."""
        if parent.learns_from("calibration"):
            return f"{name!r} has learned from the labelled pairs that are to correct it; name an `npe`."
        return super().misfit(parent, name)

    def visits(self, rows: int) -> float:
        """Returns how many pairs its steps see in all."""
        return float(FLOWS * self.steps * min(self.batch_size, rows * self.repeats))

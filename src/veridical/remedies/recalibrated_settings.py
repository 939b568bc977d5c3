"""Settings of the recalibration of density levels."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from veridical.estimators.settings import MethodSettings
from veridical.sections import Threads


class RecalibratedSettings(MethodSettings):
    """Any posterior with a density, its density levels recalibrated on labelled real data."""

    code: ClassVar[str] = "veridical.remedies.recalibrated:Recalibrated"
    learns: ClassVar[tuple[str, ...]] = ("calibration",)
    gives: ClassVar[tuple[str, ...]] = ("answers apart",)
    asks_apart: ClassVar[bool] = True
    takes_missing: ClassVar[bool] = True
    as_parent: ClassVar[bool] = True

    type: Literal["recalibrated"] = "recalibrated"
    of: str = Field(description="The method that is recalibrated; it must know its densities.")
    space: Literal["level", "base"] = Field(
        default="level",
        description="What is recalibrated: density levels, or, where no draw comes near the truth, the "
        "normal numbers that the flow of an `npe` makes its draws of.",
    )
    draws: Annotated[int, Field(ge=100, le=100_000)] = Field(
        default=2000, description="Draws of what it wraps behind each level."
    )
    least_gain: Annotated[float, Field(ge=0, le=1000)] = Field(
        default=2.0,
        description="Log likelihood of all levels of the pairs that the recalibration has to gain; with less "
        "the answers stay as they are.",
    )
    threads: Threads = Field(default=1, description="CPU threads.")

    @property
    def needs_density(self) -> bool:
        """Its levels are those of the density of what it wraps."""
        return True

    def misfit(self, parent: MethodSettings, name: str) -> str | None:
        """Returns what keeps it from building on a method of this name, if anything."""
        flow = parent.setting("flow")
        if self.space == "base" and not (parent.type == "npe" and getattr(flow, "invertible", False)):
            kind = "no flow" if flow is None else f"`flow: {flow.type}`"
            return (
                f"`space: base` needs one flow that maps normal numbers one to one (an `npe` with `flow: "
                f"spline`, `maf` or `coupling`), and {name!r} is of type {parent.type!r} with {kind}; name "
                "such an `npe`, or take `space: level`."
            )
        if parent.amortised and parent.answers == "posterior" and not (parent.local or parent.may_refuse):
            return None
        return (
            f"{name!r} does not answer each labelled observation by itself with a posterior, whose levels "
            "could be compared; name a method that does, such as an `npe`."
        )

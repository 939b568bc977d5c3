"""Settings of the regression on what a posterior believes."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from veridical.estimators.settings import MethodSettings
from veridical.sections import Threads


class MomentsSettings(MethodSettings):
    """Regression of labelled real parameters on the posterior's moments, or on the data themselves."""

    code: ClassVar[str] = "veridical.remedies.moments:Moments"
    learns: ClassVar[tuple[str, ...]] = ("calibration",)
    gives: ClassVar[tuple[str, ...]] = ("answers apart",)
    discrete: ClassVar[bool] = False
    asks_apart: ClassVar[bool] = True

    type: Literal["moments"] = "moments"
    of: str = Field(description="The method whose beliefs are features: medians and widths of its draws.")
    beside: Annotated[list[str], Field(max_length=20)] = Field(
        default=[], description="Others whose beliefs are features beside these."
    )
    regress_on: Literal["best", "beliefs", "data"] = Field(
        default="best",
        description="What is regressed on: beliefs of what it wraps, principal components of the data, or "
        "whichever predicts pairs better that took no part in the fit.",
    )
    draws: Annotated[int, Field(ge=10, le=1000)] = Field(
        default=40, description="Draws of what it wraps that a median and a width are taken from."
    )
    refit: Annotated[int, Field(ge=0)] = Field(
        default=150,
        description="Pairs from which on one fit to all pairs answers; fewer are answered by the mixture of "
        "five fits, each without a fifth of the pairs.",
    )
    threads: Threads = Field(default=1, description="CPU threads.")

    def misfit(self, parent: MethodSettings, name: str) -> str | None:
        """Returns what keeps it from building on a method of this name, if anything."""
        if parent.amortised and parent.answers == "posterior" and not parent.may_refuse:
            return None
        return (
            f"{name!r} does not answer each observation by itself with a posterior, whose moments could be "
            "features; name a method that does, such as an `npe`."
        )

"""Settings of tempering by a power."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from veridical.estimators.settings import MethodSettings
from veridical.sections import Threads


class TemperedSettings(MethodSettings):
    """Any posterior with a density, of which a power is taken between it and the prior."""

    code: ClassVar[str] = "veridical.remedies.tempered:Tempered"
    learns: ClassVar[tuple[str, ...]] = ()
    takes_missing: ClassVar[bool] = True
    as_parent: ClassVar[bool] = True

    type: Literal["tempered"] = "tempered"
    of: str = Field(description="The method that is tempered; it must know its densities.")
    power: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.5, description="Power of the posterior's density, from the prior's (0) to its own (1)."
    )
    draws: Annotated[int, Field(ge=1000, le=1_000_000)] = Field(
        default=20_000,
        description="Weighted candidates for each observation; up to ten times as many where fewer than "
        "twice the draws wanted count.",
    )
    least_share: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.01, description="Share of the candidates that has to count; below it there is no answer."
    )
    threads: Threads = Field(default=1, description="CPU threads.")

    @property
    def needs_density(self) -> bool:
        """It takes a power of it."""
        return True

    @property
    def may_refuse(self) -> bool:
        """It refuses where weights do not hold."""
        return True

    def misfit(self, parent: MethodSettings, name: str) -> str | None:
        """Returns what keeps it from building on a method of this name, if anything."""
        if parent.amortised and parent.answers == "posterior" and not (parent.local or parent.may_refuse):
            return None
        return (
            f"{name!r} does not answer each observation by itself with a posterior, of which a power could "
            "be taken; name a method that does, such as an `npe`."
        )

"""Settings of mixtures of methods."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from veridical.estimators.settings import MethodSettings
from veridical.sections import Threads


class StackedSettings(MethodSettings):
    """A mixture of methods and the prior, weighted by how well they answer pairs that they have not seen."""

    code: ClassVar[str] = "veridical.remedies.stacked:Stacked"
    learns: ClassVar[tuple[str, ...]] = ("calibration",)
    gives: ClassVar[tuple[str, ...]] = ("answers apart",)
    asks_apart: ClassVar[bool] = True
    takes_missing: ClassVar[bool] = True

    type: Literal["stacked"] = "stacked"
    of: str = Field(description="The first of the methods; all must know their densities.")
    beside: Annotated[list[str], Field(max_length=20)] = Field(
        default=[], description="The others; the prior is always one more."
    )
    threads: Threads = Field(default=1, description="CPU threads.")

    @property
    def needs_density(self) -> bool:
        """It mixes densities."""
        return True

    def misfit(self, parent: MethodSettings, name: str) -> str | None:
        """Returns what keeps it from building on a method of this name, if anything."""
        if parent.amortised and parent.answers == "posterior" and not (parent.local or parent.may_refuse):
            return None
        return (
            f"{name!r} does not answer each labelled observation by itself with a posterior, which could be "
            "mixed with others; name methods that do, such as an `npe`."
        )

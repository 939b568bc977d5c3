"""Settings of the correction by importance weights."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from veridical.estimators.settings import MethodSettings
from veridical.sections import Threads


class CorrectionSettings(MethodSettings):
    """Any posterior with a density, weighted by the task's exact likelihood or by a learned one."""

    code: ClassVar[str] = "veridical.remedies.importance:Importance"
    learns: ClassVar[tuple[str, ...]] = ()
    takes_missing: ClassVar[bool] = True
    as_parent: ClassVar[bool] = True

    type: Literal["importance"] = "importance"
    of: str = Field(description="The method that is corrected; it must know its densities.")
    likelihood: str | None = Field(
        default=None,
        description="The `nle` or `nre` that weighs the draws; the task's exact likelihood where not given.",
    )
    draws: Annotated[int, Field(ge=1000, le=1_000_000)] = Field(
        default=20_000,
        description="Candidates for each observation, weighted by the likelihood; up to ten times as many "
        "where fewer than twice the draws wanted count.",
    )
    least_share: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.01, description="Share of the candidates that has to count; below it there is no answer."
    )
    threads: Threads = Field(default=1, description="CPU threads.")

    @property
    def needs_density(self) -> bool:
        """It weighs what it wraps by its density."""
        return True

    @property
    def may_refuse(self) -> bool:
        """It refuses where weights do not hold."""
        return True

    @property
    def needs_likelihood(self) -> bool:
        """It weighs by the task's likelihood, unless it is told another one."""
        return self.likelihood is None

    def misfit(self, parent: MethodSettings, name: str) -> str | None:
        """Returns what keeps it from building on a method of this name, if anything."""
        if parent.amortised and parent.answers == "posterior":
            return None
        return (
            f"{name!r} does not answer each observation by itself with a posterior, so that none can be "
            "weighed by its likelihood; name a method that does, such as an `npe`."
        )

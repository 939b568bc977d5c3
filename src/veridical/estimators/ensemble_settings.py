"""Settings of ensembles of posteriors."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from veridical.estimators.npe_settings import NPESettings, PosteriorSettings
from veridical.sections import OwnBudgets


class EnsembleSettings(PosteriorSettings):
    """Independently seeded posteriors on the same rows; their mixture with equal weights."""

    code: ClassVar[str] = "veridical.estimators.ensemble:Ensemble"
    gives: ClassVar[tuple[str, ...]] = ("summaries", "members")
    builds_on: ClassVar[tuple[str, ...]] = ("weights", "members")

    type: Literal["ensemble"] = "ensemble"
    members: Annotated[int, Field(ge=1, le=1000)] = Field(default=5, description="Number of members M.")
    member: NPESettings = Field(default=NPESettings(), description="Settings of each member.")
    start: str | None = Field(
        default=None,
        description="An ensemble of as many members, or one `npe`, with whose weights the members begin.",
    )
    budgets: OwnBudgets = None
    stacked: bool | None = Field(
        default=None,
        description="Members trained together in one loop, or one by one; where not given, together if that "
        "is faster (small batches, any GPU).",
    )

    @property
    def network(self) -> NPESettings:
        """The settings of one of its networks."""
        return self.member

    @property
    def fidelity(self) -> str | None:
        """Fidelity it trains on; the dearest where None."""
        return self.member.fidelity

    @model_validator(mode="after")
    def _own_keys(self) -> EnsembleSettings:
        for name in ("start", "budgets"):
            if getattr(self.member, name) is not None:
                raise ValueError(f"`{name}` belongs to the ensemble, not to its `member`")
        return self

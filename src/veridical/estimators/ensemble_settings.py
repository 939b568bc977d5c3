"""Settings of ensembles of posteriors."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from veridical.estimators.npe_settings import NPESettings, PosteriorSettings
from veridical.sections import OwnBudgets
from veridical.training.settings import Decay


class EnsembleSettings(PosteriorSettings):
    """Independently seeded posteriors on the same rows; their mixture with equal weights."""

    code: ClassVar[str] = "veridical.estimators.ensemble:Ensemble"
    gives: ClassVar[tuple[str, ...]] = ("summaries", "members")
    builds_on: ClassVar[tuple[str, ...]] = ("weights", "members")

    refuses: ClassVar = {}
    distorts: ClassVar[bool] = True

    type: Literal["ensemble"] = "ensemble"
    members: Annotated[int, Field(ge=1, le=1000)] = Field(default=5, description="Number of members M.")
    member: NPESettings = Field(default=NPESettings(), description="Settings of each member.")
    start: str | None = Field(
        default=None,
        description="An ensemble of as many members, or one `npe`, with whose weights the members begin.",
    )
    budgets: OwnBudgets = None
    weight_decay: Annotated[list[Decay], Field(min_length=1)] | None = Field(
        default=None,
        description="Weight decay of each member in place of that of `member`: one after the other, and from "
        "the first again.",
    )
    stacked: bool | None = Field(
        default=None,
        description="Members trained together in one loop, or one by one; where not given, together if that "
        "is faster (small batches, any GPU).",
    )

    @property
    def decays(self) -> list[float]:
        """Weight decay of each member."""
        given = self.weight_decay or [self.member.training.weight_decay]
        return [given[m % len(given)] for m in range(self.members)]

    @property
    def network(self) -> NPESettings:
        """The settings of one of its networks."""
        return self.member

    @property
    def fidelity(self) -> str | None:
        """Fidelity it trains on; the dearest where None."""
        return self.member.fidelity

    @model_validator(mode="before")
    @classmethod
    def _decay_after_start(cls, given: Any) -> Any:
        """Lets members that begin with the weights of others keep them, where nothing else is said."""
        if not (isinstance(given, dict) and given.get("start")):
            return given
        member = given.get("member", {})
        training = member.get("training", {}) if isinstance(member, dict) else None
        if not isinstance(training, dict):
            return given
        return {**given, "member": {**member, "training": {"weight_decay": 0.0, **training}}}

    @model_validator(mode="after")
    def _own_keys(self) -> EnsembleSettings:
        if self.weight_decay and len(self.weight_decay) > self.members:
            given = len(self.weight_decay)
            raise ValueError(
                f"`weight_decay` has {given} entries, expected at most {self.members} (`members`)"
            )
        for name in ("start", "budgets"):
            if getattr(self.member, name) is not None:
                raise ValueError(f"`{name}` belongs to the ensemble, not to its `member`")
        return self

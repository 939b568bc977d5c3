"""Settings of ensembles of likelihood-to-evidence ratios."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from veridical.estimators.nre_settings import NRESettings


class NREEnsembleSettings(NRESettings):
    """Independently seeded ratios on the same rows, whose mean is the log ratio; `wifi_nre` weighs them."""

    code: ClassVar[str] = "veridical.estimators.nre_ensemble:NREEnsemble"
    gives: ClassVar[tuple[str, ...]] = (*NRESettings.gives, "functions of pairs")
    type: Literal["nre_ensemble"] = "nre_ensemble"  # type: ignore[assignment]
    members: Annotated[int, Field(ge=1, le=100)] = Field(default=4, description="Number of members M.")
    stacked: bool | None = Field(
        default=None,
        description="Members trained together in one loop, or one by one; where not given, together if that "
        "is faster (small batches, any GPU).",
    )

    @model_validator(mode="after")
    def _scores_one_by_one(self) -> NREEnsembleSettings:
        """Refuses a stack of members that learn from scores."""
        if self.scores is not None and self.stacked:
            raise ValueError("stacked: members that learn from `scores` are trained one by one; leave it out")
        return self

    @property
    def member(self) -> NREEnsembleSettings:
        """The settings of each member: its own, but for their number."""
        return self

    @property
    def decays(self) -> list[float]:
        """Weight decay of each member."""
        return [self.training.weight_decay] * self.members

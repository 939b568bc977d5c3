"""Settings of sequential rounds."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from veridical.estimators.ensemble_settings import EnsembleSettings
from veridical.estimators.npe_settings import NPESettings
from veridical.estimators.settings import TrainedSettings

Rows = Annotated[int, Field(ge=20)]
Families = Annotated[NPESettings | EnsembleSettings, Field(discriminator="type")]


class TSNPESettings(TrainedSettings):
    """Truncated sequential rounds: each simulates where the answer to one observation puts mass."""

    code: ClassVar[str] = "veridical.estimators.tsnpe:TSNPE"
    gives: ClassVar[tuple[str, ...]] = ("summaries",)
    takes_missing: ClassVar[bool] = True
    discrete: ClassVar[bool] = False
    distorts: ClassVar[bool] = True

    type: Literal["tsnpe"] = "tsnpe"
    dataset: str | None = Field(
        default=None,
        description="The data set of `observations` that the rounds are for and that alone they answer; the "
        "first where None.",
    )
    observations: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=1,
        description="How many observations it holds; each has rounds of its own, but for the first.",
    )
    rounds: Annotated[int, Field(ge=1, le=100)] = Field(
        default=4, description="Rounds; the first learns from the study's bank."
    )
    rows: Rows | Annotated[list[Rows], Field(min_length=1)] = Field(
        default=10_000,
        description="Simulations of each round; in a list, the last number counts for all that follow.",
    )
    epsilon: Annotated[float, Field(gt=0, le=0.01)] = Field(
        default=1e-3, description="Share of an answer that the region of the next round leaves out."
    )
    posterior: Families = Field(
        default_factory=NPESettings, description="The method that each round trains: `npe` or `ensemble`."
    )

    @field_validator("posterior", mode="before")
    @classmethod
    def _npe_where_not_said(cls, given: Any) -> Any:
        return {"type": "npe", **given} if isinstance(given, dict) else given

    @field_validator("posterior")
    @classmethod
    def _with_a_start_of_its_own(cls, posterior: Any) -> Any:
        if posterior.setting("start") or posterior.setting("budgets"):
            raise ValueError("`start` and `budgets` are not for a posterior that learns in rounds")
        if not getattr(posterior, "has_density", True):
            raise ValueError("rounds need a density, which bounds where they simulate; choose another `flow`")
        return posterior

    @property
    def network(self) -> Any:
        """The settings of one of its networks."""
        return self.posterior.network

    @property
    def members(self) -> int | None:
        """Networks that are trained in each round, where there are several."""
        return self.posterior.setting("members")

    @property
    def fidelity(self) -> str | None:
        """Fidelity it trains on; the dearest where None."""
        return self.posterior.setting("fidelity")

    @property
    def budgets(self) -> list[int]:
        """All simulations behind the answer to one observation."""
        return [sum(self.round_rows)]

    @property
    def round_rows(self) -> list[int]:
        """Rows of each round."""
        rows = self.rows if isinstance(self.rows, list) else [self.rows]
        return [rows[min(number, len(rows) - 1)] for number in range(self.rounds)]

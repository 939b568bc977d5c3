"""Settings of sequential rounds."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from veridical.estimators.ensemble_settings import EnsembleSettings
from veridical.estimators.npe_settings import NPESettings
from veridical.estimators.settings import MethodSettings, TrainedSettings

Rows = Annotated[int, Field(ge=20)]
SHARE = 0.2
Families = Annotated[NPESettings | EnsembleSettings, Field(discriminator="type")]


class TSNPESettings(TrainedSettings):
    """Truncated sequential rounds: each simulates where the answer to one observation puts mass."""

    code: ClassVar[str] = "veridical.estimators.tsnpe:TSNPE"
    gives: ClassVar[tuple[str, ...]] = ("summaries",)
    builds_on: ClassVar[tuple[str, ...]] = ("weights", "members")
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
    start: str | None = Field(
        default=None,
        description="Another method, of equal networks, with whose weights every round begins: an `npe`, or "
        "an `ensemble` of as many members.",
    )
    acquisition: Literal["disagreement"] | None = Field(
        default=None,
        description="Where rounds simulate more often than the prior does: where members of their `ensemble` "
        "differ.",
    )
    share: Annotated[float, Field(gt=0, le=0.8)] = Field(
        default=SHARE, description="Part of the rows of each further round that goes by `acquisition`."
    )

    @model_validator(mode="before")
    @classmethod
    def _decay_after_start(cls, given: Any) -> Any:
        """Lets networks that begin with the weights of others keep them, where nothing else is said."""
        if not (isinstance(given, dict) and given.get("start")):
            return given
        posterior = given.get("posterior", {})
        if not isinstance(posterior, dict):
            return given
        if posterior.get("type") != "ensemble":
            return {**given, "posterior": _undecayed(posterior)}
        member = posterior.get("member", {})
        return {**given, "posterior": {**posterior, "member": _undecayed(member)}}

    @field_validator("posterior", mode="before")
    @classmethod
    def _npe_where_not_said(cls, given: Any) -> Any:
        return {"type": "npe", **given} if isinstance(given, dict) else given

    @field_validator("posterior")
    @classmethod
    def _with_a_start_of_its_own(cls, posterior: Any) -> Any:
        if posterior.setting("start") or posterior.setting("budgets"):
            raise ValueError(
                "`start` and `budgets` are not for a posterior that learns in rounds; state `start` beside it"
            )
        if not getattr(posterior, "has_density", True):
            raise ValueError("rounds need a density, which bounds where they simulate; choose another `flow`")
        return posterior

    @model_validator(mode="after")
    def _acquires_with_members(self) -> TSNPESettings:
        if self.acquisition is None:
            if self.share != SHARE:
                raise ValueError("`share` is the part that goes by `acquisition`; state that too")
            return self
        if (self.members or 1) < 2:
            raise ValueError(
                "`acquisition: disagreement` looks where members differ; take two or more of them "
                "(`posterior: {type: ensemble, members: 5}`)"
            )
        if not self.network.flow.by_density or self.network.permuted:
            raise ValueError(
                "`acquisition` weighs the losses of rows, which have to be their log densities given x; take "
                "another `flow` than "
                f"{self.network.flow.type!r}, and no `permuted`"
            )
        return self

    def misfit(self, parent: MethodSettings, name: str) -> str | None:
        """Returns why rounds cannot begin with the weights of a method, if so; see `PosteriorSettings`."""
        if parent.setting("members") and not self.members:
            return f"{name!r} has {parent.setting('members')} members; take an `ensemble` as `posterior`."
        return self.posterior.misfit(parent, name)

    @property
    def acquired_share(self) -> float:
        """Part of the rows of a further round that goes by disagreement; 0 for none."""
        return self.share if self.acquisition else 0.0

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


def _undecayed(given: Any) -> Any:
    """Settings of a network without decay of its weights, where they say nothing of it."""
    training = given.get("training", {}) if isinstance(given, dict) else None
    if not isinstance(training, dict):
        return given
    return {**given, "training": {"weight_decay": 0.0, **training}}

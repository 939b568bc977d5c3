"""Settings of inductive robust posterior estimation."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from veridical.estimators.npe_settings import NPESettings
from veridical.estimators.settings import MethodSettings
from veridical.remedies.tuned_settings import EncoderRemedySettings
from veridical.sections import Count, Fidelity, Positive, Rate, Threads

TRAININGS = 2 * 5  # of encoders: two kinds in each of five fits
DISTILLED = {"summary": {"type": "none"}, "flow": {"type": "maf"}}
TRAINING = {"max_steps": 1000, "batch_size": 256, "accelerator": "cpu"}


class FRISBISettings(EncoderRemedySettings):
    """Inductive robust posterior estimation: transport between real data and simulations, distilled."""

    code: ClassVar[str] = "veridical.remedies.frisbi:FRISBI"
    learns: ClassVar[tuple[str, ...]] = ("calibration",)
    gives: ClassVar[tuple[str, ...]] = ("answers apart",)
    takes_missing: ClassVar[bool] = False

    type: Literal["frisbi"] = "frisbi"
    of: str = Field(description="The `npe` whose posteriors of simulations are mixed.")
    fidelity: Fidelity = None
    unlabelled: str | None = Field(
        default="real",
        description="The data set of `observations` whose summaries are drawn to those of simulations; or "
        "`real`, for rows of that level that serve nothing else and whose parameters no method sees. Null "
        "leaves the data of the labelled pairs.",
    )
    unlabelled_rows: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=1000, description="How many of them, at most: the first ones."
    )
    simulations: Annotated[int, Field(ge=20)] = Field(
        default=2000, description="Fresh simulations that posteriors are mixed of."
    )
    repeats: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=20, description="Simulations at the parameters of each pair, whose mean summary is its goal."
    )
    alignment: Annotated[float, Field(ge=0)] = Field(
        default=1.0, description="Weight of the transport cost of unlabelled data beside the pairs."
    )
    gamma: Positive = Field(
        default=0.5,
        description="Strength of the entropy while encoders learn, and the largest of the plan that is "
        "distilled; costs are mean squares of summaries in units of their spread over simulations.",
    )
    least_gamma: Positive = Field(
        default=0.005,
        description="The least of that plan; held-out pairs choose in between. The same as `gamma` where "
        "nothing is to be chosen.",
    )
    inputs: Literal["real", "simulated"] = Field(
        default="real", description="Whose mean and spread real data are standardised by for their encoder."
    )
    steps: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=300, description="Optimiser steps of an encoder."
    )
    batch_size: Count = Field(default=256, description="Rows of a step, at most, of each kind.")
    learning_rate: Rate = Field(default=1e-3, description="Peak of the rate of Adam for encoders.")
    looks: Count = Field(
        default=25, description="Looks at the pairs that stop an encoder; the best weights are kept."
    )
    rows: Annotated[int, Field(ge=200)] = Field(
        default=20_000, description="Draws of the mixtures that the answer is distilled from."
    )
    posterior: NPESettings = Field(
        default_factory=lambda: NPESettings.model_validate({**DISTILLED, "training": TRAINING}),
        description="The density that is distilled; without `summary`, for it is told summaries.",
    )
    threads: Threads = Field(default=1, description="CPU threads.")

    @model_validator(mode="before")
    @classmethod
    def _distilled(cls, given: Any) -> Any:
        """Fills in the settings of the distilled density where nothing else is said."""
        own = given.get("posterior") if isinstance(given, dict) else None
        if not isinstance(own, dict) or not isinstance(own.get("training", {}), dict):
            return given
        return {
            **given,
            "posterior": {**DISTILLED, **own, "training": {**TRAINING, **own.get("training", {})}},
        }

    @model_validator(mode="after")
    def _whole(self) -> FRISBISettings:
        """Refuses what does not go together."""
        if self.least_gamma > self.gamma:
            raise ValueError(f"least_gamma: expected at most gamma, {self.gamma:g}, got {self.least_gamma:g}")
        for name in ("start", "budgets", "fidelity"):
            if getattr(self.posterior, name) is not None:
                raise ValueError(f"posterior.{name}: the density is told mixtures of `of`, and nothing else")
        if self.posterior.training.streaming:
            raise ValueError("posterior.training.streaming: its rows are draws, which are held in memory")
        return self

    @property
    def has_density(self) -> bool:
        """Whether it knows the densities of its answers, or gives draws alone."""
        return self.posterior.has_density

    def misfit(self, parent: MethodSettings, name: str) -> str | None:
        """Returns what keeps it from building on a method of this name, if anything."""
        if parent.learns_from("calibration"):
            return f"{name!r} has learned from the labelled pairs that are to correct it; name an `npe`."
        return super().misfit(parent, name)

    def visits(self, rows: int) -> float:
        """Returns how many rows its steps see in all."""
        return float(
            TRAININGS * self.steps * min(self.batch_size, rows) + self.posterior.training.visits(self.rows)
        )

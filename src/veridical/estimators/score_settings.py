"""Settings of estimates by scoring rules."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from veridical.estimators.npe_settings import PosteriorSettings
from veridical.networks.density_settings import Hidden
from veridical.networks.settings import AutoSummarySettings, InputsSettings, SummarySettings
from veridical.sections import Fidelity, OwnBudgets, Share
from veridical.training.settings import TrainingSettings


def _ascending(levels: list[float]) -> list[float]:
    if levels != sorted(set(levels)):
        raise ValueError("levels must grow from first to last")
    return levels


Levels = Annotated[list[Share], Field(min_length=1, max_length=99), AfterValidator(_ascending)]


class ScoreSettings(PosteriorSettings):
    """Means, quantiles and central intervals of each parameter by itself, learned by scoring rules."""

    code: ClassVar[str] = "veridical.estimators.score:Score"
    gives: ClassVar[tuple[str, ...]] = ("summaries",)
    discrete: ClassVar[bool] = False
    type: Literal["score"] = "score"
    fidelity: Fidelity = None
    budgets: OwnBudgets = None
    score: Literal["quantile", "interval"] = Field(
        default="quantile",
        description="Loss of all quantiles alike, or that of intervals, which gives outer ones more weight.",
    )
    intervals: Levels = Field(
        default=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99],
        description="Levels of the central intervals whose ends are learned, with the median.",
    )
    inputs: InputsSettings = InputsSettings()
    summary: SummarySettings = Field(default_factory=AutoSummarySettings)
    hidden: Hidden
    training: TrainingSettings = TrainingSettings()

    @property
    def has_density(self) -> bool:
        """True: that of independent parameters."""
        return True

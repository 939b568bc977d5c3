"""Settings of neural posterior estimation on the simulations of all levels."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from veridical.estimators.multilevel_settings import LevelledSettings
from veridical.training.settings import TrainingSettings


class PooledSettings(LevelledSettings):
    """Neural posterior estimation on simulations of several levels, which the flow is told or not."""

    code: ClassVar[str] = "veridical.estimators.pooled:PooledNPE"
    gives: ClassVar[tuple[str, ...]] = ("summaries",)

    type: Literal["pooled_npe"] = "pooled_npe"
    level: Literal["conditioned", "ignored"] = Field(
        default="conditioned",
        description="Whether the flow is told the level of each row, and asked for the dearest; `ignored`: a "
        "control, whose answer is that of a mixture of all levels.",
    )
    weights: Literal["level", "row"] = Field(
        default="level", description="What counts alike: all levels, or all rows, most of which are cheap."
    )
    base: Literal["none"] = Field(default="none", description="No regression stands in front.")
    training: TrainingSettings = TrainingSettings()

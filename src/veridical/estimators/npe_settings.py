"""Settings of neural posterior estimation."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from veridical.networks.settings import FlowSettings, InputsSettings, MLPSummarySettings, SummarySettings
from veridical.sections import Budgets, Section
from veridical.training.settings import TrainingSettings


class NPESettings(Section):
    """Neural posterior estimation: a summary network and a neural spline flow."""

    simulations: ClassVar[bool] = True
    calibration: ClassVar[bool] = False

    type: Literal["npe"] = "npe"
    fidelity: str | None = Field(
        default=None, description="Fidelity it trains on; where not given, the dearest."
    )
    start: str | None = Field(
        default=None,
        description="Another method, of equal networks, with whose weights it begins; chains are allowed.",
    )
    standardise: Literal["refit", "pooled", "kept"] = Field(
        default="refit",
        description="Mean and scale of x with `start`: own rows', both with equal weight, the other's.",
    )
    budgets: Budgets | None = Field(
        default=None, description="Budgets of this method, where they are not those of the study."
    )
    permuted: bool = Field(
        default=False, description="Negative control: parameters shuffled against x, so that x tells nothing."
    )
    inputs: InputsSettings = InputsSettings()
    summary: SummarySettings = Field(default_factory=MLPSummarySettings)
    flow: FlowSettings = FlowSettings()
    training: TrainingSettings = TrainingSettings()

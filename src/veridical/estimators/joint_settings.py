"""Settings of neural posterior estimation on simulations and labelled real data."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from veridical.estimators.npe_settings import PosteriorSettings
from veridical.estimators.settings import TrainedSettings
from veridical.networks.density_settings import FlowSettings, SplineFlowSettings
from veridical.networks.settings import AutoSummarySettings, BaseSettings, InputsSettings, SummarySettings
from veridical.sections import Count, Fidelity
from veridical.training.settings import TrainingSettings


class JointTrainingSettings(TrainingSettings):
    """How J-NPE is trained: as NPE, with many looks, for the best weights come early."""

    rounds: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=100, description="Looks at the loss of the calibration pairs held out, at least."
    )
    patience: Count = Field(
        default=50, description="Looks without a better validation loss before training stops early."
    )


class JNPESettings(PosteriorSettings):
    """Neural posterior estimation on simulations and calibration pairs, half and half in each batch."""

    code: ClassVar[str] = "veridical.estimators.joint:JointNPE"
    refuses: ClassVar = {**TrainedSettings.refuses, "augment": "its labelled pairs would go without"}
    learns: ClassVar[tuple[str, ...]] = ("simulations", "calibration")
    type: Literal["j_npe"] = "j_npe"
    fidelity: Fidelity = None
    inputs: InputsSettings = InputsSettings()
    summary: SummarySettings = Field(default_factory=AutoSummarySettings)
    flow: FlowSettings = Field(default_factory=SplineFlowSettings)
    base: BaseSettings = "regression"
    training: JointTrainingSettings = JointTrainingSettings()

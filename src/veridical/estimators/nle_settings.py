"""Settings of neural likelihood estimation, and what it shares with that of ratios."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from veridical.estimators.settings import TrainedSettings
from veridical.inference.settings import SamplingSettings
from veridical.networks.settings import Axis, InputsSettings, LikelihoodFlow, SplineFlowSettings
from veridical.sections import Fidelity, OwnBudgets
from veridical.training.settings import DECAY, Decay, TrainingSettings


class LikelihoodTrainingSettings(TrainingSettings):
    """How likelihoods and ratios are trained: as posteriors, without decay of the weights."""

    weight_decay: Decay = Field(default=0.0, description=f"{DECAY}.")


class LikelihoodSettings(TrainedSettings):
    """Base for methods that know a likelihood up to a constant, and draw from its posterior."""

    gives: ClassVar[tuple[str, ...]] = ("summaries", "likelihood")
    discrete: ClassVar[bool] = False

    if TYPE_CHECKING:
        inputs: InputsSettings
        independent: int | None
        sampling: SamplingSettings

    @property
    def exchangeable(self) -> int | None:
        """Axis of an element of x whose entries its summary network takes for exchangeable, if any."""
        summary = self.setting("summary")
        axis: int | None = summary.axis if summary and summary.type == "deepset" else None
        return axis

    @property
    def has_density(self) -> bool:
        """False: the densities of its answers lack their constants."""
        return False


class NLESettings(LikelihoodSettings):
    """Neural likelihood estimation: a density of x given the parameters, whose posterior chains draw."""

    code: ClassVar[str] = "veridical.estimators.nle:NLE"
    type: Literal["nle"] = "nle"
    fidelity: Fidelity = None
    budgets: OwnBudgets = None
    inputs: InputsSettings = InputsSettings()
    independent: Axis | None = Field(
        default=None,
        description="Axis of x, from 0, along which entries are independent and alike given the parameters: "
        "one density for each, whose logarithms add.",
    )
    counts: bool | None = Field(
        default=None,
        description="Whether x holds whole numbers, which uniform noise of one unit then makes continuous; "
        "where not given, those numbers of x that are whole in all training rows.",
    )
    flow: LikelihoodFlow = Field(default_factory=SplineFlowSettings)
    training: LikelihoodTrainingSettings = LikelihoodTrainingSettings()
    sampling: SamplingSettings = SamplingSettings()

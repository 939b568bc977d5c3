"""Settings of neural ratio estimation."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from veridical.estimators.nle_settings import SCORES, LikelihoodSettings, LikelihoodTrainingSettings
from veridical.inference.settings import SamplingSettings
from veridical.networks.settings import Axis, InputsSettings, NoSummarySettings, SummarySettings
from veridical.sections import Fidelity, OwnBudgets, Positive, Width
from veridical.training.score_weight_settings import ScoreSettings


class NRESettings(LikelihoodSettings):
    """Neural ratio estimation: a classifier of pairs that belong together, whose posterior chains draw."""

    code: ClassVar[str] = "veridical.estimators.nre:NRE"
    takes_missing: ClassVar[bool] = True
    type: Literal["nre"] = "nre"
    fidelity: Fidelity = None
    budgets: OwnBudgets = None
    inputs: InputsSettings = InputsSettings()
    independent: Axis | None = Field(
        default=None,
        description="Axis of x, from 0, along which entries are independent and alike given the parameters: "
        "one ratio for each, whose logarithms add.",
    )
    loss: Literal["binary", "contrastive", "balanced"] = Field(
        default="contrastive",
        description="Joint against independent pairs, each joint one against several independent ones, or "
        "the first with a penalty that makes answers wide rather than narrow.",
    )
    contrasts: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=60,
        description="Independent pairs against each joint one, of the contrastive loss: many where answers "
        "are narrow, or narrow and wide at once.",
    )
    gamma: Positive = Field(
        default=1.0, description="Odds of joint against independent pairs, of the contrastive loss."
    )
    strength: Positive = Field(default=100.0, description="Weight of the penalty of the balanced loss.")
    summary: SummarySettings = Field(
        default_factory=NoSummarySettings,
        description="The network that x passes through first; `none` suits few numbers, `auto` series, "
        "images and sets.",
    )
    width: Width = Field(default=64, description="Width of the residual network.")
    blocks: Annotated[int, Field(ge=1, le=16)] = Field(default=2, description="Its blocks.")
    scores: ScoreSettings | None = Field(default=None, description=SCORES)
    training: LikelihoodTrainingSettings = LikelihoodTrainingSettings()
    sampling: SamplingSettings = SamplingSettings()

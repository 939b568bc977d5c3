"""Settings of multilevel neural posterior estimation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from veridical.estimators.npe_settings import PosteriorSettings
from veridical.estimators.regularised_settings import TRACTABLE
from veridical.estimators.settings import TrainedSettings
from veridical.networks.density_settings import FlowSettings, SplineFlowSettings
from veridical.networks.settings import AutoSummarySettings, BaseSettings, InputsSettings, SummarySettings
from veridical.sections import Count, Fidelity, Name, OwnBudgets, Rate
from veridical.training.settings import TrainingSettings


class MultilevelTrainingSettings(TrainingSettings):
    """How a telescoping sum is learned: in large batches at a low rate, with many looks."""

    epochs: Count = Field(default=100, description="Passes over the rows of the cheapest level, at most.")
    max_steps: Count | None = Field(default=600, description="Optimiser steps, at most.")
    batch_size: Count | None = Field(
        default=256,
        description="Rows of the cheapest level per optimiser step, and pairs of each dearer one, at most: "
        "gradients are rescaled as a whole, for which small batches are too noisy.",
    )
    learning_rate: Rate = Field(
        default=2e-3, description="Learning rate: the peak of the one cycle, or constant."
    )
    rounds: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=100, description="Looks at the validation loss, at least."
    )
    patience: Count = Field(
        default=30, description="Looks without a better validation loss before training stops early."
    )


Lower = Annotated[
    dict[Name, Count],
    Field(
        min_length=1,
        description="Rows of each cheaper fidelity that it learns from, at least as many as of any dearer "
        "one. The budget counts those of its own.",
    ),
]
Gradients = Annotated[
    Literal["rescaled", "plain"],
    Field(
        description="`rescaled`: negative terms get the norm of their positive ones, and corrections opposed "
        "to the gradient of the cheapest level are projected. `plain`: the gradient of the loss as it is.",
    ),
]
Judged = Annotated[
    Literal["dearest", "telescoped"],
    Field(
        description="What looks judge on rows held out: the loss of the dearest level, or the whole sum.",
    ),
]
TELESCOPED = {  # settings of the training that do not suit a telescoping sum, and why
    **TrainedSettings.refuses,
    "augment": "what is added to one of a pair would be missing from the other",
    "captured": "its gradients are put together from those of several terms",
}


class LevelledSettings(PosteriorSettings):
    """Base for posteriors that learn from rows of several levels."""

    fidelity: Fidelity = None
    lower: Lower
    budgets: OwnBudgets = None
    inputs: InputsSettings = InputsSettings()
    summary: SummarySettings = Field(default_factory=AutoSummarySettings)
    flow: FlowSettings = Field(default_factory=SplineFlowSettings)

    @property
    def lower_rows(self) -> Mapping[str, int]:
        """Rows of each cheaper fidelity."""
        return self.lower

    @model_validator(mode="after")
    def _density_at_one_call(self) -> LevelledSettings:
        if self.flow.type not in TRACTABLE:
            raise ValueError(
                f"flow: its loss is made of log densities, and {self.flow.type!r} learns without them; take "
                f"one of {', '.join(TRACTABLE)}"
            )
        return self


class MultilevelSettings(LevelledSettings):
    """Multilevel neural posterior estimation: many cheap simulations, corrected by few dear ones."""

    code: ClassVar[str] = "veridical.estimators.multilevel:MultilevelNPE"
    coupled: ClassVar[bool] = True
    refuses: ClassVar = TELESCOPED

    type: Literal["ml_npe"] = "ml_npe"
    gradients: Gradients = "rescaled"
    validation: Judged = "dearest"
    base: BaseSettings = "none"
    training: MultilevelTrainingSettings = MultilevelTrainingSettings()

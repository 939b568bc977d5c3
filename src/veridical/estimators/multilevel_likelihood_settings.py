"""Settings of multilevel neural likelihood estimation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from veridical.estimators.multilevel_settings import (
    TELESCOPED,
    Gradients,
    Judged,
    Lower,
    MultilevelTrainingSettings,
)
from veridical.estimators.nle_settings import NLESettings
from veridical.training.settings import DECAY, Decay


class MultilevelLikelihoodTrainingSettings(MultilevelTrainingSettings):
    """How a telescoping sum of likelihoods is learned: as one of posteriors, without decay of the weights."""

    weight_decay: Decay = Field(default=0.0, description=f"{DECAY}.")


class MultilevelNLESettings(NLESettings):
    """Multilevel neural likelihood estimation: many cheap simulations, corrected by few dear ones."""

    code: ClassVar[str] = "veridical.estimators.multilevel_likelihood:MultilevelNLE"
    coupled: ClassVar[bool] = True
    refuses: ClassVar = TELESCOPED

    type: Literal["ml_nle"] = "ml_nle"  # type: ignore[assignment]
    lower: Lower
    gradients: Gradients = "rescaled"
    validation: Judged = "dearest"
    training: MultilevelLikelihoodTrainingSettings = MultilevelLikelihoodTrainingSettings()  # type: ignore[assignment]

    @model_validator(mode="after")
    def _no_scores(self) -> Self:
        """Refuses scores: its loss is a sum over levels, each with scores of its own."""
        if self.learns_scores:
            raise ValueError("scores: not for a method of type 'ml_nle'; its loss is a sum over levels")
        return self

    @property
    def lower_rows(self) -> Mapping[str, int]:
        """Rows of each cheaper fidelity."""
        return self.lower

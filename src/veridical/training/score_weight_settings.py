"""Settings of the term of a ratio's loss that holds its slope against the scores of the simulations."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from veridical.sections import Count, Positive, Rate, Section, Share


class ScoreSection(Section):
    """Base of these sections."""

    share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="Share of the rows of a batch whose slopes are looked at, which saves time."
    )
    permuted: bool = Field(
        default=False,
        description="Whether each training row gets the score of another one: a control, which has to be "
        "worse than no scores.",
    )


class LastLayerSettings(ScoreSection):
    """Weights at which the term pulls the last layer as hard as the plain loss, each parameter by itself."""

    type: Literal["last_layer"] = "last_layer"
    every: Count = Field(default=20, description="Steps between two looks at the gradients.")
    decay: Share = Field(default=0.9, description="Share of a weight that a look leaves as it is.")
    cap: Positive = Field(default=10.0, description="Largest weight.")


class GradNormSettings(ScoreSection):
    """Weights at which parameters whose error falls slowly pull the last layer harder than others."""

    type: Literal["gradnorm"] = "gradnorm"
    every: Count = Field(default=20, description="Steps between two looks at the gradients.")
    rate: Rate = Field(default=0.1, description="By which share of itself a weight moves at a look.")
    power: Positive = Field(default=1.5, description="How much harder: the power of the relative error.")
    cap: Positive = Field(default=10.0, description="Largest weight.")


class KendallSettings(ScoreSection):
    """Weights that are learned as the precisions of the plain loss and of the score of each parameter."""

    type: Literal["kendall"] = "kendall"


class FixedSettings(ScoreSection):
    """One weight for all parameters, from the first step to the last."""

    type: Literal["fixed"] = "fixed"
    weight: Positive = Field(default=1.0, description="It.")


def _typed(given: object) -> object:
    """Lets a section be a type alone, and one without `type` the usual one."""
    if isinstance(given, str):
        return {"type": given}
    return {"type": LastLayerSettings().type, **given} if isinstance(given, dict) else given


_Any: Any = LastLayerSettings | GradNormSettings | KendallSettings | FixedSettings
ScoreSettings = Annotated[
    _Any, Field(discriminator="type"), BeforeValidator(_typed, json_schema_input_type=str | _Any)
]

"""Settings of what a posterior's training adds to its loss, by simulations or by unlabelled real data."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from veridical.sections import Positive, Section, Widths

Size = Annotated[int, Field(ge=1, le=100_000)]


class RegulariserSettings(Section):
    """Base of these sections.

    Attributes:
        unlabelled: Whether it needs unlabelled real data.
        likelihood: Whether it needs a likelihood, and the densities of the posterior.
    """

    unlabelled: ClassVar[bool] = True
    likelihood: ClassVar[bool] = False


class SelfConsistencySettings(RegulariserSettings):
    """By how much prior times likelihood over posterior differs between draws for one real observation."""

    likelihood: ClassVar[bool] = True

    type: Literal["self_consistency"] = "self_consistency"
    weight: Positive = Field(default=1.0, description="Its weight in the loss, once it has grown.")
    draws: Annotated[int, Field(ge=2, le=10_000)] = Field(
        default=16, description="Draws of the current posterior of each observation, in every step."
    )
    observations: Size = Field(default=32, description="Observations in a step, at most; picked at random.")


class SummaryMMDSettings(RegulariserSettings):
    """How far summaries of unlabelled real data lie from those of simulations."""

    type: Literal["mmd"] = "mmd"
    weight: Positive = Field(default=1.0, description="Its weight in the loss.")
    observations: Size = Field(default=200, description="Rows of either side in a step, at most.")


class DomainAdversarialSettings(RegulariserSettings):
    """How well a classifier tells summaries of unlabelled real data from those of simulations."""

    type: Literal["domain_adversarial"] = "domain_adversarial"
    weight: Positive = Field(default=1.0, description="Its weight in the loss, once it has grown.")
    observations: Size = Field(default=200, description="Rows of either side in a step, at most.")
    hidden: Widths = Field(default=[64, 64], description="Widths of the classifier's hidden layers.")


class NormalSummariesSettings(RegulariserSettings):
    """How far summaries of simulations lie from standard normal ones; no real data are needed."""

    unlabelled: ClassVar[bool] = False

    type: Literal["normal_summaries"] = "normal_summaries"
    weight: Positive = Field(default=1.0, description="Its weight in the loss.")


AnyRegulariser = Annotated[
    SelfConsistencySettings | SummaryMMDSettings | DomainAdversarialSettings | NormalSummariesSettings,
    Field(discriminator="type"),
]

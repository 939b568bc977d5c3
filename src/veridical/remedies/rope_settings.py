"""Settings of the remedies by optimal transport."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from veridical.remedies.tuned_settings import EncoderRemedySettings
from veridical.sections import Fidelity, Positive, Threads


class RoPESettings(EncoderRemedySettings):
    """Robust posterior estimation: optimal transport between real observations and simulations."""

    code: ClassVar[str] = "veridical.remedies.rope:RoPE"
    builds_on: ClassVar[tuple[str, ...]] = ("encoder", "tuned encoder")

    type: Literal["rope"] = "rope"
    of: str = Field(description="A `tuned` encoder; or an `npe`, whose encoder then serves real data too.")
    fidelity: Fidelity = None
    simulations: Annotated[int, Field(ge=10)] = Field(
        default=2000, description="Fresh simulations that posteriors are mixed of."
    )
    gamma: Positive = Field(
        default=0.12,
        description="Strength of the entropy relative to the mean cost: large values give the prior, small "
        "ones mixtures of few simulations. 0.12 suits some 50 pairs, 0.06 200 and more.",
    )
    tau: Annotated[float, Field(ge=0, le=1)] = Field(
        default=1.0,
        description="Demand that all simulations are used alike: 1 exactly (RoPE), 0.9 nearly (RoPE*).",
    )
    standardise: Literal["none", "simulated"] = Field(
        default="none",
        description="Whether summaries are divided by their standard deviation over simulations before "
        "distances are taken.",
    )
    smoothing: Annotated[float, Field(ge=0, le=10)] = Field(
        default=0.0,
        description="Standard deviation of a Gaussian that widens each component, in the space where "
        "parameters are unbounded with unit variance; 0 is the published method. About 0.5 n^(-1/(D + 4)) "
        "closes the gaps between n simulations.",
    )
    component_draws: Annotated[int, Field(ge=2, le=10_000)] = Field(
        default=100, description="Draws of each component that the smoothed density is made of."
    )
    threads: Threads = Field(default=1, description="CPU threads.")

    @property
    def needs_density(self) -> bool:
        """Whether its answers are mixtures of densities as they are, not of smoothed draws."""
        return self.smoothing == 0

    @property
    def amortised(self) -> bool:
        """False: the transport plan ties the answers of a whole data set together."""
        return False

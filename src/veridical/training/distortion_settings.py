"""Settings of distortions of x that a training draws anew in every batch.

`wants` says of each which transforms of x it is right under: tails of noise want to be tamed, and what is
done to numbers themselves has to come before anything bends them.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from veridical.sections import Positive, Section, Share

Often = Annotated[float, Field(ge=0, le=1)]


class SpikeAndSlabSettings(Section):
    """Noise on each number of x: little of most, heavy-tailed of some, as if a summary could be wrong."""

    wants: ClassVar[tuple[str, ...]] = ("squash",)

    type: Literal["spike_and_slab"] = "spike_and_slab"
    share: Share = Field(default=0.5, description="Probability that a number gets the slab.")
    spike: Positive = Field(
        default=0.01, description="Standard deviation of the normal spike, in units of a number's own spread."
    )
    slab: Positive = Field(
        default=0.25, description="Scale of the Cauchy slab, in units of a number's own spread."
    )


class LocalDistortionsSettings(Section):
    """What may be wrong with a measured series: a drifting gain, an offset, more noise."""

    wants: ClassVar[tuple[str, ...]] = ("none", "squash")

    type: Literal["local_distortions"] = "local_distortions"
    gain: Often = Field(
        default=0.8, description="Probability of a smooth gain along the first axis of x, of 5 at most."
    )
    offset: Often = Field(
        default=0.3, description="Probability of an offset, normal with the spread of a number of x."
    )
    noise: Often = Field(
        default=0.5, description="Probability of more noise, of 0.01 to 1 of the spread of a number of x."
    )


DistortionSettings = Annotated[SpikeAndSlabSettings | LocalDistortionsSettings, Field(discriminator="type")]

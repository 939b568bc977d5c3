"""Settings of what a network sees of x: its transform, summary networks, the regression in front of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from veridical.networks.summary_settings import (
    Axis,
    EnergyFlowSummarySettings,
    Entry,
    SetTransformerSummarySettings,
    SummarySection,
    TransformerSummarySettings,
)
from veridical.sections import Count, Name, Section, Width, Widths


class InputsSettings(Section):
    """What happens to x before it is standardised and enters the network."""

    transform: Literal["auto", "none", "log", "asinh", "squash"] = Field(
        default="auto",
        description="Applied to every number of x; `log` needs positive data. `auto`: asinh around the "
        "median, in units of the quartiles, of those numbers whose standard deviation is above twice what "
        "their quartiles say; all others stay. `squash` is the asinh of standardised x, which tames what "
        "lies far outside of the simulations.",
    )


class AutoSummarySettings(SummarySection):
    """The network that fits the axes of x: `deepset`, `image`, `conv` or `mlp`, with its own defaults.

    See docs/methods.md for the rules.
    """

    type: Literal["auto"] = "auto"
    features: Width = Field(default=32, description="Number of summaries.")


class MLPSummarySettings(SummarySection):
    """A dense network on all numbers of x."""

    type: Literal["mlp"] = "mlp"
    hidden: Widths = Field(default=[128, 128], description="Widths of the hidden layers.")
    features: Width = Field(default=32, description="Number of summaries.")


class ConvSummarySettings(SummarySection):
    """Convolutions along one axis of x, then a dense network on what remains of it."""

    type: Literal["conv"] = "conv"
    channels: Annotated[Widths, Field(min_length=1)] | None = Field(
        default=None,
        description="Channels of the convolutions, each of which halves the series; where not given, 32 and "
        "64 up to 256 steps, and for longer series 32, then 64 until at most 16 steps are left.",
    )
    kernel: Annotated[int, Field(ge=1, le=101)] = Field(default=5, description="Length of the kernels.")
    patch: Annotated[int, Field(ge=2, le=100_000)] | None = Field(
        default=None,
        description="Steps that the first convolution takes at once in place of two; where neither this nor "
        "`channels` is given, as many as leave 256 steps or less.",
    )
    means: bool | None = Field(
        default=None,
        description="Whether the dense network also sees the mean of each channel over the series; where not "
        "given, for series above 256 steps without `channels`.",
    )
    axis: Axis | None = Field(
        default=None, description="Axis of x that is the series, from 0; else the one declared, or the first."
    )
    hidden: Widths = Field(default=[128], description="Widths of the hidden dense layers.")
    features: Width = Field(default=32, description="Number of summaries.")


class ImageSummarySettings(SummarySection):
    """Convolutions over two axes of x, then a dense network on what remains and on the means of channels."""

    type: Literal["image"] = "image"
    channels: Annotated[Widths, Field(min_length=1)] | None = Field(
        default=None,
        description="Channels of the convolutions, each of which halves both axes; where not given, 32, then "
        "64 until the longer one has at most 4 steps left.",
    )
    kernel: Annotated[int, Field(ge=1, le=101)] = Field(default=3, description="Length of the kernels.")
    patch: Annotated[int, Field(ge=2, le=1000)] | None = Field(
        default=None,
        description="Steps along both axes that the first convolution takes at once; where neither this nor "
        "`channels` is given, two up to 64 steps, and as many as leave 32 above.",
    )
    axes: Annotated[list[Axis], Field(min_length=2, max_length=2)] | None = Field(
        default=None,
        description="Axes of x that make the image, from 0; else those declared, or the last two.",
    )
    blocks: Annotated[int, Field(ge=0, le=8)] = Field(
        default=0, description="Residual blocks of two convolutions behind each of these."
    )
    places: bool = Field(
        default=True,
        description="Whether the dense network sees what is left at each place; else the means of channels "
        "alone, for which it is the same wherever something is.",
    )
    hidden: Widths = Field(default=[128], description="Widths of the hidden dense layers.")
    features: Width = Field(default=32, description="Number of summaries.")


class GRUSummarySettings(SummarySection):
    """A recurrent network along one axis of x; its last state, then a dense network."""

    type: Literal["gru"] = "gru"
    state: Width = Field(default=64, description="Size of the recurrent state.")
    layers: Annotated[int, Field(ge=1, le=8)] = Field(default=1, description="Number of recurrent layers.")
    axis: Axis | None = Field(
        default=None, description="Axis of x that is the series, from 0; else the one declared, or the first."
    )
    hidden: Widths = Field(default=[64], description="Widths of the hidden dense layers.")
    features: Width = Field(default=32, description="Number of summaries.")

    @property
    def stackable(self) -> bool:
        """False: its kernels know no axis of members."""
        return False


class DeepSetSummarySettings(SummarySection):
    """For exchangeable rows of x: a dense network per row, their mean, another dense network."""

    type: Literal["deepset"] = "deepset"
    element: Widths = Field(
        default=[64, 64], min_length=1, description="Widths of the layers applied to each row."
    )
    axis: Axis | None = Field(
        default=None,
        description="Axis of x whose entries are exchangeable, from 0; else the one declared, or the first.",
    )
    hidden: Widths = Field(default=[64], description="Widths of the hidden layers applied to the mean.")
    features: Width = Field(default=32, description="Number of summaries.")

    @property
    def exchangeable(self) -> bool:
        """True."""
        return True


class NoSummarySettings(SummarySection):
    """No summary network: the flow sees all numbers of x."""

    type: Literal["none"] = "none"


def _typed(summary: object) -> object:
    """Lets a summary be a type alone, and one without `type` a dense network."""
    if isinstance(summary, str):
        return {"type": summary}
    return {"type": MLPSummarySettings().type, **summary} if isinstance(summary, dict) else summary


_One = (
    AutoSummarySettings
    | MLPSummarySettings
    | ConvSummarySettings
    | ImageSummarySettings
    | GRUSummarySettings
    | TransformerSummarySettings
    | DeepSetSummarySettings
    | SetTransformerSummarySettings
    | EnergyFlowSummarySettings
    | NoSummarySettings
)
OneSummarySettings = Annotated[
    _One, Field(discriminator="type"), BeforeValidator(_typed, json_schema_input_type=str | _One)
]


class PartSettings(Section):
    """A block of x with a summary network of its own."""

    entries: Annotated[list[Entry], Field(min_length=1)] = Field(
        description="Entries of x that it is made of: numbers from 0, names, patterns such as `flux*`, and "
        "ranges such as `0:100`, whose end is not part of them."
    )
    shape: Annotated[list[Count], Field(min_length=1)] | None = Field(
        default=None,
        description="Shape that the numbers of the block are put into, row by row; where not given, that of "
        "x with fewer entries.",
    )
    kinds: list[Literal["exchangeable", "series", "image", "vector", ""]] | None = Field(
        default=None,
        description="Kind of each axis of the block, as dimensions declare it; where not given, those of x.",
    )
    summary: OneSummarySettings = Field(default_factory=AutoSummarySettings)


class PartsSummarySettings(SummarySection):
    """Several blocks of x, each seen by a summary network of its own; their summaries side by side."""

    type: Literal["parts"] = "parts"
    axis: Axis | None = Field(
        default=None,
        description="Axis of x whose entries the blocks share out; else the one with names, or the last.",
    )
    parts: Annotated[dict[Name, PartSettings], Field(min_length=1)] = Field(
        description="Blocks by name; each entry belongs to one."
    )

    @property
    def stackable(self) -> bool:
        """Whether the networks of all blocks can be trained in one stack."""
        return all(part.summary.stackable for part in self.parts.values())

    @property
    def linear(self) -> bool:
        """Whether one of them wants numbers of x as they are."""
        return any(part.summary.linear for part in self.parts.values())


_Any = _One | PartsSummarySettings
SummarySettings = Annotated[
    _Any, Field(discriminator="type"), BeforeValidator(_typed, json_schema_input_type=str | _Any)
]

BaseSettings = Annotated[
    Literal["regression", "none"],
    Field(
        description="What the networks start from: a linear regression of parameters on the numbers of x, "
        "whose predictions also stand beside the summaries. Where x is a series, an image or a set, or has "
        "missing numbers, or a parameter is discrete, it is `none`."
    ),
]

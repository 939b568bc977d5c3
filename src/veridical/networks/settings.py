"""Settings of networks: the transform of x, summary networks, the flow."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from veridical.sections import Section, Width, Widths


class InputsSettings(Section):
    """What happens to x before it is standardised and enters the network."""

    transform: Literal["none", "log", "asinh"] = Field(
        default="none", description="Applied to every number of x; `log` needs positive data."
    )


class MLPSummarySettings(Section):
    """A dense network on all numbers of x."""

    type: Literal["mlp"] = "mlp"
    hidden: Widths = Field(default=[128, 128], description="Widths of the hidden layers.")
    features: Width = Field(default=32, description="Number of summaries.")


class ConvSummarySettings(Section):
    """Convolutions along the first axis of x, each halving its length, then a dense network."""

    type: Literal["conv"] = "conv"
    channels: Widths = Field(default=[32, 64], min_length=1, description="Channels of the convolutions.")
    kernel: Annotated[int, Field(ge=1, le=101)] = Field(default=5, description="Length of the kernels.")
    hidden: Widths = Field(default=[128], description="Widths of the hidden dense layers.")
    features: Width = Field(default=32, description="Number of summaries.")


class GRUSummarySettings(Section):
    """A recurrent network along the first axis of x; its last state, then a dense network."""

    type: Literal["gru"] = "gru"
    state: Width = Field(default=64, description="Size of the recurrent state.")
    layers: Annotated[int, Field(ge=1, le=8)] = Field(default=1, description="Number of recurrent layers.")
    hidden: Widths = Field(default=[64], description="Widths of the hidden dense layers.")
    features: Width = Field(default=32, description="Number of summaries.")


class DeepSetSummarySettings(Section):
    """For exchangeable rows of x: a dense network per row, their mean, another dense network."""

    type: Literal["deepset"] = "deepset"
    element: Widths = Field(
        default=[64, 64], min_length=1, description="Widths of the layers applied to each row."
    )
    hidden: Widths = Field(default=[64], description="Widths of the hidden layers applied to the mean.")
    features: Width = Field(default=32, description="Number of summaries.")


class NoSummarySettings(Section):
    """No summary network: the flow sees all numbers of x."""

    type: Literal["none"] = "none"


def _typed(summary: object) -> object:
    """Lets a summary without `type` be of the default type."""
    return {"type": MLPSummarySettings().type, **summary} if isinstance(summary, dict) else summary


SummarySettings = Annotated[
    MLPSummarySettings
    | ConvSummarySettings
    | GRUSummarySettings
    | DeepSetSummarySettings
    | NoSummarySettings,
    Field(discriminator="type"),
    BeforeValidator(_typed),
]


class FlowSettings(Section):
    """The neural spline flow."""

    affine: bool = Field(default=True, description="A conditional shift and scale before the splines.")
    transforms: Annotated[int, Field(ge=1, le=32)] = Field(
        default=3, description="Number of spline transforms."
    )
    bins: Annotated[int, Field(ge=2, le=64)] = Field(default=8, description="Bins of each spline.")
    hidden: Widths = Field(
        default=[64, 64], min_length=1, description="Widths of each transform's hidden layers."
    )

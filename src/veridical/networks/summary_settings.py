"""Settings of summary networks of elements along an axis: attention, and energy flow."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from veridical.sections import Section, Width, Widths

Axis = Annotated[int, Field(ge=0, le=31)]
Entry = Annotated[int, Field(ge=0)] | Annotated[str, Field(min_length=1)]
Heads = Annotated[int, Field(ge=1, le=64, description="Heads of each attention, which share its width.")]
Blocks = Annotated[int, Field(ge=0, le=16)]


class SummarySection(Section):
    """Base of summary networks' settings."""

    @property
    def exchangeable(self) -> bool:
        """Whether it takes the entries along its axis for exchangeable."""
        return False

    @property
    def stackable(self) -> bool:
        """Whether members of an ensemble can be trained in one stack."""
        return True

    @property
    def linear(self) -> bool:
        """Whether it wants numbers of x as they are, up to their scale."""
        return False


class _Attention(SummarySection):
    """What both networks of attention have."""

    width: Width = Field(default=32, description="Width of the elements inside.")
    heads: Heads = 4

    @model_validator(mode="after")
    def _shared(self) -> _Attention:
        if self.width % self.heads:
            raise ValueError(f"width: expected a multiple of the {self.heads} heads, got {self.width}")
        return self


class SetTransformerSummarySettings(_Attention):
    """For exchangeable rows of x: attention among them, then of learned queries to them."""

    type: Literal["set_transformer"] = "set_transformer"
    blocks: Blocks = Field(default=2, description="Times that all rows look at each other.")
    inducing: Annotated[int, Field(ge=0, le=1024)] | None = Field(
        default=None,
        description="Learned points by way of which they do, so that the cost grows with the number of rows; "
        "0: directly, so that it grows with the square. Where not given, 0 up to 32 rows, and 16 above.",
    )
    seeds: Annotated[int, Field(ge=1, le=64)] = Field(default=1, description="Queries that pool the rows.")
    axis: Axis | None = Field(
        default=None,
        description="Axis of x whose entries are exchangeable, from 0; else the one declared, or the first.",
    )
    hidden: Widths = Field(default=[64], description="Widths of the hidden dense layers behind.")
    features: Width = Field(default=32, description="Number of summaries.")

    @property
    def exchangeable(self) -> bool:
        """True."""
        return True


class TransformerSummarySettings(_Attention):
    """Attention among the steps along one axis of x, then of one learned query to them."""

    type: Literal["transformer"] = "transformer"
    blocks: Blocks = Field(default=2, description="Times that all steps look at each other.")
    kernel: Annotated[int, Field(ge=1, le=101)] = Field(
        default=3, description="Steps that one element sees from the start."
    )
    patch: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        default=None,
        description="Steps from one element to the next; where not given, as many as leave 64 or fewer.",
    )
    times: Entry | None = Field(
        default=None,
        description="Entry along the other axis of x that holds the time of each step, by name or from 0, "
        "where times differ between rows; else steps are evenly spaced.",
    )
    axis: Axis | None = Field(
        default=None, description="Axis of x that is the series, from 0; else the one declared, or the first."
    )
    hidden: Widths = Field(default=[64], description="Widths of the hidden dense layers behind.")
    features: Width = Field(default=32, description="Number of summaries.")


class EnergyFlowSummarySettings(SummarySection):
    """For particles: a dense network of directions, its sum weighted by energies, another dense network."""

    type: Literal["energy_flow"] = "energy_flow"
    energy: Entry = Field(
        description="Entry along the other axis of x that is the energy (or transverse momentum), by name or "
        "from 0; all others are taken for the direction."
    )
    element: Widths = Field(
        default=[64, 64], min_length=1, description="Widths of the layers applied to each direction."
    )
    axis: Axis | None = Field(
        default=None, description="Axis of x along which particles lie; else the one declared, or the first."
    )
    hidden: Widths = Field(default=[64], description="Widths of the hidden layers applied to the sum.")
    features: Width = Field(default=32, description="Number of summaries.")

    @property
    def exchangeable(self) -> bool:
        """True."""
        return True

    @property
    def linear(self) -> bool:
        """True: what a logarithm makes of an energy does not add up."""
        return True

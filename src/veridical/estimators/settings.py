"""Settings of estimators: the one place of their defaults, ranges and descriptions."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Width = Annotated[int, Field(ge=1, le=8192)]
Widths = Annotated[list[Width], Field(max_length=16)]
Budgets = Annotated[
    list[Annotated[int, Field(ge=1)]], Field(min_length=1), AfterValidator(lambda budgets: _growing(budgets))
]


def _growing(budgets: list[int]) -> list[int]:
    if budgets != sorted(set(budgets)):
        raise ValueError("budgets must grow from first to last")
    return budgets


class Section(BaseModel):
    """Base of the sections of methods: unknown keys are refused and values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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


class TrainingSettings(Section):
    """How a network is trained."""

    epochs: Annotated[int, Field(ge=1)] = Field(
        default=25, description="Passes over the training rows, at most."
    )
    max_steps: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Optimiser steps, at most: larger budgets then take fewer epochs."
    )
    batch_size: Annotated[int, Field(ge=1)] = Field(default=256, description="Rows per optimiser step.")
    learning_rate: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1e-2, description="Learning rate: the peak of the one cycle, or constant."
    )
    schedule: Literal["one_cycle", "constant"] = Field(
        default="one_cycle",
        description="Course of the learning rate; `constant`, with patience, for fine-tuning and few rows.",
    )
    warmup: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.2, description="Share of the steps before the peak of the one cycle."
    )
    clip: Annotated[float, Field(gt=0)] = Field(default=5.0, description="Largest norm of the gradient.")
    rounds: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=20,
        description="Looks at the validation loss, at least (one per epoch where there are more epochs).",
    )
    patience: Annotated[int, Field(ge=1)] = Field(
        default=10, description="Looks without a better validation loss before training stops early."
    )
    validation_rows: Annotated[int, Field(ge=1)] = Field(
        default=10_000, description="Validation rows that a look uses, at most (the first ones)."
    )
    threads: Annotated[int, Field(ge=1, le=256)] = Field(
        default=1, description="CPU threads; results are bit-identical at an equal number."
    )
    accelerator: Literal["auto", "cpu", "gpu"] = Field(
        default="auto", description="`auto` takes a GPU where there is one."
    )


class NPESettings(Section):
    """Neural posterior estimation: a summary network and a neural spline flow."""

    simulations: ClassVar[bool] = True
    calibration: ClassVar[bool] = False

    type: Literal["npe"] = "npe"
    fidelity: str | None = Field(
        default=None, description="Fidelity it trains on; where not given, the dearest."
    )
    start: str | None = Field(
        default=None,
        description="Another method, of equal networks, with whose weights it begins; chains are allowed.",
    )
    standardise: Literal["refit", "pooled", "kept"] = Field(
        default="refit",
        description="Mean and scale of x with `start`: own rows', both with equal weight, the other's.",
    )
    budgets: Budgets | None = Field(
        default=None, description="Budgets of this method, where they are not those of the study."
    )
    permuted: bool = Field(
        default=False, description="Negative control: parameters shuffled against x, so that x tells nothing."
    )
    inputs: InputsSettings = InputsSettings()
    summary: SummarySettings = Field(default_factory=MLPSummarySettings)
    flow: FlowSettings = FlowSettings()
    training: TrainingSettings = TrainingSettings()


class EnsembleSettings(Section):
    """Independently seeded posteriors on the same rows; their mixture with equal weights."""

    simulations: ClassVar[bool] = True
    calibration: ClassVar[bool] = False

    type: Literal["ensemble"] = "ensemble"
    members: Annotated[int, Field(ge=1, le=1000)] = Field(default=5, description="Number of members M.")
    member: NPESettings = Field(default=NPESettings(), description="Settings of each member.")
    start: str | None = Field(
        default=None,
        description="An ensemble of as many members, or one `npe`, with whose weights the members begin.",
    )
    budgets: Budgets | None = Field(
        default=None, description="Budgets of this method, where they are not those of the study."
    )
    stacked: bool | None = Field(
        default=None,
        description="Members trained together in one loop, or one by one; where not given, together if that "
        "is faster (small batches, any GPU).",
    )

    @property
    def fidelity(self) -> str | None:
        """Fidelity it trains on; the dearest where None."""
        return self.member.fidelity

    @model_validator(mode="after")
    def _own_keys(self) -> EnsembleSettings:
        for name in ("start", "budgets"):
            if getattr(self.member, name) is not None:
                raise ValueError(f"`{name}` belongs to the ensemble, not to its `member`")
        return self

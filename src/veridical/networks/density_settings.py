"""Settings of the densities behind a summary network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator, Field

from veridical.sections import Section, Width, Widths

Hidden = Annotated[
    Widths,
    Field(default_factory=lambda: [64, 64], min_length=1, description="Widths of each network's layers."),
]
Transforms = Annotated[int, Field(ge=1, le=32)]
FieldWidth = Annotated[Width, Field(description="Width of the residual network that knows the time.")]
Blocks = Annotated[int, Field(ge=1, le=16, description="Residual blocks of the network.")]
DrawSteps = Annotated[int, Field(ge=1, le=1000)]


class DensitySettings(Section):
    """Base of the densities behind a summary network.

    Attributes:
        training: Settings of the training that suit it better than the defaults, where a study says nothing.
        invertible: Whether it maps normal numbers one to one, and knows the way back.
        by_density: Whether its loss is its negative log density, and no stand-in for it.
    """

    training: ClassVar[Mapping[str, Any]] = {}
    invertible: ClassVar[bool] = False
    by_density: ClassVar[bool] = True

    @property
    def has_density(self) -> bool:
        """Whether it knows its density, or gives draws alone."""
        return True


class SplineFlowSettings(DensitySettings):
    """An autoregressive flow of splines."""

    invertible: ClassVar[bool] = True

    type: Literal["spline"] = "spline"
    affine: bool = Field(default=True, description="A conditional shift and scale before the splines.")
    transforms: Transforms = Field(default=3, description="Number of spline transforms.")
    bins: Annotated[int, Field(ge=2, le=64)] = Field(default=8, description="Bins of each spline.")
    hidden: Widths = Field(
        default=[64, 64], min_length=1, description="Widths of each transform's hidden layers."
    )


class MAFSettings(DensitySettings):
    """An autoregressive flow of shifts and scales."""

    invertible: ClassVar[bool] = True

    type: Literal["maf"] = "maf"
    transforms: Transforms = Field(default=5, description="Number of transforms.")
    hidden: Hidden


class CouplingSettings(DensitySettings):
    """Affine couplings: each shifts and scales some parameters given the others; one pass both ways."""

    invertible: ClassVar[bool] = True

    type: Literal["coupling"] = "coupling"
    transforms: Transforms = Field(default=8, description="Number of couplings.")
    hidden: Hidden


class MixtureSettings(DensitySettings):
    """A mixture of normal distributions with full covariance."""

    type: Literal["mixture"] = "mixture"
    training: ClassVar = {"epochs": 60, "learning_rate": 5e-3, "patience": 10_000}
    components: Annotated[int, Field(ge=1, le=256)] = Field(default=16, description="Number of components.")
    hidden: Hidden


class FlowMatchingSettings(DensitySettings):
    """Flow matching: a field along which noise flows to parameters."""

    by_density: ClassVar[bool] = False

    type: Literal["flow_matching"] = "flow_matching"
    training: ClassVar = {
        "epochs": 60,
        "learning_rate": 2e-3,
        "warmup": 0.1,
        "patience": 10_000,
        "weight_decay": 0.0,
    }
    width: FieldWidth = 128
    blocks: Blocks = 3
    steps: DrawSteps = Field(default=10, description="Steps of a draw, four evaluations each.")


class DiffusionSettings(DensitySettings):
    """Score-based diffusion: a network that takes noise off parameters."""

    by_density: ClassVar[bool] = False

    type: Literal["diffusion"] = "diffusion"
    training: ClassVar = FlowMatchingSettings.training
    width: FieldWidth = 128
    blocks: Blocks = 3
    steps: DrawSteps | None = Field(
        default=None,
        description="Steps of a draw; where not given, 10 of four evaluations by `ode`, 100 of one by `sde`.",
    )
    sampler: Literal["ode", "sde"] = Field(
        default="ode", description="Draws by the ordinary equation, or stochastic ones, without a density."
    )

    @property
    def has_density(self) -> bool:
        """Whether draws follow the ordinary equation."""
        return self.sampler == "ode"


class ConsistencySettings(DensitySettings):
    """A consistency model: jumps from noise to parameters, in a few steps and without a density."""

    by_density: ClassVar[bool] = False

    type: Literal["consistency"] = "consistency"
    training: ClassVar = {**FlowMatchingSettings.training, "epochs": 120}
    width: FieldWidth = 128
    blocks: Blocks = 3
    sizes: Annotated[int, Field(ge=2, le=1000)] = Field(
        default=20, description="Steps between the sizes of noise in training."
    )
    steps: DrawSteps = Field(default=10, description="Steps of a draw, one evaluation each.")

    @property
    def has_density(self) -> bool:
        """False: it gives draws alone."""
        return False


def _a_flow(flow: object) -> object:
    """Lets a flow be a type alone, and one without `type` a spline flow."""
    if isinstance(flow, str):
        return {"type": flow}
    return {"type": SplineFlowSettings().type, **flow} if isinstance(flow, dict) else flow


_AnyFlow = (
    SplineFlowSettings
    | MAFSettings
    | CouplingSettings
    | MixtureSettings
    | FlowMatchingSettings
    | DiffusionSettings
    | ConsistencySettings
)
LikelihoodFlow = Annotated[
    SplineFlowSettings | MAFSettings | CouplingSettings | MixtureSettings,
    Field(discriminator="type"),
    BeforeValidator(_a_flow, json_schema_input_type=str | _AnyFlow),
]
TRAINING = {kind.model_fields["type"].default: kind.training for kind in get_args(_AnyFlow)}
FlowSettings = Annotated[
    _AnyFlow, Field(discriminator="type"), BeforeValidator(_a_flow, json_schema_input_type=str | _AnyFlow)
]

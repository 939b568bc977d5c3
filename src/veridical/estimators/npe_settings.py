"""Settings of neural posterior estimation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from veridical.estimators.settings import MethodSettings, TrainedSettings
from veridical.networks.density_settings import TRAINING, FlowSettings, SplineFlowSettings
from veridical.networks.settings import AutoSummarySettings, BaseSettings, InputsSettings, SummarySettings
from veridical.sections import Fidelity, OwnBudgets
from veridical.training.settings import TrainingSettings


class PosteriorSettings(TrainedSettings):
    """Base for posteriors by a transform of x, a summary network and a flow."""

    architecture: ClassVar[tuple[str, ...]] = ("inputs", "summary", "flow", "base")
    gives: ClassVar[tuple[str, ...]] = ("summaries", "weights", "encoder")
    takes_missing: ClassVar[bool] = True

    if TYPE_CHECKING:
        inputs: InputsSettings
        summary: Any
        flow: Any
        base: str

    @model_validator(mode="before")
    @classmethod
    def _training_of_flow(cls, given: Any) -> Any:
        """Fills in the settings of the training that suit the flow, where nothing else is said."""
        if not isinstance(given, dict) or "training" not in cls.model_fields:
            return given
        flow, training = given.get("flow"), given.get("training", {})
        kind = flow.get("type") if isinstance(flow, dict) else getattr(flow, "type", flow)
        suited = dict(TRAINING.get(kind, {})) if isinstance(kind, str) else {}
        if given.get("start"):  # weights that another method has learned need not begin to decay
            suited["weight_decay"] = 0.0
        return (
            {**given, "training": {**suited, **training}} if suited and isinstance(training, dict) else given
        )

    @model_validator(mode="after")
    def _as_they_are(self) -> PosteriorSettings:
        """Refuses a transform of x that its summary network cannot do with."""
        summary, kind = self.setting("summary"), self.network.inputs.transform
        augment = getattr(getattr(self.network, "training", None), "augment", None)
        wanted = getattr(augment, "wants", (kind,))
        if kind not in wanted:
            name = getattr(augment, "type", "")
            raise ValueError(f"training.augment: `{name}` wants `inputs.transform: {' or '.join(wanted)}`")
        if summary is not None and summary.linear and kind not in ("none", "auto"):
            raise ValueError(f"inputs.transform: `energy_flow` wants energies that add up, not their {kind}")
        return self

    @property
    def has_density(self) -> bool:
        """Whether it knows the densities of its answers, or gives draws alone."""
        return self.network.flow.has_density

    def offers(self, what: str) -> bool:
        """Returns whether it gives this: an encoder only where it has a summary network."""
        return super().offers(what) and not (what == "encoder" and self.network.summary.type == "none")

    def misfit(self, parent: MethodSettings, name: str) -> str | None:
        """Returns why it cannot begin with the weights of a method, if so: they fit equal networks only."""
        for part in self.architecture:
            if getattr(self.network, part) != getattr(parent.setting("network"), part):
                return f"its weights begin as those of {name!r}, but `{part}` differs; give both the same."
        own, theirs = self.setting("members"), parent.setting("members")
        if None in (own, theirs) or own == theirs:
            return None
        return f"{name!r} has {theirs} members, not {own}; give both as many."


class NPESettings(PosteriorSettings):
    """Neural posterior estimation: a summary network and a density behind it, by default a spline flow."""

    code: ClassVar[str] = "veridical.estimators.npe:NPE"
    builds_on: ClassVar[tuple[str, ...]] = ("weights",)
    refuses: ClassVar = {}
    distorts: ClassVar[bool] = True

    type: Literal["npe"] = "npe"
    fidelity: Fidelity = None
    start: str | None = Field(
        default=None,
        description="Another method, of equal networks, with whose weights it begins; chains are allowed.",
    )
    standardise: Literal["refit", "pooled", "kept"] = Field(
        default="refit",
        description="Mean and scale of x with `start`: own rows', both with equal weight, the other's.",
    )
    budgets: OwnBudgets = None
    permuted: bool = Field(
        default=False, description="Negative control: parameters shuffled against x, so that x tells nothing."
    )
    inputs: InputsSettings = InputsSettings()
    summary: SummarySettings = Field(default_factory=AutoSummarySettings)
    flow: FlowSettings = Field(default_factory=SplineFlowSettings)
    base: BaseSettings = "regression"
    training: TrainingSettings = TrainingSettings()

    @model_validator(mode="after")
    def _permuted_in_memory(self) -> NPESettings:
        if self.permuted and self.training.streaming:
            raise ValueError("training.streaming: not with `permuted`, which needs all rows at once")
        return self

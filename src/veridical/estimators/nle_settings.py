"""Settings of neural likelihood estimation, and what it shares with that of ratios."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from veridical.estimators.settings import TrainedSettings
from veridical.inference.settings import SamplingSettings
from veridical.networks.density_settings import LikelihoodFlow, SplineFlowSettings
from veridical.networks.settings import Axis, InputsSettings
from veridical.sections import Fidelity, OwnBudgets
from veridical.training.score_weight_settings import ScoreSettings
from veridical.training.settings import DECAY, Decay, TrainingSettings

if TYPE_CHECKING:
    from veridical.estimators.base import TaskInfo

SCORES = (
    "Whether its slopes in the parameters are held against the scores of the simulations, which the task "
    "then has to keep, and how these are weighed: a type, or a section."
)
MOST_NUMBERS = 30  # in x, of which a density is learned as they are


class LikelihoodTrainingSettings(TrainingSettings):
    """How likelihoods and ratios are trained: as posteriors, without decay of the weights."""

    weight_decay: Decay = Field(default=0.0, description=f"{DECAY}.")


class LikelihoodSettings(TrainedSettings):
    """Base for methods that know a likelihood up to a constant, and draw from its posterior."""

    gives: ClassVar[tuple[str, ...]] = ("summaries", "likelihood")
    discrete: ClassVar[bool] = False
    sampled: ClassVar[bool] = True

    if TYPE_CHECKING:
        inputs: InputsSettings
        independent: int | None
        sampling: SamplingSettings

    @property
    def exchangeable(self) -> int | None:
        """Axis of an element of x whose entries its summary network takes for exchangeable, if any."""
        summary = self.setting("summary")
        axis: int | None = summary.axis if summary and summary.type == "deepset" else None
        return axis

    def unsuited(self, task: TaskInfo) -> str | None:
        """Returns what keeps it from a task: an axis that x has not, or too few walkers."""
        if self.independent is not None and self.independent >= len(task.x_shape):
            return (
                f"x of shape {task.x_shape} has no axis {self.independent}, which `independent` names; they "
                "count from 0."
            )
        least = 4 * len(task.cells)
        if self.sampling.walkers < least:
            return (
                f"sampling.walkers: task {task.name} has {len(task.cells)} numbers to sample; expected at "
                f"least {least} walkers, got {self.sampling.walkers}."
            )
        return None

    @property
    def learns_scores(self) -> bool:
        """Whether it asks for the scores of its simulations."""
        return self.setting("scores") is not None

    @model_validator(mode="after")
    def _scores_suit(self) -> Self:
        """Refuses what does not go with scores."""
        if self.learns_scores and self.independent is not None:
            raise ValueError("scores: not with `independent`, for a simulation has one score as a whole")
        if self.learns_scores and self.setting("training").captured:
            raise ValueError("scores: not with training.captured, for steps that set weights differ")
        return self

    @property
    def may_refuse(self) -> bool:
        """Whether it draws by weights, which may fail."""
        return self.sampling.by == "importance"

    @property
    def has_density(self) -> bool:
        """False: the densities of its answers lack their constants."""
        return False


class NLESettings(LikelihoodSettings):
    """Neural likelihood estimation: a density of x given the parameters, whose posterior chains draw."""

    code: ClassVar[str] = "veridical.estimators.nle:NLE"
    gives: ClassVar[tuple[str, ...]] = (*LikelihoodSettings.gives, "density of data")
    refuses: ClassVar = {
        **TrainedSettings.refuses,
        "augment": "it would learn a wider density",
    }
    type: Literal["nle"] = "nle"
    fidelity: Fidelity = None
    budgets: OwnBudgets = None
    inputs: InputsSettings = InputsSettings()
    independent: Axis | None = Field(
        default=None,
        description="Axis of x, from 0, along which entries are independent and alike given the parameters: "
        "one density for each, whose logarithms add.",
    )
    counts: bool | None = Field(
        default=None,
        description="Whether x holds whole numbers, which uniform noise of one unit then makes continuous; "
        "where not given, those numbers of x that are whole in all training rows.",
    )
    most_numbers: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None,
        description="How many numbers x may hold, whose density is learned as they are, those of series and "
        "images included; where not given, 30 without order.",
    )
    flow: LikelihoodFlow = Field(default_factory=SplineFlowSettings)
    scores: ScoreSettings | None = Field(default=None, description=SCORES)
    training: LikelihoodTrainingSettings = LikelihoodTrainingSettings()
    sampling: SamplingSettings = SamplingSettings()

    def unsuited(self, task: TaskInfo) -> str | None:
        """Returns what keeps it from a task: x that holds too much for a density of it, too."""
        numbers = prod(n for axis, n in enumerate(task.x_shape) if axis != self.independent)
        most, kinds = self.most_numbers or MOST_NUMBERS, {"series", "image"} & {*task.axes}
        if numbers <= most and (self.most_numbers or not kinds):
            return super().unsuited(task)
        what = f"{numbers} numbers" if numbers > most else f"a {kinds.pop()}"
        return (
            f"x of task {task.name} holds {what}; expected at most {most} numbers without order, for it "
            "learns their density. Take an `nre`, whose network summarises x, or give the task summary "
            "statistics for x; where entries are independent given the parameters, name their axis as "
            "`independent`; where so many numbers have a density that is easily learned, say so as "
            "`most_numbers`."
        )

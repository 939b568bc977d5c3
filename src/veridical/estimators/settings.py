"""What the settings of a method state about it: studies, plans and other methods look nowhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import model_validator

from veridical.sections import Section

if TYPE_CHECKING:
    from veridical.estimators.base import TaskInfo


class MethodSettings(Section):
    """Base of the settings of methods, estimators and remedies alike.

    Some settings mean the same wherever a method has them: `fidelity` and `budgets` of its simulations,
    `members`, `threads` and `gpus` of its jobs, the method that it builds on, `start` (whose weights it
    begins with) or `of` (which it wraps), others that it asks `beside` that, the one whose `likelihood` it
    asks, and the real data without labels, `unlabelled` and `unlabelled_rows`, that it learns from.

    Attributes:
        code: Its class, as `module:Class`, which is imported on use.
        answers: What it gives: a `posterior`, an `estimate` of a fraction, or `functions` for others alone.
        learns: What it learns from: `simulations` of its fidelity, `calibration` pairs, events of `classes`.
        gives: What checks and other methods may ask of it: `summaries` of data, `weights` to begin with,
            those of `members`, an `encoder` of simulations, a `tuned encoder` of real data, `functions` of
            events, a `likelihood` of data or a `density of data` itself, `answers apart` to the pairs that it
            learned from by what has not.
        discrete: Whether it can answer for parameters that take values of a list.
        builds_on: Of these, what the method that it builds on must give one of; empty where any will do.
        asks_apart: Whether it asks what it builds on about the labelled pairs, which must not have learned
            from them then, or give `answers apart`.
        takes_missing: Whether it takes x with missing numbers (NaN) and learns from which are there.
        mends_missing: For messages: what would make it take them, where anything would.
        sampled: Whether each answer costs chains or weights of its own, tens of thousands of evaluations.
        coupled: Whether simulations of these have to share their random numbers with those of its own.
        as_parent: Whether it leaves data and networks of what it wraps as they are, so that it has the same
            summaries, is for the same data, and so on.
    """

    code: ClassVar[str]
    answers: ClassVar[Literal["posterior", "estimate", "functions"]] = "posterior"
    learns: ClassVar[tuple[str, ...]] = ("simulations",)
    gives: ClassVar[tuple[str, ...]] = ()
    builds_on: ClassVar[tuple[str, ...]] = ()
    asks_apart: ClassVar[bool] = False
    takes_missing: ClassVar[bool] = False
    mends_missing: ClassVar[str] = ""
    discrete: ClassVar[bool] = True
    coupled: ClassVar[bool] = False
    as_parent: ClassVar[bool] = False
    sampled: ClassVar[bool] = False

    if TYPE_CHECKING:
        type: str

    def setting(self, name: str) -> Any:
        """Returns one of the settings that not every method has; None where this one has not."""
        return getattr(self, name, None)

    @property
    def has_density(self) -> bool | None:
        """Whether it knows the densities of its answers, or gives draws alone; None: as what it wraps."""
        return True

    @property
    def needs_density(self) -> bool:
        """Whether what it wraps has to know its densities."""
        return False

    @property
    def may_refuse(self) -> bool:
        """Whether it leaves observations unanswered that it cannot answer well."""
        return False

    @property
    def needs_likelihood(self) -> bool:
        """Whether it asks the exact likelihood of the task."""
        return False

    @property
    def amortised(self) -> bool:
        """Whether its answer to one data set is the same whatever it is asked beside it."""
        return True

    @property
    def local(self) -> bool:
        """Whether it answers for one data set alone, so that nothing on simulated data can judge it."""
        return bool(self.round_rows)

    @property
    def parent(self) -> str | None:
        """Name of the method that it builds on; None for most."""
        return self.setting("of") or self.setting("start")

    @property
    def others(self) -> list[str]:
        """Names of methods that it asks beside the one that it builds on; none for most."""
        return list(self.setting("beside") or [])

    @property
    def weighed_by(self) -> str | None:
        """Name of the method whose learned likelihood it asks; None for most."""
        return self.setting("likelihood")

    def learns_from(self, *what: str) -> bool:
        """Returns whether it learns from any of these."""
        return not {*what}.isdisjoint(self.learns)

    def offers(self, what: str) -> bool:
        """Returns whether it gives this, with the settings as they are."""
        return what in self.gives

    def misfit(self, parent: MethodSettings, name: str) -> str | None:
        """Returns what keeps it from building on a method of this name, if anything; None if they fit."""
        return None

    def unsuited(self, task: TaskInfo) -> str | None:
        """Returns what keeps it from answering for a task, if anything."""
        return None

    def levels(self, classes: Sequence[str]) -> list[str]:
        """Returns the levels of a task with classes that it learns from: nature's, unless it names others."""
        return list(classes)

    @property
    def fresh_rows(self) -> int:
        """Rows of the split `fit` that a remedy learns from; 0 for most."""
        return 0

    @property
    def lower_rows(self) -> Mapping[str, int]:
        """Rows of each cheaper fidelity that it learns from beside those of its own; empty for most."""
        return {}

    @property
    def round_rows(self) -> list[int]:
        """Rows of each round of a method that learns in rounds, the first from the bank; empty for most."""
        return []

    @property
    def job_threads(self) -> int:
        """CPU threads of its training."""
        return int(self.setting("threads") or 1)

    @property
    def job_gpus(self) -> int:
        """GPUs of its training."""
        return int(self.setting("gpus") or 0)

    @property
    def streaming(self) -> int | Literal["online"] | None:
        """MB of its simulations that its training holds at once; None for all of them; or `online`."""
        return None

    @property
    def learns_scores(self) -> bool:
        """Whether it asks for the scores of its simulations beside parameters and x."""
        return False

    def visits(self, rows: int) -> float:
        """Returns how many rows its training sees in all, given so many: what its time grows with."""
        return float(rows)

    def unstored_rows(self, budget: int) -> int:
        """Returns how many rows its training simulates itself at most, beside so many of the bank."""
        return 0


class TrainedSettings(MethodSettings):
    """Base for methods that have a `network`, or several alike, trained as a section `training` says.

    Attributes:
        refuses: Settings of that section that do not suit the method, and why.
        distorts: Whether its training may distort x, beyond noise of one width.
    """

    refuses: ClassVar[Mapping[str, str]] = {"streaming": "it needs all rows in memory at once"}
    distorts: ClassVar[bool] = False

    @model_validator(mode="after")
    def _training_suits(self) -> Self:
        """Refuses settings of the training that do not suit the method."""
        for name, why in self.refuses.items():
            if getattr(self.network.training, name, None):
                raise ValueError(f"training.{name}: not for a method of type {self.type!r}, for {why}")
        kind = getattr(getattr(self.network.training, "augment", None), "type", None)
        if kind and not self.distorts:
            raise ValueError(f"training.augment: {kind} is for an `npe` or `ensemble`; take a number here")
        return self

    @property
    def network(self) -> Any:
        """The settings of one of its networks."""
        return self

    @property
    def streaming(self) -> int | Literal["online"] | None:
        """MB of its simulations that its training holds at once; None for all of them; or `online`."""
        found: int | Literal["online"] | None = getattr(self.network.training, "streaming", None)
        return found

    @property
    def job_threads(self) -> int:
        """CPU threads of its training."""
        return int(self.network.training.threads)

    @property
    def job_gpus(self) -> int:
        """GPUs of its training: the few labelled pairs that some methods learn from are not worth one."""
        accelerator = self.network.training.accelerator
        many = self.learns_from("simulations", "classes")
        return int(accelerator == "gpu" or (accelerator == "auto" and many))

    def visits(self, rows: int) -> float:
        """Returns how many rows its training sees in all, by all members."""
        return float(self.network.training.visits(rows) * (self.setting("members") or 1))

    def unstored_rows(self, budget: int) -> int:
        """Returns how many rows its training simulates itself at most, beside so many of the bank."""
        return int(self.network.training.visits(budget)) - budget if self.streaming == "online" else 0

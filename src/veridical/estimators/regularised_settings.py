"""Settings of neural posterior estimation with a regulariser, most of them on unlabelled real data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from veridical.estimators.npe_settings import NPESettings
from veridical.training.regulariser_settings import AnyRegulariser

if TYPE_CHECKING:
    from veridical.estimators.base import TaskInfo

TRACTABLE = ("spline", "maf", "coupling", "mixture")  # flows with a density and its gradient at one call


class RegularisedSettings(NPESettings):
    """Neural posterior estimation with one more term in its loss, about real data without labels."""

    code: ClassVar[str] = "veridical.estimators.regularised:Regularised"
    refuses: ClassVar = {"captured": "its regulariser draws random numbers"}

    type: Literal["regularised"] = "regularised"  # type: ignore[assignment]
    regulariser: AnyRegulariser = Field(description="The term.")
    unlabelled: str | None = Field(
        default=None,
        description="The data set of `observations` that it is about; or `real`, for rows of that level that "
        "serve nothing else and whose parameters no method sees.",
    )
    unlabelled_rows: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=200, description="How many of them, at most: the first ones."
    )
    likelihood: str | None = Field(
        default=None,
        description="The `nle` or `nre` that `self_consistency` asks; the task's exact likelihood where not "
        "given.",
    )

    @model_validator(mode="before")
    @classmethod
    def _no_regression_beside(cls, given: Any) -> Any:
        """Has no regression beside summaries that a regulariser moves, where nothing else is said."""
        own = given.get("regulariser") if isinstance(given, dict) else None
        kind = own.get("type") if isinstance(own, dict) else getattr(own, "type", None)
        return given if kind in (None, "self_consistency") else {"base": "none", **given}

    @model_validator(mode="after")
    def _whole(self) -> RegularisedSettings:
        """Refuses what a regulariser cannot do with."""
        own = self.regulariser
        if own.unlabelled != (self.unlabelled is not None):
            wanted = "names the real data that it is about" if own.unlabelled else "belongs to other types"
            raise ValueError(f"unlabelled: with a regulariser of type {own.type!r} it {wanted}")
        if own.likelihood and self.flow.type not in TRACTABLE:
            raise ValueError(f"flow: {own.type} differentiates densities; take one of {', '.join(TRACTABLE)}")
        if self.likelihood and not own.likelihood:
            raise ValueError(f"likelihood: a regulariser of type {own.type!r} asks none")
        if not own.likelihood and self.base == "regression":
            raise ValueError(
                f"base: {own.type} moves summaries, beside which a regression stays; take `none`"
            )
        if not own.likelihood and self.summary.type == "none":
            raise ValueError(f"summary: {own.type} moves summaries; take a network, such as `mlp`")
        return self

    @property
    def needs_likelihood(self) -> bool:
        """Self-consistency asks the task's likelihood, unless it is told another one."""
        return self.regulariser.likelihood and self.likelihood is None

    def unsuited(self, task: TaskInfo) -> str | None:
        """Returns what keeps it from answering for a task, if anything."""
        if self.regulariser.likelihood and any(task.cells):
            return (
                "self-consistency differentiates densities, which discrete parameters have none of; use `mmd`"
            )
        return None

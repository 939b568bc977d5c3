"""Settings of w_i f_i ensembles."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from veridical.estimators.settings import MethodSettings


class WifiSettings(MethodSettings):
    """A log density ratio as a weighted sum of the frozen members of `of`, with the error of its weights."""

    code: ClassVar[str] = "veridical.remedies.wifi:Wifi"
    answers: ClassVar = "estimate"
    learns: ClassVar[tuple[str, ...]] = ("classes",)
    takes_missing: ClassVar[bool] = True
    builds_on: ClassVar[tuple[str, ...]] = ("functions",)

    type: Literal["wifi"] = "wifi"
    of: str = Field(description="The ensemble of density ratios.")
    weights: Literal["fitted", "mean", "mean_constant", "single"] = Field(
        default="fitted",
        description="`fitted` to events of their own; for comparison `mean` of the members, `mean_constant`, "
        "which adds a fitted constant, and `single`, the first member. `mean` and `single` state no error.",
    )
    loss: Literal["mlc", "bce"] = Field(default="mlc", description="Loss that the weights minimise.")
    ridge: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0,
        description="Ridge relative to the mean diagonal of the Hessian; more only where that is singular.",
    )
    bias_correction: bool = Field(
        default=False, description="Whether the second-order bias is subtracted from fractions and intervals."
    )
    fit_rows: Annotated[int, Field(ge=10)] = Field(
        default=25_000,
        description="Events of each class, of the split `fit`, that the weights are fitted to.",
    )

    @property
    def fresh_rows(self) -> int:
        """Rows of the split `fit` that it learns from."""
        return self.fit_rows

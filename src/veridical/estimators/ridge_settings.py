"""Settings of a Gaussian posterior by ridge regression."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from veridical.estimators.settings import MethodSettings
from veridical.networks.settings import InputsSettings
from veridical.sections import Positive


class RidgeSettings(MethodSettings):
    """Ridge regression on calibration pairs alone, with normal residuals."""

    code: ClassVar[str] = "veridical.estimators.ridge:Ridge"
    learns: ClassVar[tuple[str, ...]] = ("calibration",)
    gives: ClassVar[tuple[str, ...]] = ("answers apart",)
    discrete: ClassVar[bool] = False
    type: Literal["ridge"] = "ridge"
    inputs: InputsSettings = InputsSettings()
    smallest: Positive = Field(
        default=1e-6, description="Smallest penalty tried, per row and standardised number of x."
    )
    largest: Positive = Field(default=1e4, description="Largest penalty tried, likewise.")
    penalties: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=81, description="Number of penalties tried, evenly spaced in their logarithm."
    )

    @model_validator(mode="after")
    def _ordered(self) -> RidgeSettings:
        if not self.smallest <= self.largest:
            raise ValueError(f"expected smallest <= largest, got {self.smallest:g} and {self.largest:g}")
        return self

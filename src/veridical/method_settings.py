"""Settings of methods: which estimators and remedies a study may name, and those of a user's own.

A method's settings say by class attributes what it learns from: `simulations` of its fidelity, `calibration`
pairs, events of the `classes` of a class task; by `summaries` whether it has any; and by fields which other
method it builds on: `start` (whose weights it begins with) or `of` (which it wraps).
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from veridical.estimators.ensemble_settings import EnsembleSettings
from veridical.estimators.joint_settings import JNPESettings
from veridical.estimators.npe_settings import NPESettings
from veridical.estimators.prior_settings import PriorSettings
from veridical.estimators.ratio_settings import RatiosSettings
from veridical.estimators.regression_settings import MLPSettings
from veridical.estimators.ridge_settings import RidgeSettings
from veridical.remedies.rope_settings import RoPESettings
from veridical.remedies.tuned_settings import TunedSettings
from veridical.remedies.wifi_settings import WifiSettings


class OwnSettings(BaseModel):
    """A method in a Python file of the user's."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True)

    type: Literal["own"] = "own"
    file: str = Field(description="Python file.")
    class_: str = Field(alias="class", description="Subclass of veridical.estimators.Estimator in the file.")
    settings: dict[str, Any] = Field(
        default={}, description="What the class finds in `spec['settings']` when it is fitted."
    )
    uses: list[Literal["simulations", "calibration"]] = Field(
        default=["simulations"], description="What it learns from."
    )
    summaries: bool = Field(
        default=False, description="Whether it has summaries of the data, for checks of typicality."
    )
    depends_on: list[str] = Field(default=[], description="Other files that decide what it learns.")
    fidelity: str | None = Field(
        default=None, description="Fidelity it trains on; where not given, the dearest."
    )
    threads: Annotated[int, Field(ge=1, le=256)] = Field(default=1, description="CPU threads of its jobs.")
    gpus: Annotated[int, Field(ge=0, le=64)] = Field(default=0, description="GPUs of its training job.")

    @property
    def simulations(self) -> bool:
        """Whether it learns from simulations."""
        return "simulations" in self.uses

    @property
    def calibration(self) -> bool:
        """Whether it learns from labelled real data."""
        return "calibration" in self.uses


class OwnEstimatorSettings(OwnSettings):
    """An estimator in a Python file of the user's."""


class OwnRemedySettings(OwnSettings):
    """A remedy in a Python file of the user's, around another method."""

    of: str = Field(description="The method that it improves.")
    uses: list[Literal["simulations", "calibration"]] = Field(
        default=["calibration"], description="What it learns from."
    )
    fit_rows: ClassVar[int] = 0


EstimatorSettings = Annotated[
    NPESettings
    | EnsembleSettings
    | JNPESettings
    | MLPSettings
    | RidgeSettings
    | PriorSettings
    | RatiosSettings
    | OwnEstimatorSettings,
    Field(discriminator="type"),
]
RemedySettings = Annotated[
    TunedSettings | RoPESettings | WifiSettings | OwnRemedySettings, Field(discriminator="type")
]


def parent_of(method: Any) -> str | None:
    """Returns the name of the method that another one builds on, given its settings; None for most."""
    return getattr(method, "of", None) or getattr(method, "start", None)


def learns_from(method: Any, what: str) -> bool:
    """Returns whether a method learns from `simulations`, `calibration` pairs or events of `classes`."""
    return bool(getattr(method, what, what == "simulations"))


def has_summaries(method: Any) -> bool:
    """Returns whether a method has summaries of the data, as networks do."""
    return bool(getattr(method, "summaries", True))


def fit_rows(method: Any) -> int:
    """Returns how many rows of the split `fit` a remedy needs; 0 for most."""
    return int(getattr(method, "fit_rows", 0))

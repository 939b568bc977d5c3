"""Settings of the checks: one model per check, the only place where their defaults stand."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Alpha = Annotated[float, Field(gt=0, lt=0.5)]
Count = Annotated[int, Field(ge=1)]
Repeats = Annotated[int, Field(ge=2)]


class CheckSettings(BaseModel):
    """Base of the settings of all checks: unknown keys are refused and values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SBCSettings(CheckSettings):
    """Simulation-based calibration: are the ranks of the truth among the draws uniform?"""

    alpha: Alpha = Field(default=0.05, description="Family-wise level of the test over all parameters.")
    null_draws: Annotated[int, Field(ge=999)] = Field(
        default=9_999, description="Uniform samples behind the null distribution of gamma."
    )
    grid_points: Annotated[int, Field(ge=10)] = Field(
        default=1_000,
        description="Most points at which the rank ECDF is compared; ranks beyond that are thinned.",
    )
    bootstrap: Repeats = Field(default=200, description="Resampled test sets behind the standard errors.")


class CoverageSettings(CheckSettings):
    """Expected coverage of highest-density regions and of central intervals."""

    alpha: Alpha = Field(default=0.05, description="Family-wise level of the band over all curves.")
    levels: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        default=[0.5, 0.8, 0.9, 0.95], min_length=1, description="Levels whose coverage is tabulated."
    )
    null_draws: Annotated[int, Field(ge=999)] = Field(
        default=9_999, description="Uniform samples behind the simultaneous band."
    )
    bootstrap: Repeats = Field(default=200, description="Resampled test sets behind the standard errors.")


class TARPSettings(CheckSettings):
    """Coverage of balls around random points (TARP)."""

    alpha: Alpha = Field(default=0.05, description="Level of the Kolmogorov-Smirnov test and of the band.")
    references: Literal["neighbours", "uniform"] = Field(
        default="neighbours",
        description="Centres of the balls: `neighbours` follow the data, mean truth of other data sets with "
        "similar x; `uniform` ones cannot see a posterior that ignores the data.",
    )
    neighbours: Count = Field(default=5, description="Data sets behind one centre.")
    null_draws: Annotated[int, Field(ge=999)] = Field(
        default=9_999, description="Uniform samples behind the simultaneous band."
    )


class ScoresSettings(CheckSettings):
    """Scores of draws and densities against the truth."""

    bootstrap: Repeats = Field(default=200, description="Resampled test sets behind the standard errors.")
    recovery_rows: Count = Field(
        default=300, description="Data sets kept for the plot of estimate against truth."
    )


class TwoSampleSettings(CheckSettings):
    """Distance between the draws and those of the reference."""

    draws: Annotated[int, Field(ge=20)] = Field(
        default=2_000, description="Draws of each side given to the classifier."
    )
    folds: Annotated[int, Field(ge=2)] = Field(default=5, description="Folds of the cross-validation.")
    max_iterations: Count = Field(
        default=1_000, description="Most passes of the classifier over its training rows."
    )
    patience: Count = Field(
        default=50,
        description="Passes without a better accuracy on held-out rows after which training stops.",
    )


class TypicalitySettings(CheckSettings):
    """Is the observation like the simulations, as the summary network sees them?"""

    alpha: Alpha = Field(default=0.01, description="Level below which an observation counts as atypical.")
    ridge: Annotated[float, Field(ge=0)] = Field(
        default=1e-6, description="Share of the mean variance added to the diagonal of the covariance."
    )
    permutations: Annotated[int, Field(ge=99)] = Field(
        default=9_999, description="Permutations behind the p-value of a set of several observations."
    )


class DetectionSettings(CheckSettings):
    """Do the data, as a set, come from the simulator, as the summary network sees them?"""

    alpha: Alpha = Field(default=0.05, description="Level of the test, and of its size and power.")
    kernel: Literal["gaussian", "inverse_multiquadratic"] = Field(
        default="gaussian", description="Kernel of the discrepancy, summed over 19 scales."
    )
    reference: Annotated[int, Field(ge=20)] = Field(
        default=1_000, description="Most simulated data sets that others are compared with."
    )
    null_sets: Annotated[int, Field(ge=99)] = Field(
        default=2_000, description="Simulated sets of as many data sets as are judged, behind the p-value."
    )
    sets: Annotated[int, Field(ge=20)] = Field(
        default=200, description="Further simulated sets behind the size and the power."
    )
    observations: Count = Field(
        default=50, description="Most data sets judged as one set; of more, so many are chosen at random."
    )


class ExactSettings(CheckSettings):
    """Distance from the exact posterior of the task."""

    observations: Count = Field(
        default=20, description="Data sets whose draws are compared, where the posterior is known by draws."
    )
    draws: Annotated[int, Field(ge=40)] = Field(
        default=1_000, description="Draws of each side and data set that are compared, likewise."
    )


class PredictiveSettings(CheckSettings):
    """Do data simulated from the posterior look like the observation?"""

    alpha: Alpha = Field(default=0.01, description="Level of the posterior predictive p-value.")
    levels: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        default=[0.5, 0.9],
        min_length=1,
        description="Levels of the predictive bands whose coverage is tabulated.",
    )
    bootstrap: Repeats = Field(default=200, description="Resampled predictions behind the standard errors.")


class ChecksSettings(CheckSettings):
    """Which checks run, and how; `null` switches one off."""

    sbc: SBCSettings | None = SBCSettings()
    coverage: CoverageSettings | None = CoverageSettings()
    tarp: TARPSettings | None = TARPSettings()
    scores: ScoresSettings | None = ScoresSettings()
    two_sample: TwoSampleSettings | None = TwoSampleSettings()
    typicality: TypicalitySettings | None = TypicalitySettings()
    predictive: PredictiveSettings | None = PredictiveSettings()
    detection: DetectionSettings | None = DetectionSettings()
    exact: ExactSettings | None = ExactSettings()

"""Settings of exact references, and of draws from what is known up to a constant."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from veridical.sections import Count, Name, Section


class ReferenceSettings(Section):
    """The exact posterior by Markov chains, for tasks with a likelihood."""

    ensembles: int = Field(4, ge=2, description="Independent ensembles, one job each.")
    walkers: int = Field(256, ge=32, description="Walkers of an ensemble; at least four for each parameter.")
    prior_draws: Count = Field(10_000, description="Prior draws from which the starts are made.")
    warm_up: Count = Field(200, description="Steps that are dropped.")
    steps: int = Field(400, ge=50, description="Steps that are kept, of all walkers.")
    draws: Count = Field(8_000, description="Draws that are saved, of all ensembles together.")
    max_rhat: float = Field(1.01, gt=1, description="Largest R-hat that counts as converged.")
    min_ess: float = Field(1_000, gt=0, description="Least effective sample size that counts as converged.")


class SamplingSettings(Section):
    """How a method that learns a likelihood or a ratio draws from its posterior."""

    by: Literal["chains", "importance"] = Field(
        default="chains",
        description="Markov chains, or weighted draws around a tempered posterior: less work, but no "
        "answer where these weights fail.",
    )
    ensembles: Annotated[int, Field(ge=2, le=64)] = Field(
        default=2, description="Independent ensembles for each observation; R-hat compares them."
    )
    walkers: Annotated[int, Field(ge=16, multiple_of=2)] = Field(
        default=300,
        description="Walkers of an ensemble; at least four for each parameter. Many walkers and few steps "
        "give modes their shares.",
    )
    prior_draws: Count = Field(
        default=2_500, description="Prior draws from which the starts of an ensemble are made."
    )
    warm_up: Count = Field(default=30, description="Steps that are dropped.")
    steps: Annotated[int, Field(ge=8)] = Field(
        default=50, description="Steps of all walkers, among which draws are spread evenly."
    )
    max_rhat: Annotated[float, Field(gt=1)] = Field(
        default=1.05, description="R-hat from which on the chains of an observation are to be longer."
    )
    doublings: Annotated[int, Field(ge=0, le=6)] = Field(
        default=3, description="How often such chains go on for twice as many steps, at most."
    )
    proposals: Annotated[int, Field(ge=100)] = Field(
        default=4_000, description="Weighted draws of `importance`, from which the draws are picked."
    )


class AllocationSettings(Section):
    """How many rows of each level a given cost should buy, by a pilot of coupled rows."""

    method: Name = Field(
        description="A posterior network of the study, at whose weights gradients of the loss are taken: its "
        "largest budget, first replicate."
    )
    total: float = Field(
        gt=0,
        allow_inf_nan=False,
        description="The cost to spend, in nominal units; in seconds if measured.",
    )
    pairs: int = Field(
        100,
        ge=20,
        description="Rows of the pilot: the first training rows of the first replicate, at every level.",
    )
    costs: Literal["nominal", "measured"] = Field(
        "nominal",
        description="What a simulation of a level costs: as the task states, or seconds by the probe.",
    )

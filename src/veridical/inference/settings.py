"""Settings of exact references."""

from __future__ import annotations

from pydantic import Field

from veridical.sections import Count, Section


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

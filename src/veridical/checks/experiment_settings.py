"""Settings of studies of coverage."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from veridical.sections import Name, Section


class ExperimentSettings(Section):
    """A study of coverage: methods applied to many pseudo-experiments whose truth is known."""

    batches: Annotated[int, Field(ge=1, le=10_000)] = Field(
        description="Batches of pseudo-experiments, one job each; more of them redo nothing."
    )
    rows: Annotated[int, Field(ge=2)] = Field(
        description="Pseudo-experiments of a batch; for a posterior, labelled data sets of the level `real`."
    )
    true_values: list[Annotated[float, Field(ge=0, le=1)]] = Field(
        default=[], description="True fractions of the first class, for a class task."
    )
    events: Annotated[int, Field(ge=10)] = Field(
        25_000, description="Unlabelled events of a pseudo-experiment, for a class task."
    )
    fit_rows: Annotated[int, Field(ge=10)] = Field(
        25_000, description="Events of each class that weights are fitted on, for a class task."
    )
    pool: Annotated[int, Field(ge=10)] | None = Field(
        None,
        description="For a class task whose events or functions are slow to make: so many events of each "
        "class and template are made once a batch, for all trainings and methods, and pseudo-experiments "
        "draw from them with replacement "
        "(`tamm` makes nature's anew all the same). They are the population then, whose own scatter no "
        "experiment shows: take five times `fit_rows` or more, and twenty times `events` for methods that "
        "fit no weights. Where not given, events are made anew for each.",
    )
    draws: Annotated[int, Field(ge=99)] = Field(999, description="Posterior draws per data set.")
    methods: Annotated[list[Name], Field(min_length=1)] | None = Field(
        None, description="Methods it is made for; all where not given."
    )

    @model_validator(mode="after")
    def _pool_is_large(self) -> Self:
        """Refuses a pool with fewer events than are drawn from it."""
        least = max(self.fit_rows, self.events)
        if self.pool is not None and self.pool < least:
            raise ValueError(
                f"pool: expected at least as many events as `fit_rows` and `events`, {least:,}, got "
                f"{self.pool:,}; take five times as many, or leave it out"
            )
        return self

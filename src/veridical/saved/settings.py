"""Settings of data sets."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from veridical.sections import Section


class ObservationSettings(Section):
    """Where one data set lies and how it maps to x."""

    file: str = Field(
        description="Table (.csv, ...) or arrays (.npz, .nc, ...), relative to where the study is run."
    )
    layout: Literal["series", "table"] = Field(
        "series",
        description="`series`: the file is one observation, a row per step. `table`: one observation a row.",
    )
    columns: list[str] | None = Field(
        None, description="Columns of a table that make up x, in the task's order or by its names."
    )
    index: str | None = Field(
        None, description="Column of a table that must hold the first dimension's coordinates."
    )
    shift: bool = Field(
        False, description="Whether the index may begin elsewhere, with the same steps; so for new data."
    )
    source: str = Field("", description="Where the data come from, for the report.")

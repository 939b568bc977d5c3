"""Settings of data sets."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from veridical.sections import Section


class ObservationSettings(Section):
    """Where one data set lies and how it maps to x."""

    file: str = Field(description="Table (.csv, .tsv, ...) or arrays (.npz, .nc, .h5, ...), relative to where the study is run.")
    layout: Literal["series", "table"] = Field(
        "series",
        description="`series`: the file is one observation, a row per step. `table`: one observation a row.",
    )
    columns: list[str] | None = Field(None, description="Columns that make up x, in the task's order where they have other names (tables).")
    index: str | None = Field(
        None, description="Column that must hold the first dimension's coordinates (tables)."
    )
    source: str = Field("", description="Where the data come from, for the report.")

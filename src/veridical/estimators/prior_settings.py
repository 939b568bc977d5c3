"""Settings of the prior as an answer."""

from __future__ import annotations

from typing import ClassVar, Literal

from veridical.sections import Section


class PriorSettings(Section):
    """The prior itself, as an answer that learns nothing from the data."""

    simulations: ClassVar[bool] = False
    calibration: ClassVar[bool] = False
    summaries: ClassVar[bool] = False
    type: Literal["prior"] = "prior"

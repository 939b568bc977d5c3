"""Settings of the prior as an answer."""

from __future__ import annotations

from typing import ClassVar, Literal

from veridical.estimators.settings import MethodSettings


class PriorSettings(MethodSettings):
    """The prior itself, as an answer that learns nothing from the data."""

    code: ClassVar[str] = "veridical.estimators.prior:PriorEstimator"
    learns: ClassVar[tuple[str, ...]] = ()
    takes_missing: ClassVar[bool] = True
    type: Literal["prior"] = "prior"

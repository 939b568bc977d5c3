"""Settings of remedies that compare real and simulated data by an encoder."""

from __future__ import annotations

from typing import ClassVar

from veridical.estimators.settings import MethodSettings


class EncoderRemedySettings(MethodSettings):
    """Base for remedies around a method with an encoder."""

    builds_on: ClassVar[tuple[str, ...]] = ("encoder",)
    gives: ClassVar[tuple[str, ...]] = ("summaries",)

    def misfit(self, parent: MethodSettings, name: str) -> str | None:
        """Returns what keeps it from building on a method of this name, if anything."""
        if any(parent.offers(what) for what in self.builds_on):
            return None
        return (
            f"{name!r} has no summary network (summary: none), so there is no encoder to compare real and "
            "simulated data by; give it one."
        )

"""Can methods that learn in rounds do so in this study? Found out from settings, before any job starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from veridical import tasks
from veridical.errors import SettingError, suggest

if TYPE_CHECKING:
    from veridical.study.layout import Layout


def require_rounds(layout: Layout, sizes: Mapping[str, int]) -> None:
    """Stops on rounds that cannot simulate, or that are for data that the study does not have.

    Arguments:
        layout: The study.
        sizes: How many observations each of its real data sets holds.

    Raises:
        SettingError: Which method, what was expected, what came.
    """
    for name, settings in layout.methods.items():
        if not settings.local:
            continue
        place, dataset = f"estimators.{name}", layout.dataset_of(name)
        if isinstance(layout.task, tasks.FileTask):
            raise SettingError(
                f"{place}: rounds simulate where they are to answer, but the simulations of this task are in "
                "a file; use `npe`."
            )
        if dataset not in layout.study.observations:
            named = repr(dataset) if dataset else "none"
            raise SettingError(
                f"{place}.dataset: expected one of the study's `observations`, got {named}. "
                f"{suggest(dataset, layout.study.observations)}"
            )
        held, given = sizes.get(dataset), settings.setting("observations")
        if held not in (None, given):
            raise SettingError(
                f"{place}.observations: data set {dataset!r} holds {held} observation(s), each of which "
                f"takes rounds of its own, got {given}; set it to {held}, or name a smaller data set."
            )

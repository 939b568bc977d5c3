"""Are levels coupled where a method or a plan asks for it? Found out from settings alone."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from veridical.coordinates import REAL
from veridical.errors import SettingError, suggest
from veridical.estimators.npe_settings import PosteriorSettings
from veridical.estimators.regularised_settings import TRACTABLE

if TYPE_CHECKING:
    from veridical.study.layout import Layout


def require_coupled(layout: Layout, method: str) -> None:
    """Stops on a method of several levels where these are not coupled, or not in order.

    Raises:
        SettingError: Which method, what was expected, what came, and the remedy.
    """
    rows = layout.methods[method].lower_rows
    if not rows:
        return
    place, task, own = f"estimators.{method}", layout.task, layout.fidelity(method)
    if layout.methods[method].coupled and not task.coupled:
        raise SettingError(
            f"{place}: type {layout.methods[method].type!r} expects levels that share their random numbers, "
            f"but those of task {task.name} are not coupled, for it has no `noise`; give it one, or use an "
            "`npe` that begins with the weights of another at a cheaper level (`start`)."
        )
    order = [level for level in task.fidelities if level != REAL]
    cheaper = order[: order.index(own)]
    for level in rows:
        if level not in cheaper:
            raise SettingError(
                f"{place}.lower: expected fidelities of {task.name} cheaper than {own!r}, got {level!r}. "
                + (suggest(level, cheaper) if cheaper else "There are none; set `fidelity` to a dearer one.")
            )
    chain = [*((level, rows[level]) for level in cheaper if level in rows), (own, layout.budgets(method)[-1])]
    for (below, many), (level, few) in pairwise(chain):
        if few > many:
            raise SettingError(
                f"{place}.lower: each row of {level!r} goes with the same row of {below!r}, but there are "
                f"{few} of {level!r} and {many} of {below!r}; raise the latter to {few} or more, or lower "
                f"{'the budgets' if level == own else 'the former'}."
            )


def require_allocation(layout: Layout) -> None:
    """Stops on a plan of rows of each level where nothing can be planned.

    Raises:
        SettingError: What was expected, what came, and the remedy.
    """
    settings, task = layout.study.allocation, layout.task
    if settings is None:
        return
    levels = [level for level in task.fidelities if level != REAL]
    if layout.of_classes or not task.coupled or len(levels) < 2:
        raise SettingError(
            "allocation: expected a task with two levels or more that share their random numbers, but those "
            f"of {task.name} are {', '.join(levels)}{'' if task.coupled else ', not coupled'}; remove this "
            "section."
        )
    own = layout.study.estimators
    known = [m for m, one in own.items() if isinstance(one, PosteriorSettings) and one.flow.type in TRACTABLE]
    if settings.method not in known:
        raise SettingError(
            f"allocation.method: expected a posterior network of this study whose loss is a log density, got "
            f"{settings.method!r}. "
            + (
                suggest(settings.method, known)
                if known
                else "There are none; add an `npe` with a spline flow."
            )
        )

"""Do the simulations of a study come with the scores that a method of it learns from?"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from veridical.errors import SettingError

if TYPE_CHECKING:
    from veridical.study.layout import Layout


def require_scores(layout: Layout, method: str, where: str) -> None:
    """Stops on a method that learns from scores, at `where` in the study file, if the task keeps none.

    Raises:
        SettingError: What was expected, and how the task keeps them.
    """
    task = layout.task
    if task.scores or not layout.methods[method].learns_scores:
        return
    remedy = (
        "set `scores: true` in task.settings"
        if "scores" in inspect.signature(type(task)).parameters
        else "take a task in Python whose `simulate` returns `score` (N, D) beside x, and which says so by "
        "`scores = True`"
    )
    raise SettingError(
        f"{where}.scores: expected simulations that come with the slopes of log p(x | theta), but task "
        f"{task.name} keeps none; {remedy}, or leave `scores` out."
    )

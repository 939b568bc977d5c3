"""Can the pseudo-experiments that a study asks for be made? Found out from settings alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from veridical import tasks
from veridical.errors import SettingError

if TYPE_CHECKING:
    from veridical.study.layout import Layout


def require_experiments(layout: Layout) -> None:
    """Stops on experiments without a simulator, or settings that are for another kind of task.

    Raises:
        SettingError: What was expected, what came, and the remedy.
    """
    settings = layout.study.experiments
    if settings is None:
        return
    if isinstance(layout.task, tasks.FileTask):
        raise SettingError(
            "experiments: pseudo-experiments need a simulator, but the simulations of this task are in a "
            "file; remove this section."
        )
    if layout.of_classes and not settings.true_values:
        raise SettingError(
            "experiments.true_values: expected fractions to judge intervals at, such as [0.1, 0.5], got none."
        )
    if not layout.of_classes and (settings.true_values or settings.pool):
        name = "true_values" if settings.true_values else "pool"
        raise SettingError(
            f"experiments.{name}: that is for tasks with classes; "
            f"true parameters of task {layout.task.name} come from its prior, and data from them. Remove it."
        )
    for name in settings.methods or []:
        if name not in {run.method for run, _ in layout.experiments}:
            raise SettingError(
                f"experiments.methods: {name!r} gives no answer that could be judged; leave it out."
            )

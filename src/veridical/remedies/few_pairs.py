"""What remedies that learn from few labelled pairs ask of them: enough, and again the same."""

from __future__ import annotations

import numpy as np

from veridical.errors import TrainingError
from veridical.estimators.base import Material, Rows, TaskInfo, labelled
from veridical.tasks.base import Array

MIN_PAIRS = 10


def enough(material: Material, remedy: str, task: TaskInfo) -> Rows:
    """Returns the labelled pairs that a remedy learns from.

    Raises:
        TrainingError: If there are none, or fewer than 10.
    """
    pairs = labelled(material, "calibration", remedy, task)
    if len(pairs) < MIN_PAIRS:
        raise TrainingError(
            f"remedy {remedy!r}: expected at least {MIN_PAIRS} labelled real rows, got {len(pairs)}."
        )
    return pairs


def require_same(remedy: str, learned: Array, z: Array) -> None:
    """Raises TrainingError unless parameters z (n, D) of pairs are those that a remedy has learned from."""
    if not np.array_equal(z, learned):
        raise TrainingError(
            f"remedy {remedy}: it has learned from {len(learned)} labelled pairs, and these {len(z)} are "
            "others; give both methods the same `calibration`."
        )

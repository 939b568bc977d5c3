"""Which labelled pairs take no part in which fit, and who has not learned from any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from veridical.errors import TrainingError
from veridical.tasks.base import Array

FOLDS = 5


def folds(n: int) -> Iterator[tuple[Array, Array]]:
    """Yields, for each fold, which of n pairs are learned from and which are held out, shape (n,) each."""
    for fold in range(FOLDS):
        held = np.arange(n) % FOLDS == fold
        yield ~held, held


def require_unseen(method: Any) -> None:
    """Raises TrainingError where an estimator, or one that it builds on, has learned from labelled pairs."""
    one = method
    while one is not None:
        own = isinstance(one.settings, Mapping)  # those of a user's own class
        uses = one.settings.get("uses", ()) if own else one.settings.learns
        if "calibration" in uses:
            raise TrainingError(
                f"method {one.type!r} has learned from labelled pairs, so that its answers to them say "
                "nothing of other data; build on one that has not, or that can leave some out."
            )
        one = one.parent

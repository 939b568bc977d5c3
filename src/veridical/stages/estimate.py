"""Stage infer, estimates: a frequentist answer with its errors for each sample of events."""

from __future__ import annotations

from pathlib import Path

from veridical import artifacts
from veridical.errors import TrainingError
from veridical.estimators.classes import WithoutPosterior
from veridical.saved import estimates
from veridical.saved.observations import Observations


def estimate(folder: str | Path, data: Observations, out: str | Path) -> None:
    """Writes the estimated fraction of the first class in each sample of events, with its errors.

    Arguments:
        folder: The folder of the method.
        data: Samples of events, x (N, events, *x_shape).
        out: Where the estimates go, as JSON.

    Raises:
        TrainingError: If the method gives no estimate.
    """
    record, method = artifacts.load_record(folder), artifacts.load_estimator(folder)
    if not isinstance(method, WithoutPosterior):
        raise TrainingError(f"estimates: expected a method for classes, got {method.type!r}.")
    found, shapes = method.answer(data.x, data.classes)
    truth = None if data.truth is None else data.truth[:, 0]
    estimates.save(out, found, truth=truth, method=record["method"], dataset=data.name, shapes=shapes)
    print(f"{data.name}: {len(found.value)} estimate(s)")

"""Stage infer: draws and log densities of a trained estimator for each observation of a data set."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from veridical import artifacts, seeds
from veridical.errors import DataError, Refused, require_shape
from veridical.estimators.base import Estimator
from veridical.estimators.standing import Standing
from veridical.saved import posteriors
from veridical.saved.observations import Observations
from veridical.saved.posteriors import Draws
from veridical.tasks.base import Array, usable

PART_NUMBERS = 4_000_000  # numbers among the draws that are held at once


def infer(
    folder: str | Path,
    data: Observations,
    out: str | Path,
    *,
    draws: int,
    root: int,
    replicate: int,
    rows: int | None = None,
    threads: int = 1,
) -> None:
    """Writes posterior draws for all observations whose numbers are finite, or may be missing; counts others.

    Arguments:
        folder: The folder of the estimator.
        data: The observations.
        out: Where the draws go.
        draws: Number of draws per observation.
        root: Root seed.
        replicate: The estimator's replicate, for seeds.
        rows: How many of the first observations are asked; all where None.
        threads: CPU threads.

    Raises:
        DataError: If the data have another shape than the simulations, or no row is finite.
        ArtifactError: If the estimator is damaged or gives what is not a number.
        Refused: If the method answers none of them.
    """
    from veridical.training.devices import cpu_threads

    estimator = artifacts.load_estimator(folder)
    record = artifacts.load_record(folder)
    kept, dropped = _finite(_only(data, slice(rows)), estimator)
    with cpu_threads(threads):
        standing = estimator.standing(kept.x)
    numbers = {name: values.tolist() for name, values in standing.numbers.items()}
    if len(standing.refused) == len(kept.x):
        raise _refusal(data.name, standing, numbers)
    kept = _only(kept, standing.answered(len(kept.x)))
    rng = seeds.generator(root, "infer", record["method"], replicate, data.name)
    about = {
        "task": estimator.task.name,
        "method": record["method"],
        "dataset": data.name,
        "kind": data.kind,
        "source": data.source,
        "budget": record["budget"],
        "calibration": record["calibration"],
        "replicate": replicate,
        "dropped": dropped,
        "estimator": record["record_sha256"],
        "versions": artifacts.versions(),
    }
    if type(estimator).given is not Estimator.given:
        about["asked_together"] = 1  # its answer to one observation depends on the others
    if standing.numbers:
        about |= {"standing": numbers, "refused": {str(i): why for i, why in standing.refused.items()}}
    if estimator.summarisers > 1:
        about["summarisers"] = estimator.summarisers
    with cpu_threads(threads):
        posteriors.write(out, len(kept.x), _parts(estimator, kept, draws, rng, about))
    refused = f", {len(standing.refused)} refused" if standing.refused else ""
    print(f"{data.name}: {draws} draws for {len(kept.x)} observation(s), {dropped} dropped{refused}")


def _finite(data: Observations, estimator: Estimator) -> tuple[Observations, int]:
    """The observations without those that are no data (see `tasks.base.usable`), and how many those are."""
    if data.x.shape[1:] != estimator.task.x_shape:
        raise DataError(
            f"data set {data.name}: expected observations of shape {estimator.task.x_shape} as in task "
            f"{estimator.task.name}, got {data.x.shape[1:]}."
        )
    if data.truth is not None:
        require_shape("truth", data.truth, len(data.x), len(estimator.task.parameters))
    finite = usable(data.x, estimator.task.has_missing)
    if not finite.any():
        raise DataError(f"data set {data.name}: none of its {len(data.x)} observations is free of NaN.")
    return _only(data, finite), int((~finite).sum())


def _only(data: Observations, rows: Array | slice) -> Observations:
    """Some observations of a data set."""
    truth = None if data.truth is None else data.truth[rows]
    return replace(data, x=data.x[rows], truth=truth)


def _refusal(dataset: str, standing: Standing, numbers: Mapping[str, list[float]]) -> Refused:
    """The error that no observation of a data set is answered."""
    said = next(iter(standing.refused.values()))
    n = len(standing.refused)
    error = Refused(
        f"data set {dataset}: {'it is' if n == 1 else f'none of {n} observations is'} not answered: {said}."
    )
    error.about = {n: [v if math.isfinite(v) else str(v) for v in values] for n, values in numbers.items()}
    return error


def _parts(
    estimator: Estimator, data: Observations, n: int, rng: np.random.Generator, attrs: Mapping[str, Any]
) -> Iterator[Draws]:
    """Draws for a few observations at a time."""
    task, cloud = estimator.task, estimator.cloud
    posterior, dense = estimator.given(data.x), estimator.has_density
    size = max(1, PART_NUMBERS // (n * len(task.parameters)))
    for first in range(0, len(data.x), size):
        rows = slice(first, min(first + size, len(data.x)))
        truth = None if data.truth is None else data.truth[rows]
        draws, log_density = posterior.sample_and_log_prob(rows, n, rng)
        yield Draws(
            names=task.parameters,
            bounds=task.bounds,
            units=task.units,
            draws=draws,
            log_density=log_density,
            **posterior.convergence,
            truth=truth,
            log_density_truth=posterior.log_prob(truth, rows) if dense and truth is not None else None,
            summary=estimator.every_summary(data.x[rows]),
            summary_mean=None if cloud is None else cloud.mean,
            summary_cov=None if cloud is None else cloud.covariance,
            x=data.x[rows],
            attrs=attrs,
            extras=posterior.extras() if first == 0 else {},
            constraints=task.constraints,
        )

"""Stage infer, surfaces: a method's log likelihoods on a grid of parameters, beside the exact ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from veridical import artifacts, seeds, tasks
from veridical.errors import DataError, TrainingError
from veridical.estimators.sampled import Likelihood
from veridical.files import write_npz
from veridical.saved.observations import Observations
from veridical.tasks.base import Array, Task
from veridical.tasks.surfaces import OnCells

DRAWS = 10_000  # of the prior, whose range stands for bounds that are not there
MARGIN = 0.02  # of that range, on either side
ROWS = 200_000  # of parameters and data that are asked about at once


def surfaces(
    spec: dict[str, Any],
    folder: str | Path,
    data: Observations,
    out: str | Path,
    *,
    observations: int,
    cells: int,
    exact: bool,
    root: int,
    threads: int = 1,
) -> None:
    """Writes what check `wilks` compares, for the first N observations.

    Writes `truth` (N, D), `axis_0` and so on (A_k,), centres of cells over the prior's range, and `log_l`
    (N, A_0, ...), log likelihoods up to a constant; of the exact likelihood `log_l_exact`, where asked for.

    Arguments:
        spec: The task, as plain data.
        folder: The folder of the method.
        data: Labelled observations.
        out: Where the arrays go.
        observations: N, at most.
        cells: Cells of each parameter, at least.
        exact: Whether the exact likelihood belongs to the level that the data come from.
        root: Root seed.
        threads: CPU threads.

    Raises:
        TrainingError: If the method has no likelihood.
    """
    from veridical.training.devices import cpu_threads

    task, method = tasks.build(spec), artifacts.load_estimator(folder)
    if data.truth is None:
        raise DataError(f"data set {data.name}: expected the true parameters beside the data, got none.")
    if not isinstance(method, Likelihood):
        raise TrainingError(
            f"method {folder}: expected one with a likelihood, up to a constant, such as an `nle` or `nre`, "
            f"got {method.type!r}; leave the check `wilks` out for it."
        )
    with cpu_threads(threads):
        kept = np.flatnonzero(method.standing(data.x).answered(len(data.x)))[:observations]
        x, truth = data.x[kept], data.truth[kept]
        drawn = task.prior.sample(seeds.generator(root, "exact", "surfaces", data.name), DRAWS)
        axes = grid_of(task, cells, np.concatenate([drawn, truth]))
        arrays = {"truth": truth, "log_l": learned(method, x, axes)}
        if exact and task.has_likelihood:
            arrays["log_l_exact"] = known(task, x, axes)
    write_npz(out, arrays | {f"axis_{k}": axis for k, axis in enumerate(axes)})
    print(f"{data.name}: log likelihoods of {len(x)} data sets on {np.prod([*map(len, axes)])} cells")


def grid_of(task: Task, cells: int, theta: Array) -> list[Array]:
    """Returns the centres of equal cells that fill the range of the parameters, (A_k,) each.

    A task with cells of its own has an odd number of these in each of them, so that centres are shared.

    Arguments:
        task: The task.
        cells: Cells of each parameter, at least.
        theta: Parameters (N, D), whose range is taken, a little wider, where there is no bound.
    """
    if isinstance(task, OnCells):
        return [axis[_step(len(axis), cells) // 2 :: _step(len(axis), cells)] for axis in task.centres()]
    middles = (np.arange(cells) + 0.5) / cells
    lower, upper = theta.min(axis=0), theta.max(axis=0)
    seen = np.stack([lower, upper], axis=1) + MARGIN * (upper - lower)[:, None] * [-1, 1]
    ends = np.where(np.isfinite(task.bounds), task.bounds, seen)
    return [first + (last - first) * middles for first, last in ends]


def _step(n: int, cells: int) -> int:
    """The largest odd divisor of n that leaves so many cells, if there are as many."""
    return max(step for step in range(1, n + 1, 2) if n % step == 0 and (n // step >= cells or step == 1))


def learned(method: Likelihood, x: Array, axes: Sequence[Array]) -> Array:
    """Returns a method's log likelihoods of x (N, *x_shape) on a grid, (N, A_0, ...)."""
    centres = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    size = max(1, ROWS // len(centres))
    parts = []
    for first in range(0, len(x), size):
        part = x[first : first + size]
        theta = np.broadcast_to(centres[:, None], (len(centres), len(part), len(axes)))
        parts.append(method.log_likelihood(theta, part).T)
    return np.concatenate(parts).reshape(len(x), *map(len, axes))


def known(task: Task, x: Array, axes: Sequence[Array]) -> Array:
    """Returns the exact log likelihoods of x (N, *x_shape) on a grid, (N, A_0, ...)."""
    if isinstance(task, OnCells):
        own = [
            slice(_step(n, len(axis)) // 2, None, _step(n, len(axis)))
            for n, axis in zip(task.cells, axes, strict=True)
        ]
        return np.stack([task.surface(row, task.level(None))[tuple(own)] for row in x])
    centres = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    return np.stack([task.log_likelihood(centres, row).reshape([*map(len, axes)]) for row in x])

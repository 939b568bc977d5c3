"""Stage infer, predictions: data simulated at posterior draws."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from veridical import bank, seeds, tasks
from veridical.bank import blocks
from veridical.checks.predictive import draws_for
from veridical.errors import SimulationError
from veridical.saved import posteriors, predictions
from veridical.tasks.base import Array, Task


def predict(
    spec: dict[str, Any],
    draws: str | Path,
    out: str | Path,
    *,
    sizes: Mapping[str, int | None],
    root: int,
    method: str,
    replicate: int,
    fidelity: str,
) -> None:
    """Simulates at draws of the answer to each observation: once at many, and many times at a few.

    Arguments:
        spec: The task.
        draws: The answer.
        out: Where the predictions go, see `veridical.saved.predictions`.
        sizes: `bands`, `draws` (None: as many as the number of observations leaves) and `replicates` of each.
        root: Root seed.
        method: Name of the method, for seeds.
        replicate: Its replicate, likewise.
        fidelity: The level that is simulated.

    Raises:
        SimulationError: If all simulations fail.
    """
    task = tasks.build(spec)
    posterior = posteriors.load(draws)
    available, n, _ = posterior.draws.shape
    path = (method, replicate, str(posterior.attrs["dataset"]))
    count = sizes["draws"] or draws_for(n)
    chosen = seeds.generator(root, "predict", *path, "draws").permutation(available)[:count]
    theta, at = posterior.draws[: sizes["bands"]], posterior.draws[chosen]
    rows = int(sizes["replicates"] or 0)
    everything = np.concatenate([theta, np.repeat(at, rows, axis=0)])
    block = blocks.simulate_at(
        task, everything.reshape(-1, everything.shape[-1]), fidelity, root, "predict", *path
    )
    x, failed = block.arrays["x"], ~bank.valid(block.arrays)
    if failed.all():
        raise SimulationError(
            f"predictions at fidelity {fidelity}: all {len(x)} simulations at posterior draws failed; "
            f"the posterior lies where the simulator does not work.\n{block.first_traceback}"
        )
    x = x.reshape(-1, n, *task.x_shape)
    replicates = x[len(theta) :].reshape(len(at), rows, n, *task.x_shape)
    found = predictions.Predictions(
        x[: len(theta)],
        theta,
        replicates,
        at,
        [{"name": d.name, "coordinates": list(d.coordinates), "unit": d.unit} for d in task.dimensions],
        _statistics(task, posterior.x, replicates),
    )
    predictions.save(out, found)
    print(f"{failed.size} predictions, {int(failed.sum())} failed")


def _statistics(task: Task, x: Array | None, replicates: Array) -> dict[str, Array]:
    """The task's own statistics of the observations, then of their replicates, shape (K, R + 1, N) each."""
    if x is None or not task.statistics:
        return {}
    first = np.broadcast_to(x.astype(replicates.dtype), (len(replicates), 1, *x.shape))
    pool = np.concatenate([first, replicates], axis=1)
    found = task.measured(pool.reshape(-1, *task.x_shape))
    return {name: values.reshape(pool.shape[:3]) for name, values in found.items()}

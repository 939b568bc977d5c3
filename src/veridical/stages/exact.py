"""Stage infer, comparison: a method's densities beside those of the task's exact posterior."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from veridical import artifacts, seeds, tasks
from veridical.errors import DataError
from veridical.estimators.base import Conditioned
from veridical.files import write_npz
from veridical.saved.observations import Observations
from veridical.tasks.base import Array, Task


def exact(
    spec: dict[str, Any],
    folder: str | Path,
    data: Observations,
    out: str | Path,
    *,
    fidelity: str,
    observations: int,
    draws: int,
    root: int,
    replicate: int,
    threads: int = 1,
) -> None:
    """Writes what check `exact` compares.

    Writes `log_p_truth` and `log_q_truth` (N,), exact and estimated log densities at the true parameters. For
    the first G observations it also writes `log_p_grid` and `log_q_grid` (G, C) with `cell_volume`, where the
    task has a grid of C cells that covers its parameters, or else draws of both: `draws` (S, G, D) and
    `draws_exact` (2 S, G, D), whose second half shows what equal distributions differ by.

    Arguments:
        spec: The task, as plain data.
        folder: The folder of the method.
        data: Labelled observations.
        out: Where the arrays go.
        fidelity: The level that the data come from.
        observations: G.
        draws: S.
        root: Root seed.
        replicate: The method's replicate, for seeds.
        threads: CPU threads.
    """
    from veridical.training.devices import cpu_threads

    task = tasks.build(spec)
    if data.truth is None:
        raise DataError(f"data set {data.name}: expected the true parameters beside the data, got none.")
    method = artifacts.load_record(folder)["method"]
    rng = seeds.generator(root, "exact", method, replicate, data.name)
    with cpu_threads(threads):
        estimator = artifacts.load_estimator(folder)
        kept = estimator.standing(data.x).answered(len(data.x))
        x, truth = data.x[kept], data.truth[kept]
        everything, few = slice(None), slice(0, min(observations, len(x)))
        posterior = estimator.given(x)
        arrays = {
            "log_p_truth": task.posterior_log_prob(truth, x, fidelity),
            "log_q_truth": posterior.log_prob(truth, everything),
        }
        if hasattr(task, "grid"):
            arrays |= _on_grid(task, posterior, x, few, fidelity)
        else:
            arrays["draws_exact"] = task.posterior_sample(x[few], rng, 2 * draws, fidelity)
            arrays["draws"] = posterior.sample_and_log_prob(few, draws, rng)[0]
    write_npz(out, arrays)
    gap = float(np.mean(arrays["log_p_truth"] - arrays["log_q_truth"]))
    print(f"{data.name}: {len(x)} truths, {few.stop} posteriors compared; mean log p - log q {gap:.3f}")


def _on_grid(task: Task, posterior: Conditioned, x: Array, few: slice, fidelity: str) -> dict[str, Array]:
    """Log densities of both posteriors at the centres of the task's grid."""
    centres, volume = task.grid()  # type: ignore[attr-defined]
    theta = np.broadcast_to(centres[:, None], (len(centres), few.stop, centres.shape[1]))
    return {
        "log_p_grid": task.posterior_log_prob(theta, x[few], fidelity).T,
        "log_q_grid": posterior.log_prob(theta, few).T,
        "cell_volume": np.asarray(volume),
    }

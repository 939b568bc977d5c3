"""Stage infer, predictions: data simulated at posterior draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from veridical import bank, tasks
from veridical.bank import blocks
from veridical.checks.predictive import replicates
from veridical.errors import SimulationError
from veridical.files import write_npz
from veridical.saved import posteriors


def predict(
    spec: dict[str, Any],
    draws: str | Path,
    out: str | Path,
    *,
    root: int,
    method: str,
    replicate: int,
    fidelity: str,
) -> None:
    """Simulates one data set at each of up to 1,000 posterior draws, at least 250 for each observation.

    Writes `x` (S, N, *x_shape), in the task's type, failed rows as NaN, and `theta` (S, N, D).
    """
    task = tasks.build(spec)
    posterior = posteriors.load(draws)
    theta = posterior.draws[: replicates(posterior.draws.shape[1])]
    s, n, d = theta.shape
    path = (method, replicate, str(posterior.attrs["dataset"]))
    block = blocks.simulate_at(task, theta.reshape(s * n, d), fidelity, root, "predict", *path)
    x, failed = block.arrays["x"], ~bank.valid(block.arrays)
    if failed.all():
        raise SimulationError(
            f"predictions at fidelity {fidelity}: all {len(x)} simulations at posterior draws failed; "
            f"the posterior lies where the simulator does not work.\n{block.first_traceback}"
        )
    write_npz(out, {"x": x.reshape(s, n, *task.x_shape), "theta": theta})
    print(f"{len(x)} predictions, {int(failed.sum())} failed")

"""Stage train: one estimator fitted to the first rows of one replicate's bank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from veridical import artifacts, bank, digests, estimators, tasks
from veridical.checkpoints import CheckpointFolder
from veridical.estimators.base import TaskInfo


def train(
    shards: Sequence[str | Path],
    spec: Mapping[str, Any],
    estimator: Mapping[str, Any],
    out: str | Path,
    *,
    budget: int,
    root: int,
    method: str,
    replicate: int,
    checkpoints: str | Path,
    code: str = "",
    threads: int | None = None,
    max_invalid: float = 1.0,
    time_limit: float | None = None,
) -> None:
    """Fits an estimator and writes weights, record, history and cost.

    An interrupted training leaves its state below `checkpoints` and goes on from there when it is
    called again with the same arguments.

    Arguments:
        shards: Paths of the shards that hold the budget.
        spec: The task, as plain data.
        estimator: Settings of the estimator, as plain data, with its `type`.
        out: The folder of the estimator.
        budget: Number of rows, failures and validation rows included.
        root: Root seed.
        method: Name of the method, for seeds and the record.
        replicate: Which independent repetition.
        checkpoints: The folder of all running states.
        code: Digest of the code that trains.
        threads: CPU threads; those of the settings where None.
        max_invalid: Largest share of failed simulations.
        time_limit: Seconds after which to stop with the state saved, so that a retry can go on.

    Raises:
        SimulationError: If too many simulations failed.
        TrainingError: If training cannot go on.
    """
    from veridical.training import Run

    bank.require_valid(shards, max_invalid)
    arrays = bank.load(shards, budget, names=["theta", "x", "status"])
    valid = bank.valid(arrays)
    task = TaskInfo.of(tasks.build(spec))
    about = {
        "method": method,
        "budget": budget,
        "replicate": replicate,
        "seed": root,
        "digests": {"bank": bank_digest(shards), "code": code},
    }
    identity = [about, task.to_json(), dict(estimator), threads, artifacts.versions()]
    with CheckpointFolder(Path(checkpoints) / digests.short(identity, 20)) as folder:
        run = Run(root, (method, replicate), threads, folder, time_limit)
        fitted, result = estimators.estimator_class(estimator["type"]).fit(
            estimator,
            task,
            arrays["theta"][valid],
            arrays["x"][valid],
            bank.validation_mask(budget)[valid],
            run,
        )
        cost = {"n": budget, "n_valid": int(valid.sum()), "invalid_share": float(1 - valid.mean())}
        artifacts.save_estimator(fitted, out, result, record=about, cost=cost)
        folder.clear()
    best = result.rounds[result.best]
    print(
        f"{method}: {result.steps} steps on {cost['n_valid']} valid of {budget} rows in {result.seconds:.1f} "
        f"s ({result.device}); validation loss {best['validation_loss']:.3f} at epoch {best['epoch']:.1f}"
    )


def bank_digest(shards: Sequence[str | Path]) -> str:
    """Returns one digest of the contents of all shards."""
    return digests.short([bank.manifest(path)["digests"] for path in sorted(map(str, shards))], 64)

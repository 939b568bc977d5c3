"""Stage check, pseudo-experiments: a method's answers to one batch of data whose truth is known.

A batch is named by (task, replicate, batch), not by the method: all methods are judged on the same data. More
batches change nothing of those that exist.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from veridical import artifacts, bank, seeds, tasks
from veridical.bank import blocks
from veridical.checks import coverage, uniformity
from veridical.checks.inputs import with_ties
from veridical.errors import SimulationError, TrainingError
from veridical.estimators import pools
from veridical.estimators.base import Estimator
from veridical.estimators.classes import WithoutPosterior
from veridical.files import read_npz, write_npz
from veridical.saved import experiments
from veridical.tasks.base import Array, ClassTask, Task


def experiment(
    spec: dict[str, Any],
    folder: str | Path,
    settings: dict[str, Any],
    out: str | Path,
    *,
    fidelity: str,
    root: int,
    replicate: int,
    batch: int,
    pool: Sequence[str] = (),
) -> None:
    """Writes the answers to one batch, as `veridical.saved.experiments` reads them.

    For a posterior, a pseudo-experiment is a labelled data set: parameters from the prior, data from the
    level `fidelity`; a method whose answer depends on a whole data set gets the batch as one. For a class
    task it is a sample of events at each of the true fractions, and events of each class for the fit of the
    weights.

    Arguments:
        spec: The task, as plain data.
        folder: The folder of the method.
        settings: `rows`, and `draws` or `true_values`, `events`, `fit_rows`.
        out: Where the batch goes.
        fidelity: The level that labelled data come from.
        root: Root seed.
        replicate: The training that is judged.
        batch: Number of the batch.
        pool: Files of the events that are drawn from, LEVEL-BATCH.npz, where the stage `pool` made them.
    """
    from veridical.training.devices import cpu_threads

    task, estimator = tasks.build(spec), artifacts.load_estimator(folder)
    if pool:
        settings = {**settings, "pool": kept(pool)}
    with cpu_threads(1):
        if isinstance(task, ClassTask):
            record = estimates(task, estimator, settings, root, (replicate, batch))
        else:
            record = _posteriors(task, estimator, settings, fidelity, root, (replicate, batch))
    experiments.write(out, record)
    print(f"batch {batch}: " + ", ".join(f"{name} {array.shape}" for name, array in record.items()))


def pool(
    spec: dict[str, Any], level: str, events: int, out: str | Path, *, root: int, batch: int, place: int
) -> None:
    """Writes the events of one level that the pseudo-experiments of a batch draw from.

    They are the same for all trainings and methods: each looks up its own functions there.

    Arguments:
        spec: The task, as plain data.
        level: The class or template.
        events: How many.
        out: Where they go.
        root: Root seed.
        batch: Number of the batch.
        place: Place of the level among those of its ensemble.
    """
    task = tasks.build(spec)
    if not isinstance(task, ClassTask):
        raise SimulationError(f"pool: expected a task with classes, got {task.name}; leave the pool out.")
    x = pools.made(task, level, events, _of_pool(root, task, batch, place))
    write_npz(out, {"x": x}, compressed=True)
    print(f"pool of {level}, batch {batch}: {x.shape}")


def kept(paths: Sequence[str]) -> Callable[[str], Array]:
    """Returns what reads the events of a level, from files LEVEL-BATCH.npz."""
    found = {Path(path).name.rpartition("-")[0]: path for path in paths}

    def read(level: str) -> Array:
        x: Array = read_npz(found[level], "events of a pool")["x"]
        return x

    return read


def _of_pool(root: int, task: ClassTask, batch: int, place: int) -> np.random.Generator:
    """The generator of a pool, which is that of all replicates: it depends on nothing that was trained."""
    return seeds.generator(root, "experiment", "pool", task.name, 0, batch, place)


def labelled(task: Task, rows: int, fidelity: str, root: int, path: tuple[int, int]) -> tuple[Array, Array]:
    """Returns parameters from the prior (N, D) and data (N, *x_shape) of one batch, valid rows only."""
    theta = task.prior.sample(seeds.generator(root, "experiment", "theta", task.name, *path), rows)
    block = blocks.simulate_at(task, theta, fidelity, root, "experiment", "noise", task.name, *path)
    valid = bank.valid(block.arrays)
    if not valid.any():
        raise SimulationError(
            f"pseudo-experiments at fidelity {fidelity}: all {rows} simulations failed."
            f"\n{block.first_traceback}"
        )
    return theta[valid], block.arrays["x"][valid]


def estimates(
    task: ClassTask, method: Estimator, settings: dict[str, Any], root: int, path: tuple[int, int]
) -> dict[str, Array]:
    """Returns what a method finds in samples of events at the true fractions; no pulls where it has none.

    Arguments:
        task: Draws the events.
        method: The method, for classes.
        settings: `rows`, `true_values`, `events`, `fit_rows`.
        root: Root seed.
        path: Names the batch, whatever the method: its replicate and number.

    Raises:
        TrainingError: If the method gives no estimate.
    """
    if not isinstance(method, WithoutPosterior):
        raise TrainingError(
            f"experiments: expected a method for the classes of task {task.name}, got {method.type!r}."
        )

    def generators(part: str, *index: int) -> np.random.Generator:
        if part == "pool":
            return _of_pool(root, task, path[1], *index)
        return seeds.generator(root, "experiment", part, task.name, *path, *index)

    found = method.pseudo_experiments(task, settings, generators)
    unstated = {"pull"} if np.isnan(found.get("pull", 0.0)).all() else set()
    return {name: array for name, array in found.items() if name not in unstated}


def _posteriors(
    task: Task,
    estimator: Estimator,
    settings: dict[str, Any],
    fidelity: str,
    root: int,
    path: tuple[int, int],
) -> dict[str, Array]:
    """Fractional ranks, levels of the highest-density regions, log densities of the truths; estimates."""
    truth, x = labelled(task, settings["rows"], fidelity, root, path)
    answered = estimator.standing(x).answered(len(x))
    truth, x = truth[answered], x[answered]
    rng = seeds.generator(root, "experiment", "draws", task.name, *path)
    posterior, rows = estimator.given(x), slice(0, len(x))
    draws, log_density = posterior.sample_and_log_prob(rows, settings["draws"], rng)
    record = {"rank": uniformity.fractional_ranks(draws, truth, rng), "truth": truth}
    record |= estimator.estimated(x, truth)
    if not estimator.has_density:
        return record
    record["log_q"] = log_q = posterior.log_prob(truth, rows)
    if log_density is not None:
        record["hpd"] = coverage.hpd_levels(with_ties(draws, truth, log_density, log_q), log_q, rng)
    return record

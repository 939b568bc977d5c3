"""What do pseudo-experiments cost beside the training that they judge?

    python benchmarks/pseudo_experiments.py RESULTS [--study config/wifi_jets.yaml] [--task NAME] [--pool N]
        [--methods NAME ...] [--experiments 20] [--events 2000]

For a study of classes whose networks and remedies are there, below RESULTS (`make study` first): CPU seconds
on one thread of

- *training*: of the ensemble, as its job says (`cost.json`);
- *events*: those of the pool, made once a batch for all trainings and methods; as many of each level as
  `--events` says are made, and their time is scaled;
- *functions*: of the ensemble, at all events of the pool, once for each training and method;
- *300 experiments* at one true fraction, from `--experiments` of them.

*Share* is that of functions and experiments in the training, which has to stay below 1; *with events* counts
the job's part of the pool's events too: all jobs of the study draw from them. `--task` puts another simulator
in the place of the study's, `--pool` another size of the pool, 0 for none. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from table_text import number, table

from veridical import artifacts, seeds, tasks
from veridical.coordinates import Run
from veridical.estimators import pools
from veridical.files import read_json
from veridical.study import settings
from veridical.study.layout import Layout
from veridical.training.devices import cpu_threads

ALL = 300
HEADER = ("method", "training", "events", "functions", "300 experiments", "share", "with events")
Array = np.ndarray


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of a call, and what it gives."""
    began = time.process_time()
    found = call()
    return time.process_time() - began, found


def generator(*path: str | int) -> np.random.Generator:
    """The generator of a named piece of work."""
    return seeds.generator(20261130, "experiment", *path)


def measured(layout: Layout, task: Any, run: Run, chosen: argparse.Namespace) -> dict[str, float | str]:
    """Costs of the experiments of one run."""
    method = artifacts.load_estimator(layout.artifact(run))
    asked: dict[str, Any] = dict(layout.experiment_settings)
    asked["true_values"] = asked["true_values"][:1]
    if chosen.pool is not None:
        asked["pool"] = chosen.pool
    pool, spent, looked = asked.get("pool") or 0, 0.0, 0.0
    ensemble = method.parent
    if pool:
        kept = {}
        for place, level in enumerate(pools.levels_of(task, ensemble)):
            make = partial(pools.made, task, level, chosen.events, generator("pool", place))
            took, events = seconds(make)
            spent += took * pool / chosen.events
            kept[level] = np.resize(events, (pool, *task.x_shape))
        looked = seconds(partial(pools.pooled, task, ensemble, generator, kept.__getitem__))[0]
        asked["pool"] = kept.__getitem__
    few, many = (
        seconds(partial(method.pseudo_experiments, task, {**asked, "rows": rows}, generator))[0]
        for rows in (2, 2 + chosen.experiments)
    )
    training = read_json(f"{layout.artifact(layout.parent_run(run))}/cost.json", "costs")["cpu_seconds"]
    of_all = ALL * (many - few) / chosen.experiments
    jobs = len(layout.experiments)
    return {
        "method": run.method,
        "training": training,
        "events": spent,
        "functions": looked,
        "experiments": of_all,
        "share": (looked + of_all) / training,
        "with_events": (spent / jobs + looked + of_all) / training,
    }


def main() -> None:
    """Measures methods of a study in their last training's first replicate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results")
    parser.add_argument("--study", default="config/wifi_jets.yaml")
    parser.add_argument("--task")
    parser.add_argument("--pool", type=int)
    parser.add_argument("--methods", nargs="*")
    parser.add_argument("--experiments", type=int, default=20)
    parser.add_argument("--events", type=int, default=2000)
    chosen = parser.parse_args()
    layout = Layout(settings.load(Path(chosen.study)), root=chosen.results)
    task = tasks.build({**layout.task_spec, **({"name": chosen.task} if chosen.task else {})})
    runs = [run for run, _ in layout.experiments if run.replicate == 0]
    with cpu_threads(1):
        found = [
            measured(layout, task, run, chosen)
            for run in runs
            if not chosen.methods or run.method in chosen.methods
        ]
    cells = [[str(line["method"]), *(number(float(v)) for v in list(line.values())[1:])] for line in found]
    print(table(HEADER, cells))
    print(json.dumps({"study": chosen.study, "task": task.name, "lines": found}))


if __name__ == "__main__":
    main()

"""Do cheap rows with the data of others bring more than draws of the prior do?

    python benchmarks/permuted_rows.py [TASK ...] [--seeds 0 1 2 3 4 5 6 7 8 9] [--page PAGE.md]

A control of transfer: a network learns from 10,000 cheap rows, another one begins with its weights and learns
from 100 dear rows. Where the cheap rows have each other's data (*permuted*), nothing in them tells of the
parameters: they are draws of the prior beside data that are distributed as cheap data are. What they bring
can only be where the second network begins: near the prior, whatever the data. *from the prior* has
independent normal numbers for these data, of the same means and deviations: no simulation at all. What cheap
simulations themselves are worth is what *transfer* gains over *permuted*.

Loss is the mean negative log density at the true parameters of 1,000 fresh dear rows, in nats, the same for
all seeds and ways; *gain* is how far it falls from that of `npe` on the same 100 rows, or from that of
*permuted*, by pairs of one seed. A seed draws new simulations, weights and batches; `+-` is the standard
error of the mean over seeds. Networks and trainings are those of `config/collections/multifidelity.yaml`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from multifidelity_schemes import CHEAP, DEAR, FEW, LOW, PLAIN
from records import foot, keep
from table_text import table

from veridical import bank, methods, seeds, tasks
from veridical.estimators.base import Estimator, Material, Rows, TaskInfo
from veridical.tasks.base import as_arrays, usable
from veridical.training.session import Session

ROOT, FRESH = 20261201, 1000
TASKS = ("stochastic_lotka_volterra", "network_sir")
WAYS = ("npe", "transfer", "permuted", "from the prior")
Array = np.ndarray


def rng(*path: str | int) -> np.random.Generator:
    """The generator of a named piece of work."""
    return seeds.generator(ROOT, "test", "permuted_rows", *path)


def simulated(task: tasks.Task, level: str, theta: Array, *path: str | int) -> Array:
    """Data of one level (N, *x_shape); failed rows hold NaN."""
    given = rng(*path, "noise")
    noise = task.noise(given, len(theta)) if task.coupled else given
    return as_arrays(task.simulate(theta, noise, level))["x"].astype(np.float32)


def valid(theta: Array, x: Array) -> Rows:
    """Rows that are data, marked for validation as those of a bank."""
    kept = usable(x, has_missing=False)
    return Rows(theta[kept], x[kept], bank.validation_mask(len(x))[kept])


def kinds(low: Rows, seed: int) -> dict[str, Rows]:
    """The cheap rows as they are, with each other's data, and with normal numbers for data."""
    order = rng("permuted", seed).permutation(len(low))
    normal = low.x.mean(axis=0) + low.x.std(axis=0) * rng("normal", seed).normal(size=low.x.shape)
    changed = {"transfer": low.x, "permuted": low.x[order], "from the prior": normal.astype(np.float32)}
    return {way: Rows(low.theta, x, low.validation) for way, x in changed.items()}


def fitted(
    task: tasks.Task, name: str, level: str, rows: Rows, training: Any, seed: int, parent: Estimator | None
) -> Any:
    """A posterior that learned from rows, from the weights of another one if there is one."""
    spec = {"type": "npe", "fidelity": level, **PLAIN, "training": training}
    if parent is not None:
        spec["start"] = "low"
    material = Material(rows, prior=task.prior, parent=parent)
    return methods.fit(spec, TaskInfo.of(task), material, Session(ROOT, (name, seed)))[0]


def measured(name: str, wanted: Sequence[int]) -> Iterator[dict[str, Any]]:
    """A line for each seed: the loss of each way."""
    task = tasks.build({"name": name})
    levels = [level for level in task.fidelities if level != "real"]
    theta = task.prior.sample(rng(name, "fresh"), FRESH)
    fresh = valid(theta, simulated(task, levels[-1], theta, name, "fresh"))
    for seed in wanted:
        theta = task.prior.sample(rng(name, "train", seed), CHEAP)
        low = valid(theta, simulated(task, levels[0], theta, name, "train", seed))
        high = valid(theta[:DEAR], simulated(task, levels[-1], theta[:DEAR], name, "dear", seed))
        answers = {"npe": fitted(task, "npe", levels[-1], high, FEW, seed, None)}
        for way, rows in kinds(low, seed).items():
            begun = fitted(task, "low", levels[0], rows, LOW, seed, None)
            answers[way] = fitted(task, way, levels[-1], high, FEW, seed, begun)
        losses = {way: -float(found.log_prob(fresh.theta, fresh.x).mean()) for way, found in answers.items()}
        yield {"task": name, "seed": seed} | losses


def spread(values: Array) -> str:
    """A mean over seeds and its standard error."""
    return f"{values.mean():.2f} ± {values.std(ddof=1) / len(values) ** 0.5:.2f}"


def page(record: dict[str, Any]) -> str:
    """The record as Markdown."""
    cells = []
    for name in dict.fromkeys(line["task"] for line in record["lines"]):
        own = [line for line in record["lines"] if line["task"] == name]
        losses = {way: np.array([line[way] for line in own]) for way in WAYS}
        for way in WAYS:
            beyond = spread(losses["permuted"] - losses[way]) if way in ("transfer", "from the prior") else ""
            gain = spread(losses["npe"] - losses[way]) if way != "npe" else ""
            cells.append([f"`{name}`", way, str(len(own)), spread(losses[way]), gain, beyond])
    header = ["task", "way", "seeds", "loss", "gain over npe", "gain over permuted"]
    text = str(__doc__).split("\n\n", 2)[2].strip()
    parts = ["# What cheap rows that tell nothing bring", text, table(header, cells)]
    return "\n\n".join([*parts, foot(record, ROOT)]) + "\n"


def main() -> None:
    """Measures, prints a line per seed, and writes record and page where a page is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", nargs="*", default=[*TASKS], metavar="TASK")
    parser.add_argument("--seeds", type=int, nargs="+", default=[*range(10)])
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    lines = (line for name in options.tasks for line in measured(name, options.seeds))
    keep(__file__, lines, ("task", "seed"), page, options.page)


if __name__ == "__main__":
    main()

"""What does training while simulating gain over a bank, at equal steps and at equal time?

    python benchmarks/online.py [TASK ...] [--stored 1000 10000] [--sets 0 1 2] [--page PAGE.md]

The default `npe` with 40 passes. *bank*: all passes over the stored rows. *online*: the same steps, but every
pass after the first over new rows that are simulated as it goes (`training.streaming: online`). *bank, equal
time*: over the stored rows, in so many passes that simulation and training cost what *online* does, at least.
*bank of all*: all rows that *online* sees are stored, and seen once each. Every way has batches of one size,
looks at the loss as often and is not stopped early. Loss is the mean negative log density at the true
parameters of 2,000 new rows, the same for all ways of a set; *gain* is how far it falls from *bank*, by pairs
of one set. A set has simulations, initial weights and orders of its own; `+-` is the standard error of the
mean over sets. Seconds are CPU seconds of one core, simulation of stored rows included.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from collections.abc import Iterator, Sequence
from itertools import product
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from records import foot, keep
from table_text import table

from veridical import artifacts, bank, seeds, tasks
from veridical.bank.filling import ShardRows
from veridical.coordinates import Run
from veridical.stages.simulate import simulate_shard
from veridical.stages.train import Sources, train
from veridical.training.settings import TrainingSettings

ROOT, TESTED, PASSES, SHARD = 20261201, 2000, 40, 100_000
TASKS: dict[str, dict[str, Any]] = {
    "two_moons": {"name": "two_moons"},
    "slcp": {"name": "slcp"},
    "gaussian_linear": {"name": "gaussian_linear", "settings": {"dimension": 10}},
    "lotka_volterra_bf": {"name": "lotka_volterra_bf"},
    "network_sir": {"name": "network_sir"},
}
WAYS = ("bank", "online", "bank, equal time", "bank of all")


def dearest(task: tasks.Task) -> str:
    """The dearest level that is simulated."""
    return [level for level in task.fidelities if level != "real"][-1]


def spent() -> float:
    """CPU seconds of this process and of those it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def simulated(spec: dict[str, Any], folder: Path, rows: int, number: int) -> tuple[list[Path], float]:
    """Shards that hold so many rows of a set, and the CPU seconds that they took."""
    task, begun, paths = tasks.build(spec), spent(), []
    level = dearest(task)
    rows = ceil(rows / task.block_rows) * task.block_rows
    step = max(task.block_rows, SHARD // task.block_rows * task.block_rows)
    for first in range(0, rows, step):
        last = min(first + step, rows) - 1
        paths.append(folder / bank.shard_name(first, last))
        place = ShardRows(root=ROOT, fidelity=level, split="train", replicate=number, first=first, last=last)
        simulate_shard(spec, paths[-1], place, key="k")
    return paths, spent() - begun


def trained(
    spec: dict[str, Any],
    paths: Sequence[Path],
    rows: int,
    passes: int,
    batch: int,
    number: int,
    out: Path,
    online: bool,
) -> tuple[Any, float]:
    """A posterior trained on so many rows, and its CPU seconds."""
    plan = {"epochs": passes, "batch_size": batch, "rounds": PASSES, "patience": 10_000}
    plan |= {"streaming": "online" if online else None}
    level = dearest(tasks.build(spec))
    begun = spent()
    train(
        spec,
        {"type": "npe", "training": plan},
        Sources((paths, rows), fidelity=level),
        out,
        Run("npe", rows, number),
        root=ROOT,
        checkpoints=out.parent / "checkpoints",
    )
    return artifacts.load_estimator(out), spent() - begun


def measured(name: str, stored: int, number: int) -> Iterator[dict[str, Any]]:
    """A line for each way to train on one set."""
    spec, task = TASKS[name], tasks.build(TASKS[name])
    test = {"theta": task.prior.sample(seeds.generator(ROOT, "test", name, number, "theta"), TESTED)}
    level = dearest(task)
    rng = seeds.generator(ROOT, "test", name, number, "x")
    given = task.noise(rng, TESTED) if task.coupled else rng
    test["x"] = np.asarray(task.simulate(test["theta"], given, level)).astype(task.x_dtype)
    good = np.isfinite(test["x"].reshape(TESTED, -1)).all(axis=1)
    batch = TrainingSettings(epochs=PASSES).batch(stored)
    with tempfile.TemporaryDirectory() as temporary:
        few, simulating = simulated(spec, Path(temporary, "few"), stored, number)
        times: dict[str, float] = {}
        for way in WAYS:
            paths, rows, passes, before = few, stored, PASSES, simulating
            if way == "bank, equal time":
                longer = (times["online"] - simulating) / (times["bank"] - simulating)
                passes = max(PASSES, ceil(PASSES * longer))
            if way == "bank of all":
                rows, passes = stored * PASSES, 1
                paths, before = simulated(spec, Path(temporary, "all"), rows, number)
            out = Path(temporary, way)
            fitted, seconds = trained(spec, paths, rows, passes, batch, number, out, way == "online")
            times[way] = before + seconds
            loss = -fitted.log_prob(test["theta"][good], test["x"][good])
            megabytes = sum(path.stat().st_size for path in paths) / 1e6
            yield {
                "task": name,
                "stored": stored,
                "set": number,
                "way": way,
                "passes": passes,
                "loss": float(loss.mean()),
                "seconds": times[way],
                "megabytes": megabytes,
            }


def spread(values: Sequence[float], digits: int) -> str:
    """Mean and its standard error over sets."""
    if len(values) < 2:
        return f"{values[0]:.{digits}f}"
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{np.mean(values):.{digits}f} ± {error:.{digits}f}"


def page(record: dict[str, Any]) -> str:
    """The record as Markdown."""
    lines, cells = record["lines"], []
    for name, stored in dict.fromkeys((line["task"], line["stored"]) for line in lines):
        own = [line for line in lines if (line["task"], line["stored"]) == (name, stored)]
        base = {line["set"]: line["loss"] for line in own if line["way"] == "bank"}
        for way in WAYS:
            of_way = [line for line in own if line["way"] == way]
            if not of_way:
                continue
            gains = [base[line["set"]] - line["loss"] for line in of_way]
            seconds, size = (np.mean([line[key] for line in of_way]) for key in ("seconds", "megabytes"))
            passes = np.mean([line["passes"] for line in of_way])
            told = [f"`{name}`", f"{stored:,}", way, f"{passes:.0f}"]
            told += [spread([line["loss"] for line in of_way], 3), "" if way == "bank" else spread(gains, 3)]
            cells.append([*told, f"{seconds:.0f}", f"{size:.1f}"])
    header = ["task", "stored rows", "way", "passes", "loss", "gain", "CPU s", "MB stored"]
    text = str(__doc__).split("\n\n", 2)[2].strip()
    parts = ["# Training while simulating, against training from a bank", text, table(header, cells)]
    return "\n\n".join([*parts, foot(record, ROOT)]) + "\n"


def main() -> None:
    """Measures, prints a line per training, and writes record and page where a page is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", nargs="*", default=[*TASKS], metavar="TASK")
    parser.add_argument("--stored", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--sets", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    asked = product(options.tasks, options.stored, options.sets)
    lines = (line for name, stored, number in asked for line in measured(name, stored, number))
    keep(__file__, lines, ("task", "stored", "set", "way"), page, options.page)


if __name__ == "__main__":
    main()

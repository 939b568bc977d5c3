"""Stage observe: real data from files, test rows from the bank, both as data sets of one form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from veridical import bank, seeds, tasks
from veridical.checks import prior_predictive
from veridical.coordinates import REAL, SIMULATED
from veridical.errors import BankError
from veridical.files import write_json
from veridical.saved import observations


def observe(spec: dict[str, Any], settings: dict[str, Any], name: str, out: str | Path) -> None:
    """Reads one real data set, checks it against the task and writes it to `out`."""
    task = tasks.build(spec)
    data = observations.read(settings, task, name)
    observations.save(out, data, task)
    print(f"{name}: {len(data.x)} observation(s) of shape {data.x.shape[1:]} from {settings['file']}")
    for note in data.notes:
        print(f"{name}: {note}")


def observe_simulated(
    spec: dict[str, Any], shards: list[str], rows: int, fidelity: str, out: str | Path
) -> None:
    """Writes the valid ones of the first `rows` test rows to `out`, with the parameters behind them."""
    task = tasks.build(spec)
    arrays = bank.load(shards, rows)
    valid = bank.valid(arrays)
    if not valid.any():
        raise BankError(f"none of the {rows} test rows at fidelity {fidelity} is valid; see the probe's log.")
    kind = REAL if fidelity == REAL else SIMULATED
    source = f"{task.name}, fidelity {fidelity}, {int(valid.sum())} valid of {rows} test rows"
    data = observations.Observations(arrays["x"][valid], arrays["theta"][valid], kind, kind, source)
    observations.save(out, data, task)
    print(source)


def observe_mixtures(spec: dict[str, Any], settings: dict[str, Any], out: str | Path, *, root: int) -> None:
    """Writes one sample of unlabelled events of a class task for each true fraction in the settings."""
    task = tasks.build(spec)
    assert isinstance(task, tasks.ClassTask)
    samples, labels = [], []
    for i, value in enumerate(settings["true_values"]):
        rng = seeds.generator(root, "experiment", "observe", task.name, i)
        events, classes = task.labelled_mixture(settings["events"], value, rng)
        samples.append(events)
        labels.append(classes)
    x = np.stack(samples)
    truth = np.array(settings["true_values"], float)[:, None]
    source = f"{task.name}, {settings['events']} events of both classes in known fractions"
    data = observations.Observations(x, truth, SIMULATED, SIMULATED, source, classes=np.stack(labels))
    observations.save(out, data, task)
    print(source)


def look(data: str | Path, prior: str | Path, out: str | Path) -> None:
    """Writes where each real observation lies in the cloud of prior predictions, and notes on it."""
    observed = observations.load(data)
    found = prior_predictive.look(observed.x, observations.load(prior).x)
    found["notes"] = [*observed.notes, *filter(None, [found.get("missing")])]
    for note in found["notes"]:
        print(note)
    write_json(out, found, indent=1)

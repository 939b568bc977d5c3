"""Stage check: one check on saved draws, its result saved with all that its figures need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from veridical import checks, seeds, tasks
from veridical.checks.base import CheckResult, save
from veridical.checks.experiments import aggregate
from veridical.files import read_npz
from veridical.saved import observations, posteriors, predictions
from veridical.saved.beside import BESIDE


def check(
    name: str,
    settings: dict[str, Any],
    inputs: dict[str, str],
    out: str | Path,
    *,
    root: int,
    method: str,
    replicate: int,
    dataset: str,
    task: dict[str, Any] | None = None,
) -> None:
    """Runs one check and writes its result.

    Arguments:
        name: The check, as in the registry.
        settings: Its settings.
        inputs: Paths of what it looks at: `draws` and, where the check needs them, `null`,
            `reference`, `labelled`, `prior` and the arrays of `BESIDE`.
        out: Where the result goes.
        root: Root seed.
        method: Name of the method, for seeds.
        replicate: Its replicate, likewise.
        dataset: Name of the data set, likewise.
        task: The task, as plain data, of a check that uses its prior or names values of its data.
    """
    rng = seeds.generator(root, "check", name, method, replicate, dataset)
    given: dict[str, Any] = {}
    if task is not None:
        built = tasks.build(task)
        given["prior"] = built.prior
        given["axes"] = [{"name": d.name, "coordinates": list(d.coordinates)} for d in built.dimensions]
    for role in ("null", "reference", "labelled"):
        if role in inputs:
            given[role] = posteriors.load(inputs[role])
    for role, beside in BESIDE.items():
        if role == "predictive" and role in inputs:
            given[role] = predictions.load(inputs[role])
        elif role in inputs:
            given[role] = read_npz(inputs[role], beside.holds)
    if "predictive" in inputs:
        given["prior_predictive"] = observations.load(inputs["prior"]).x
    draws = posteriors.load(inputs["draws"])
    if draws.attrs.get("refused") and "reference" in given:
        given["reference"] = posteriors.only(given["reference"], draws.numbers)
    result = checks.build(name, **settings).run(draws, rng, **given)
    save(_numbered(result, draws.numbers), out)
    for metric in result.metrics():
        print(metric)


def _numbered(result: CheckResult, numbers: Sequence[int]) -> CheckResult:
    """A result whose metrics of single observations bear their numbers in the data set."""
    table = []
    for metric in result.table:
        at = (metric.extra or {}).get("observation")
        table.append(
            metric if at is None else replace(metric, extra={**metric.extra, "observation": numbers[at]})
        )
    return replace(result, table=tuple(table))


def experiments(
    batches: Sequence[str | Path],
    names: Sequence[str],
    out: str | Path,
    *,
    root: int,
    method: str,
    replicate: int,
    dataset: str,
) -> None:
    """Writes what all batches of pseudo-experiments of one method say of its coverage, by parameter."""
    rng = seeds.generator(root, "check", "experiments", method, replicate, dataset)
    save(aggregate(batches, rng, names), out)

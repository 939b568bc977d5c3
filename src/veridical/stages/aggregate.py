"""Stage report, first job: all numbers of a study in one table, and the verdict that follows from them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from veridical import checks, metrics, posteriors
from veridical.metrics import Coordinates, Row, coordinates
from veridical.posteriors import Draws
from veridical.report import verdict

Paths = Iterable[str | Path]


def aggregate(
    study: str,
    task: str,
    *,
    results: Paths,
    draws: Paths,
    costs: Paths,
    benchmarks: Paths = (),
    table: str | Path,
    verdicts: str | Path,
) -> None:
    """Writes `metrics.csv` and `verdict.json`.

    Arguments:
        study: Name of the study.
        task: Name of its task.
        results: Saved checks, `check/{method}/n{budget}-r{replicate}/{dataset}/{check}.json`.
        draws: Draws whose posteriors are tabulated: of observed data (all observations) and of the reference;
            of `simulated` the first data set only.
        costs: `train/{method}/n{budget}-r{replicate}/cost.json`.
        benchmarks: Snakemake's benchmark files of the jobs that drew, `infer/{method}/n{budget}-r{replicate}/
            {dataset}.jsonl`.
        table: Where `metrics.csv` goes.
        verdicts: Where `verdict.json` goes.
    """
    common = {"study": study, "task": task}
    rows: list[Row] = []
    for path in results:
        rows += metrics.check_rows(coordinates(path), checks.load(path), **common)
    for path in costs:
        rows += metrics.cost_rows(coordinates(path), json.loads(Path(path).read_text()), **common)
    for path in benchmarks:
        rows += _sample_rows(path, common)
    for path in draws:
        rows += _draws_rows(coordinates(path), posteriors.load(path), common)
    rows = metrics.tidy(rows)
    decided = verdict.decide(rows)
    metrics.write(table, rows)
    verdict.write(verdicts, {**decided, **common})
    for found in decided["verdicts"]:
        print(f"{found['method']} on {found['dataset']}: {found['verdict']}. {found['summary']}")


def _sample_rows(path: str | Path, common: Mapping[str, Any]) -> list[Row]:
    where = coordinates(path)
    if where.method == "reference":
        return []
    seconds = sum(float(record["s"]) for record in metrics.benchmark_records(path))
    return [metrics.row(**common, **where.cells, metric="sample_seconds", value=seconds)]


def _draws_rows(where: Coordinates, found: Draws, common: Mapping[str, Any]) -> list[Row]:
    """Posterior summaries, and the convergence of a reference."""
    shown = slice(1) if where.dataset == "simulated" else slice(None)
    truth = None if found.truth is None else found.truth[shown]
    rows = metrics.posterior_rows(where, found.names, found.draws[:, shown], truth, **common)
    for name in ("rhat", "ess") if where.method == "reference" else ():
        for parameter, value in _per_parameter(found, name).items():
            cells = {**common, **where.cells, "metric": name, "parameter": parameter}
            rows.append(metrics.row(**cells, value=value, n=found.draws.shape[0]))
    return rows


def _per_parameter(found: Draws, name: str) -> dict[str, float]:
    """What the attributes of a reference state of each parameter; the worst of several observations."""
    stated = found.attrs.get(name)
    if stated is None:
        return {}
    if isinstance(stated, Mapping):
        return {key: float(value) for key, value in stated.items()}
    values = np.asarray(stated, dtype=float).reshape(-1, len(found.names))
    worst = values.max(axis=0) if name == "rhat" else values.min(axis=0)
    return dict(zip(found.names, worst.tolist(), strict=True))

"""Stage report, first job: all numbers of a study in one table, and the verdict that follows from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from veridical import checks, files
from veridical.coordinates import LABELLED, REFERENCE, Coordinates, Run
from veridical.digests import file_digest
from veridical.evidence import metrics, tabulation
from veridical.evidence.metrics import Row, grouped
from veridical.report import missing, verdict
from veridical.saved import estimates, posteriors
from veridical.saved.posteriors import Draws
from veridical.unchecked import made, read

Paths = Iterable[str | Path]


def aggregate(
    study: str,
    task: str,
    *,
    results: Paths,
    draws: Paths,
    costs: Paths,
    benchmarks: Paths = (),
    simulations: Paths = (),
    records: Paths = (),
    ledgers: Mapping[str, Mapping[str, Any]] | None = None,
    table: str | Path,
    verdicts: str | Path,
) -> None:
    """Writes `metrics.csv` and `verdict.json`.

    Arguments:
        study: Name of the study.
        task: Name of its task.
        results: Saved checks, `check/{method}/n{budget}-r{replicate}/{dataset}/{check}.json`.
        draws: Draws whose posteriors are tabulated: of observed data (all observations) and of the reference;
            of labelled data the first data set only.
        costs: `train/{method}/n{budget}-r{replicate}/cost.json`.
        benchmarks: Snakemake's benchmark files of the jobs that drew, `infer/{method}/n{budget}-r{replicate}/
            {dataset}.jsonl`.
        simulations: Snakemake's benchmark files of the jobs that filled the bank,
            `{fidelity}/{split}/rows-{first}-{last}.jsonl`.
        records: `estimator.json` of methods that learn in rounds.
        ledgers: What each run cost, by its folder `{method}/{run}`: `rows` of each fidelity, `nominal`
            cost, and `budget_low` and `members` where it has any.
        table: Where `metrics.csv` goes.
        verdicts: Where `verdict.json` goes.
    """
    common = {"study": study, "task": task}
    rows: list[Row] = []
    records_left = list(_records([*results, *draws]))
    unchecked = [missing.entry(path, one) for path, one in records_left if "refused" not in one]
    for path, one in records_left:
        if "refused" in one and Path(path).suffix == ".nc":
            where = Coordinates.of(path)
            rows += tabulation.standing_rows(where, one["refused"], one["refused"]["k"], **common)
    for path in made(results):
        rows += tabulation.check_rows(Coordinates.of(path), checks.load(path), **common)
    for path in costs:
        rows += tabulation.cost_rows(
            Coordinates.of(path), files.read_json(path, "the costs of a run"), **common
        )
    for path in records:
        found = files.read_json(path, "the record of a method")
        where = replace(Coordinates.of(path), dataset=found["settings"].get("dataset") or found["dataset"])
        rows += tabulation.round_rows(where, found["rounds"], **common)
    for path in benchmarks:
        rows += _sample_rows(path, common)
    for path in made(draws):
        if Path(path).suffix == ".json":
            rows += _estimate_rows(Coordinates.of(path), estimates.load(path), common)
        else:
            rows += draws_rows(path, Coordinates.of(path), common)
    rows += _mixture_rows(made(draws), common)
    seconds = _seconds_per_row(simulations)
    for folder, ledger in (ledgers or {}).items():
        rows += _ledger_rows(Coordinates.of(f"train/{folder}/cost.json"), ledger, seconds, common)
    rows = metrics.tidy([_with_ledger(row, ledgers or {}) for row in rows])
    decided = verdict.decide(rows, unchecked)
    metrics.write(table, rows)
    verdict.write(verdicts, {**decided, **common, metrics.DIGEST: file_digest(table)})
    for text in missing.told(unchecked):
        print(f"could not be made: {text}")
    for found in decided["verdicts"]:
        print(f"{found['method']} on {found['dataset']}: {found['verdict']}. {found['summary']}")


def _records(paths: Paths) -> Iterator[tuple[str | Path, dict[str, Any]]]:
    for path in paths:
        if (found := read(path)) is not None:
            yield path, found


def _seconds_per_row(simulations: Paths) -> dict[str, float]:
    """Seconds that one row of each fidelity took, start of its job included."""
    spent: dict[str, list[float]] = {}
    for path in map(Path, simulations):
        first, last = (int(part) for part in path.stem.removeprefix("rows-").split("-"))
        seconds = sum(float(record["s"]) for record in files.benchmark_records(path))
        total = spent.setdefault(path.parent.parent.name, [0.0, 0.0])
        total[0], total[1] = total[0] + seconds, total[1] + last - first + 1
    return {fidelity: seconds / rows for fidelity, (seconds, rows) in spent.items()}


def _ledger_rows(
    where: Coordinates, ledger: Mapping[str, Any], seconds: Mapping[str, float], common: Mapping[str, Any]
) -> list[Row]:
    """What the simulations of one run cost: in nominal units, and in seconds as measured."""
    n = sum(ledger["rows"].values())
    cells = {**common, **where.cells, "n": n}
    found = [
        metrics.row(**cells, metric="nominal_cost", value=float(ledger["nominal"])),
        metrics.row(**cells, metric="target_runs", value=float(ledger["target"])),
    ]
    for name, (family, value) in ledger.get("scans", {}).items():
        found.append(metrics.row(**cells, metric=f"scanned_{name}", value=float(value), category=family))
    if set(ledger["rows"]) <= set(seconds):
        spent = sum(seconds[level] * rows for level, rows in ledger["rows"].items())
        found.append(metrics.row(**cells, metric="simulation_seconds", value=spent))
    return found


def _with_ledger(row: Row, ledgers: Mapping[str, Mapping[str, Any]]) -> Row:
    """A row with the columns filled that only the ledger of its run knows."""
    run = Run(row["method"], row["budget"], row["seed"], row["n_calibration"])
    ledger = ledgers.get(run.folder, {})
    return {**row, **{name: ledger.get(name) for name in ("budget_low", "members")}}


def _estimate_rows(where: Coordinates, found: Mapping[str, Any], common: Mapping[str, Any]) -> list[Row]:
    """Estimated fractions with their errors."""
    estimate, truth = found["estimate"], found["truth"]
    rows = []
    for i in range(len(estimate.value)):
        cells = {**common, **where.cells, "observation": i, "parameter": "fraction"}
        cells["true_value"] = None if truth is None else float(truth[i])
        rows.append(
            metrics.row(
                **cells, metric="estimate", value=float(estimate.value[i]), stderr=float(estimate.total[i])
            )
        )
        for name, error in (("statistical", estimate.statistical), ("ratio", estimate.ratio)):
            rows.append(metrics.row(**cells, metric=f"estimate_{name}_error", value=float(error[i])))
        rows += [
            metrics.row(**cells, metric="estimate_variance_share", value=float(share[i]), category=source)
            for source, share in estimate.variance_shares.items()
            if np.isfinite(share[i])
        ]
        if estimate.fit_p is not None:
            rows.append(metrics.row(**cells, metric="estimate_fit_p", value=float(estimate.fit_p[i])))
        if estimate.prior:
            rows.append(metrics.row(**cells, metric="estimate_prior", value=1.0))
        if estimate.alarms is not None:
            said = {"category": "; ".join(estimate.alarms[i])} if estimate.alarms[i] else {}
            count = float(len(estimate.alarms[i]))
            rows.append(metrics.row(**cells, metric="estimate_alarms", value=count, **said))
    return rows


def _sample_rows(path: str | Path, common: Mapping[str, Any]) -> list[Row]:
    where = Coordinates.of(path)
    if where.method == REFERENCE:
        return []
    seconds = sum(float(record["s"]) for record in files.benchmark_records(path))
    return [metrics.row(**common, **where.cells, metric="sample_seconds", value=seconds)]


def draws_rows(path: str | Path, where: Coordinates, common: Mapping[str, Any]) -> list[Row]:
    """Returns the summaries of a file of draws, and the convergence of a reference.

    Only the observations that are tabulated are read: of labelled data the first.
    """
    found = _tabulated(path, where)
    discrete = found.support.discrete
    numbers, about = found.numbers, found.attrs
    rows = tabulation.posterior_rows(
        where, found.names, found.draws, found.truth, discrete, numbers=numbers, **common
    )
    if "standing" in about:
        rows += tabulation.standing_rows(where, about["standing"], about["refused"], **common)
    for name in ("rhat", "ess"):
        for parameter, (value, i) in _per_parameter(found, name).items():
            cells = {**common, **where.cells, "metric": name, "parameter": parameter, "observation": i}
            rows.append(metrics.row(**cells, value=value, n=found.draws.shape[0]))
    return rows


def _tabulated(path: str | Path, where: Coordinates) -> Draws:
    return posteriors.load(path, 1 if where.dataset in LABELLED else tabulation.MAX_OBSERVATIONS)


def _mixture_rows(draws: Paths, common: Mapping[str, Any]) -> list[Row]:
    """What the replicates of a method say together, where there are several of them."""
    rows: list[Row] = []
    answers = (path for path in draws if Path(path).suffix == ".nc")
    for own in grouped(answers, lambda path: replace(Coordinates.of(path), replicate=None)).values():
        if len(own) > 1:
            where = Coordinates.of(own[0])
            found = posteriors.answered_by_all([_tabulated(path, where) for path in own])
            repeats, numbers = [one.draws for one in found], found[0].numbers
            rows += tabulation.mixture_rows(where, found[0].names, repeats, numbers, **common)
    return rows


def _per_parameter(found: Draws, name: str) -> dict[str, tuple[float, int | None]]:
    """R-hat or effective size of each parameter, and the number of the observation where that is worst.

    Of a reference, which states the worst of its observations, there is no number.
    """
    own = getattr(found, name)
    if own is None:
        return {key: (float(value), None) for key, value in found.attrs.get(name, {}).items()}
    worst = own.argmax(axis=0) if name == "rhat" else own.argmin(axis=0)
    places = enumerate(zip(found.names, worst.tolist(), strict=True))
    return {key: (float(own[i, j]), found.numbers[i]) for j, (key, i) in places}

"""Metrics of a study: one tidy table, one number a row.

`metrics.csv` is where every number in the verdict, the report and the documentation comes from. Rows with a
`seed` belong to one replicate; rows without one are the mean over replicates, with the standard error across
them (none for a single replicate) and `n` = number of replicates. Floats are written with `repr`, so that a
table read back is the table written, bit for bit.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np

from veridical.errors import DataError
from veridical.files import write_text

COLUMNS = (
    "study",
    "task",
    "method",
    "budget",
    "seed",
    "dataset",
    "metric",
    "parameter",
    "value",
    "stderr",
    "n",
    "budget_low",
    "n_calibration",
    "members",
    "level",
    "true_value",
    "dataset_name",
    "observation",
)
INTEGERS = frozenset({"budget", "seed", "n", "budget_low", "n_calibration", "members", "observation"})
FLOATS = frozenset({"value", "stderr", "level", "true_value"})
TIME_METRICS = frozenset({"fit_seconds", "sample_seconds", "simulation_seconds"})
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MAX_OBSERVATIONS = 100  # posterior summaries are tabulated for the first so many observations of a data set
_ORDER = (
    *("study", "task", "method", "budget", "seed", "dataset", "dataset_name", "metric", "observation"),
    *("parameter", "level", "budget_low", "n_calibration", "members", "true_value"),
)
_NOT_KEY = frozenset({"seed", "value", "stderr", "n"})

Row = dict[str, Any]
Stream = tuple[str, Any, tuple[int, ...], Iterable[np.ndarray]]


@dataclass(frozen=True, order=True)
class Coordinates:
    """Where a result belongs: method, budget, replicate, data set, calibration pairs; None for none."""

    method: str
    budget: int | None = None
    replicate: int | None = None
    dataset: str = ""
    calibration: int | None = None

    @property
    def cells(self) -> Row:
        """The cells of a row that say where it belongs."""
        where = dataset_cells(self.dataset)
        run = {"budget": self.budget, "seed": self.replicate, "n_calibration": self.calibration}
        return {"method": self.method, **run, **where}


def dataset_kind(dataset: str) -> str:
    """Returns `simulated` or `real` for the data sets of that name, `observed` for any other."""
    return dataset if dataset in ("", "simulated", "real") else "observed"


def dataset_cells(dataset: str) -> Row:
    """Returns the cells of a row that name a data set; observed ones also by their own name."""
    kind = dataset_kind(dataset)
    return {"dataset": kind or None, "dataset_name": dataset if kind == "observed" else None}


def coordinates(path: str | Path) -> Coordinates:
    """Reads where a result belongs off its path.

    The layouts are `.../{stage}/{method}/n{budget}[-c{pairs}]-r{replicate}[/{dataset}[/...]]`, of which the
    stages `train` and `remedy` have no data set, and `.../reference/{dataset}...`, which has neither budget
    nor replicate.

    Raises:
        DataError: If the path follows neither layout.
    """
    parts = Path(path).parts
    for i, part in enumerate(parts):
        match = re.fullmatch(r"n(\d+)(?:-c(\d+))?-r(\d+)(\.\w+)?", part)
        if match and i:
            of_data = i + 1 < len(parts) and parts[i - 2 : i - 1] not in (("train",), ("remedy",))
            dataset = parts[i + 1].split(".")[0] if of_data else ""
            pairs = None if match[2] is None else int(match[2])
            return Coordinates(parts[i - 1], int(match[1]), int(match[3]), dataset, pairs)
        if part == "reference" and i + 1 < len(parts):
            return Coordinates("reference", dataset=parts[i + 1].split(".")[0])
    raise DataError(f"{path}: expected a path .../METHOD/nBUDGET-rREPLICATE/... or .../reference/DATASET...")


def row(**cells: Any) -> Row:
    """Returns a row with all standard columns, None where nothing was given."""
    return {**dict.fromkeys(COLUMNS), **cells}


def check_rows(where: Coordinates, result: Mapping[str, Any], **common: Any) -> list[Row]:
    """Returns the rows of one saved check: one for each of its metrics, and two of its own.

    A check that ends in a p-value has it as `{check}_p` unless it tabulates it itself, and says in
    `{check}_decidable` (1 or 0) whether its null is large enough ever to reject.

    Arguments:
        where: What the check looked at.
        result: The check as saved: `metrics` is a list of name, value, stderr, n, parameter, level, extra.
        common: Cells that all rows share, such as study and task.
    """
    shared = {**common, **where.cells}
    rows = []
    for metric in result["metrics"]:
        cells = {key: metric.get(key) for key in ("value", "stderr", "n", "level")}
        cells |= {"metric": metric["name"], "parameter": metric.get("parameter") or None}
        rows.append(row(**shared, **cells, **(metric.get("extra") or {})))
    if result.get("p_value") is not None:
        decidable = float(result.get("passed") is not None)
        rows.append(row(**shared, metric=f"{result['check']}_decidable", value=decidable))
        if not any(r["metric"].endswith("_p") and r["parameter"] is None for r in rows):
            rows.append(row(**shared, metric=f"{result['check']}_p", value=result["p_value"]))
    return rows


def cost_rows(where: Coordinates, cost: Mapping[str, Any], **common: Any) -> list[Row]:
    """Returns `fit_seconds` of one training and, where it used any rows, `invalid_share`."""
    cells = {**common, **where.cells, "dataset": None, "n": cost["n"]}
    rows = [row(**cells, metric="fit_seconds", value=float(cost["fit_seconds"]))]
    if not cost["n"]:
        return rows
    share = 1.0 - cost["n_valid"] / cost["n"]
    error = math.sqrt(share * (1.0 - share) / cost["n"])
    rows.append(row(**{**cells, "dataset": "simulated"}, metric="invalid_share", value=share, stderr=error))
    return rows


def posterior_rows(
    where: Coordinates,
    names: Sequence[str],
    draws: np.ndarray,
    truth: np.ndarray | None = None,
    **common: Any,
) -> list[Row]:
    """Returns mean, standard deviation and quantiles of posterior draws as rows.

    Arguments:
        where: Whose draws they are.
        names: Names of the D parameters.
        draws: Posterior draws, shape (S, N, D); only the first MAX_OBSERVATIONS observations are tabulated.
        truth: True parameters, shape (N, D), where they are known.
        common: Cells that all rows share.
    """
    draws = draws[:, :MAX_OBSERVATIONS]
    n = draws.shape[0]
    mean, sd = draws.mean(axis=0), draws.std(axis=0, ddof=1)
    quantiles = np.quantile(draws, QUANTILES, axis=0)
    rows = []
    for i in range(draws.shape[1]):
        for j, name in enumerate(names):
            known = None if truth is None else float(truth[i, j])
            cells = {
                **common,
                **where.cells,
                "parameter": name,
                "observation": i,
                "n": n,
                "true_value": known,
            }
            error = float(sd[i, j]) / math.sqrt(n)
            rows.append(row(**cells, metric="posterior_mean", value=float(mean[i, j]), stderr=error))
            rows.append(row(**cells, metric="posterior_sd", value=float(sd[i, j])))
            rows += [
                row(**cells, metric="posterior_quantile", value=float(quantiles[k, i, j]), level=level)
                for k, level in enumerate(QUANTILES)
            ]
    return rows


def aggregate(rows: Iterable[Row]) -> list[Row]:
    """Returns one row per group of replicates: mean, standard error across them, `n` = how many.

    Rows without a seed are not repeated over replicates and make no group. Of the columns that only some
    metrics have, texts tell groups apart; numbers are notes on one replicate and are left out.
    """
    groups: dict[tuple[tuple[str, Any], ...], list[float]] = {}
    for cells in rows:
        if cells["seed"] is not None:
            groups.setdefault(_group(cells), []).append(cells["value"])
    return [
        row(**dict(key), value=_mean(values), stderr=_standard_error(values), n=len(values))
        for key, values in groups.items()
    ]


def tidy(rows: Iterable[Row]) -> list[Row]:
    """Returns rows with their aggregates, in the order in which they are written."""
    rows = list(rows)
    return sorted(rows + aggregate(rows), key=_order)


def select(rows: Iterable[Row], **cells: Any) -> list[Row]:
    """Returns the rows with the given cells, in their order."""
    return [r for r in rows if all(r.get(key) == value for key, value in cells.items())]


def value(rows: Iterable[Row], **cells: Any) -> float | None:
    """Returns the value of the only row with the given cells, None where there is none.

    Raises:
        DataError: If several rows match.
    """
    found = select(rows, **cells)
    if len(found) > 1:
        raise DataError(
            f"metrics: expected one row with {cells}, got {len(found)}; name more of its columns."
        )
    return found[0]["value"] if found else None


def write(path: str | Path, rows: Iterable[Row]) -> None:
    """Writes a table whole or not at all: to a temporary name in the same folder, then renamed."""
    rows = list(rows)
    extras = sorted({key for cells in rows for key, cell in cells.items() if cell is not None} - set(COLUMNS))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*COLUMNS, *extras])
    for cells in rows:
        writer.writerow([_text(cells.get(column)) for column in (*COLUMNS, *extras)])
    write_text(path, buffer.getvalue())


def read(path: str | Path) -> list[Row]:
    """Reads a table as written: integers, floats, strings, None for empty cells.

    Raises:
        DataError: If a standard column is missing or a cell is not the number its column holds.
    """
    with Path(path).open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise DataError(
                f"{path}: expected the columns {', '.join(COLUMNS)}; {', '.join(missing)} missing."
            )
        rows = []
        for line, cells in enumerate(reader, start=2):
            try:
                rows.append({column: _parse(column, cell) for column, cell in cells.items()})
            except ValueError as error:
                raise DataError(f"{path}, line {line}: {error}") from error
        return rows


def benchmark_records(path: str | Path) -> list[dict[str, Any]]:
    """Returns the records of one of Snakemake's benchmark files in JSON lines."""
    return [json.loads(line) for line in Path(path).read_text().splitlines() if line.strip()]


def result_lines(arrays: Iterable[Stream], table: str | Path) -> list[str]:
    """Returns one line for each array of a study's results and one for its table.

    Each array enters as name, dtype, shape and SHA-256 of its bytes (little-endian, in C order); the table
    without its time rows.

    Arguments:
        arrays: Name, dtype, shape and pieces along the first axis of every array of the banks, the weights
            and the draws. Pieces may come lazily and be of any length.
        table: The study's `metrics.csv`.
    """
    lines = []
    for name, dtype, shape, pieces in arrays:
        dtype = np.dtype(dtype).newbyteorder("<")
        content = hashlib.sha256()
        for piece in pieces:
            content.update(np.ascontiguousarray(piece, dtype=dtype).tobytes())
        lines.append(f"{name} {dtype.str} {tuple(shape)} {content.hexdigest()}")
    kept = [_text_row(cells) for cells in read(table) if cells["metric"] not in TIME_METRICS]
    return [*sorted(lines), f"metrics.csv {hashlib.sha256(''.join(kept).encode()).hexdigest()}"]


def digest_of(lines: Iterable[str]) -> str:
    """Returns the SHA-256 of lines: of those of `result_lines`, the result digest of a study."""
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if all(map(math.isfinite, values)) else float(np.sum(values))


def _standard_error(values: Sequence[float]) -> float | None:
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return None
    return stdev(values) / math.sqrt(len(values))


def _group(cells: Row) -> tuple[tuple[str, Any], ...]:
    """What rows of one group of replicates have in common."""
    return tuple(
        (column, cell)
        for column, cell in sorted(cells.items())
        if cell is not None and column not in _NOT_KEY and (column in COLUMNS or isinstance(cell, str))
    )


def _order(cells: Row) -> tuple[Any, ...]:
    known = tuple((cells[c] is None, cells[c] if cells[c] is not None else 0) for c in _ORDER)
    return (*known, str(sorted((k, v) for k, v in cells.items() if k not in COLUMNS)))


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool | np.bool_):
        return str(int(cell))
    if isinstance(cell, float | np.floating):
        return repr(float(cell))
    return str(cell)


def _text_row(cells: Row) -> str:
    return ",".join(f"{key}={_text(cell)}" for key, cell in sorted(cells.items()) if cell is not None) + "\n"


def _parse(column: str, cell: str | None) -> Any:
    if cell is None or cell == "":
        return None
    if column in INTEGERS:
        return int(cell)
    if column in FLOATS:
        return float(cell)
    if column in COLUMNS:
        return cell
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell

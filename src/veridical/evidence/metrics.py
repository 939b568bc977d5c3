"""Metrics of a study: one tidy table, one number a row.

`metrics.csv` is where every number in the verdict, the report and the documentation comes from. Rows with a
`seed` belong to one replicate; rows without one are the mean over replicates, with its standard error (none
for a single replicate) and `n` = number of replicates. Floats are written with `repr`, so that a
table read back is the table written, bit for bit.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, TypeVar

import numpy as np

from veridical.coordinates import LABELLED
from veridical.digests import file_digest
from veridical.errors import ArtifactError, DataError, if_bad
from veridical.files import read_json, reading, write_text

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
_KINDS: Mapping[str, type] = {  # what the standard columns hold, where not texts
    **dict.fromkeys(("budget", "seed", "n", "budget_low", "n_calibration", "members", "observation"), int),
    **dict.fromkeys(("value", "stderr", "level", "true_value"), float),
}
TIME_METRICS = frozenset({"fit_seconds", "sample_seconds", "simulation_seconds"})
_OWN_ROWS = ("experiment", "coverage_gap_z", "invalid_share", "posterior_")  # metrics of replicates' own rows
_ORDER = (
    *("study", "task", "method", "budget", "seed", "dataset", "dataset_name", "metric", "observation"),
    *("parameter", "level", "budget_low", "n_calibration", "members", "true_value"),
)
_NOT_KEY = frozenset({"seed", "value", "stderr", "n"})

DIGEST = "metrics_sha256"  # of the table, in the verdict that follows from it

Row = dict[str, Any]
Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")


class Table(list[Row]):
    """Rows that stay as they are, so that those of one metric are found without looking at the others."""

    @cached_property
    def by_metric(self) -> dict[str, list[Row]]:
        """The rows of each metric."""
        return grouped(self, itemgetter("metric"))


def grouped(rows: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """Returns rows, or whatever else, by what `key` says of each, in their order."""
    found: dict[Key, list[Item]] = {}
    for cells in rows:
        found.setdefault(key(cells), []).append(cells)
    return found


def row(**cells: Any) -> Row:
    """Returns a row with all standard columns, None where nothing was given."""
    return {**dict.fromkeys(COLUMNS), **cells}


def aggregate(rows: Iterable[Row]) -> list[Row]:
    r"""Returns one row per group of replicates: mean, its standard error, `n` = how many.

    Replicates are judged on the same test rows, whose luck their spread does not show. With rows a, trainings
    b and mean-zero A, B, C the numbers are :math:`f_{ab} = \mu + A_a + B_b + C_{ab}`, and

    .. math:: se^2 = \mathrm{mean}_k\, se_k^2 + s_K^2 / K

    holds for their mean: each replicate's own error over rows, beside the spread of the K replicates (which
    counts C twice, on the safe side). Where replicates have data of their own it is :math:`s_K^2 / K` alone.

    Rows without a seed are not repeated over replicates and make no group. Of the columns that only some
    metrics have, texts tell groups apart; numbers are notes on one replicate and are left out.
    """
    found = []
    for key, group in grouped((cells for cells in rows if cells["seed"] is not None), _group).items():
        values = [cells["value"] for cells in group]
        found.append(row(**dict(key), value=_mean(values), stderr=_standard_error(group), n=len(values)))
    return found


def tidy(rows: Iterable[Row]) -> Table:
    """Returns rows with their aggregates, in the order in which they are written."""
    rows = list(rows)
    return Table(sorted(rows + aggregate(rows), key=_order))


def select(rows: Iterable[Row], **cells: Any) -> Table:
    """Returns the rows with the given cells, in their order."""
    if isinstance(rows, Table) and "metric" in cells:
        rows = rows.by_metric.get(cells["metric"], ())
    return Table(r for r in rows if all(r.get(key) == value for key, value in cells.items()))


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


def read(path: str | Path) -> Table:
    """Reads a table as written: integers, floats, strings, None for empty cells.

    The verdict beside a table, which follows from it, keeps the digest of the table.

    Raises:
        ArtifactError: If the table is missing, or not the one that the verdict beside it follows from.
        DataError: If a standard column is missing or a cell is not the number its column holds.
    """
    verdict = Path(path).with_name("verdict.json")
    found = read_json(verdict, "the verdict of a study") if verdict.is_file() else {}
    if Path(path).is_file() and found.get(DIGEST, "") not in ("", file_digest(path)):
        raise ArtifactError(
            f"{path}: damaged (its SHA-256 differs from the one in {verdict}). {if_bad(path)}."
        )
    with reading(path, "a table of metrics"), Path(path).open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise DataError(
                f"{path}: expected the columns {', '.join(COLUMNS)}; {', '.join(missing)} missing."
            )
        rows = Table()
        for line, cells in enumerate(reader, start=2):
            try:
                rows.append({column: _parse(column, cell) for column, cell in cells.items()})
            except ValueError as error:
                raise DataError(f"{path}, line {line}: {error}") from error
        return rows


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if all(map(math.isfinite, values)) else float(np.sum(values))


def _standard_error(group: Sequence[Row]) -> float | None:
    """The error of the mean of one number over replicates."""
    values = [cells["value"] for cells in group]
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return None
    across = stdev(values) / math.sqrt(len(values))
    own = [cells["stderr"] for cells in group]
    if not _share_rows(group[0]) or any(error is None for error in own):
        return across
    return math.hypot(across, math.hypot(*own) / math.sqrt(len(own)))


def _share_rows(cells: Row) -> bool:
    """Whether replicates measured a number on the same rows."""
    return cells["dataset"] in LABELLED and not cells["metric"].startswith(_OWN_ROWS)


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
    if not cell:
        return None
    if column in COLUMNS:
        return _KINDS.get(column, str)(cell)
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell

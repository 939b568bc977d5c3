"""Results of others for the leaderboard: a CSV file, held to what the benchmark asks before it counts.

A row is one number of one method: columns as in `metrics.csv` of the collection, of which `COLUMNS` have to
be there. Every fault is named with its line, what was expected, and what came.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from veridical.coordinates import at_severity, of_severity
from veridical.errors import DataError, SettingError, suggest
from veridical.evidence.metrics import Row, row
from veridical.report.leaderboard import LEVEL, SEVERITY
from veridical.study.collections import Studies

COLUMNS = ("task", SEVERITY, "method", "n_calibration", "seed", "metric", "value", "stderr", "n")
OPTIONAL = ("parameter",)
RANGES: Mapping[str, tuple[float, float]] = {  # of what may be submitted, real test data in all cases
    "lpp": (-math.inf, math.inf),
    "hpd_coverage": (0.0, 1.0),
    "coverage": (0.0, 1.0),
    "acauc": (-0.5, 0.5),
    "prior_contraction": (-math.inf, 1.0),
    "c2st": (0.0, 1.0),
    "wasserstein": (0.0, math.inf),
    "nltp_gap": (-math.inf, math.inf),
    "fit_seconds": (0.0, math.inf),
    "sample_seconds": (0.0, math.inf),
    "simulation_seconds": (0.0, math.inf),
}
ASKED = ("lpp", "hpd_coverage", "acauc", "prior_contraction")  # of every method, in every cell that it has
OF_FIT = ("fit_seconds", "simulation_seconds")  # these belong to no data set
AT_LEVEL = ("hpd_coverage", "coverage")  # these are of 90 % regions
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_MOST_SHOWN = 20


@dataclass(frozen=True)
class Rules:
    """What may be in a submission: names and numbers of one collection at one scale.

    Attributes:
        collection: Its name.
        cases: Tasks with their severities.
        parameters: Names of the parameters, by task.
        pairs: Numbers of labelled pairs.
        replicates: How many there are.
        taken: Names of methods that are there already.
    """

    collection: str
    cases: frozenset[tuple[str, float]]
    parameters: Mapping[str, Sequence[str]]
    pairs: frozenset[int]
    replicates: int
    taken: frozenset[str]


def rules(studies: Studies) -> Rules:
    """Returns what may be submitted to a collection.

    Raises:
        SettingError: If it has no severities.
    """
    if studies.collection is None or not studies.collection.severities:
        raise SettingError(
            f"{studies.name}: expected a collection with severities, such as misspecification, got none."
        )
    own = [layout for layout in studies.layouts.values() if layout.collection]
    cases = {of_severity(layout.study.study): layout for layout in own}
    return Rules(
        studies.name,
        frozenset(cases),
        {task: layout.task.parameter_names for (task, _), layout in cases.items()},
        frozenset(n for layout in own for n in layout.study.calibration),
        max(layout.study.replicates for layout in own),
        frozenset(studies.methods),
    )


def read(path: str | Path, known: Rules) -> list[Row]:
    """Returns the rows of a submission as rows of metrics.

    Raises:
        DataError: With all faults, each with its line.
    """
    lines = _lines(Path(path))
    found, faults = [], []
    for number, cells in enumerate(lines, start=2):
        try:
            found.append(_row(cells, known))
        except DataError as error:
            faults.append(f"line {number}: {error}")
    if not faults:
        faults = [*_repeated(found), *_incomplete(found, known)]
    if faults or not found:
        shown = faults[:_MOST_SHOWN] or ["no row; give a row for each number"]
        more = [f"and {len(faults) - len(shown)} more"] if len(faults) > len(shown) else []
        raise DataError("\n".join(f"{path}: {one}" for one in [*shown, *more]))
    return found


def _lines(path: Path) -> list[dict[str, str]]:
    """The lines of the file by column, once its columns are the ones asked for."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: expected a CSV file in UTF-8, got none that can be read ({error})."
        ) from None
    reader = csv.DictReader(text.splitlines())
    columns = list(reader.fieldnames or [])
    missing = [name for name in COLUMNS if name not in columns]
    strange = [name for name in columns if name not in (*COLUMNS, *OPTIONAL)]
    said = [f"{', '.join(missing)} missing"] if missing else []
    said += [f"remove {', '.join(map(repr, strange))}"] if strange else []
    if said:
        wanted = ", ".join((*COLUMNS, *OPTIONAL))
        raise DataError(f"{path}: expected the columns {wanted}; {'; '.join(said)}.")
    return list(reader)


def _row(cells: Mapping[str, str], known: Rules) -> Row:
    """One line as a row of metrics."""
    if None in cells or None in cells.values():
        raise DataError("expected as many cells as columns, got more or fewer.")
    task, severity = cells["task"], _number(cells, SEVERITY)
    if (task, severity) not in known.cases:
        tasks = sorted({name for name, _ in known.cases})
        if task not in tasks:
            raise DataError(f"task: {known.collection} has no task {task!r}. {suggest(task, tasks)}")
        own = ", ".join(f"{s:g}" for name, s in sorted(known.cases) if name == task)
        raise DataError(f"severity: expected one of {own}, got {cells[SEVERITY]!r}.")
    metric = cells["metric"]
    if metric not in RANGES:
        raise DataError(f"metric: {metric!r} cannot be submitted. {suggest(metric, RANGES)}")
    value, stderr = _value(cells, metric), _number(cells, "stderr") if cells["stderr"] else None
    if stderr is not None and not 0 <= stderr < math.inf:
        raise DataError(f"stderr: expected a number from 0, or nothing, got {cells['stderr']!r}.")
    fit = metric in OF_FIT
    return row(
        study=at_severity(task, severity),
        task=task,
        method=_method(cells, known),
        n_calibration=_pairs(cells, known),
        seed=_whole(cells, "seed", known.replicates),
        dataset=None if fit else "real",
        metric=metric,
        parameter=_parameter(cells, known),
        value=value,
        stderr=stderr,
        n=_whole(cells, "n") if cells["n"] else None,
        level=LEVEL if metric in AT_LEVEL else None,
    )


def _method(cells: Mapping[str, str], known: Rules) -> str:
    name = cells["method"]
    if not _NAME.fullmatch(name):
        raise DataError(f"method: expected letters, digits and underscores, a letter first, got {name!r}.")
    if name in known.taken:
        raise DataError(f"method: {name!r} is in the benchmark already; give yours another name.")
    return name


def _pairs(cells: Mapping[str, str], known: Rules) -> int | None:
    """Labelled pairs; None for a method that sees none, which 0 says, too."""
    if cells["n_calibration"] in ("", "0"):
        return None
    pairs = _whole(cells, "n_calibration")
    if pairs not in known.pairs:
        own = ", ".join(map(str, sorted(known.pairs)))
        raise DataError(f"n_calibration: expected nothing, 0 or one of {own}, got {pairs}.")
    return pairs


def _parameter(cells: Mapping[str, str], known: Rules) -> str | None:
    name, own = cells.get("parameter") or None, known.parameters[cells["task"]]
    wanted = cells["metric"] == "prior_contraction"
    if wanted and name not in own:
        raise DataError(
            f"parameter: {cells['metric']} is asked of each parameter, {', '.join(own)}; got "
            f"{name or 'none'!r}."
        )
    if not wanted and name is not None:
        raise DataError(f"parameter: {cells['metric']} is one number of all of them; leave the cell empty.")
    return name


def _value(cells: Mapping[str, str], metric: str) -> float:
    value, (low, high) = _number(cells, "value"), RANGES[metric]
    infinite = value == -math.inf and metric == "lpp"  # a truth was excluded
    if not (infinite or (math.isfinite(value) and low <= value <= high)):
        raise DataError(f"value: expected {metric} from {low:g} to {high:g}, got {cells['value']!r}.")
    return value


def _number(cells: Mapping[str, str], column: str) -> float:
    try:
        return float(cells[column])
    except ValueError:
        raise DataError(f"{column}: expected a number, got {cells[column]!r}.") from None


def _whole(cells: Mapping[str, str], column: str, below: int | None = None) -> int:
    text = cells[column]
    if not (text.isascii() and text.isdigit()) or (below is not None and int(text) >= below):
        end = "" if below is None else f" below {below}"
        raise DataError(f"{column}: expected a whole number from 0{end}, got {text!r}.")
    return int(text)


def _cell(one: Row) -> str:
    pairs = "" if one["n_calibration"] is None else f", {one['n_calibration']} pairs"
    return f"{one['method']} on {one['study']}{pairs}, seed {one['seed']}"


def _named(metric: str, parameter: str | None) -> str:
    return metric if parameter is None else f"{metric} of {parameter}"


def _repeated(found: Sequence[Row]) -> list[str]:
    """What is there twice."""
    seen: set[tuple[str, str, str | None]] = set()
    faults = []
    for one in found:
        key = (_cell(one), one["metric"], one["parameter"])
        if key in seen:
            faults.append(f"{key[0]}: {_named(one['metric'], one['parameter'])} is there twice; keep one.")
        seen.add(key)
    return faults


def _incomplete(found: Sequence[Row], known: Rules) -> list[str]:
    """What is missing of what is asked in every cell that has a row."""
    cells: dict[str, list[Row]] = {}
    for one in found:
        cells.setdefault(_cell(one), []).append(one)
    faults = []
    for name, own in cells.items():
        there = {(one["metric"], one["parameter"]) for one in own}
        for metric in ASKED:
            of = known.parameters[own[0]["task"]] if metric == "prior_contraction" else [None]
            faults += [
                f"{name}: {_named(metric, parameter)} is missing; every cell has {', '.join(ASKED)}."
                for parameter in of
                if (metric, parameter) not in there
            ]
    return faults

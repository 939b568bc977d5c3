"""Two finished runs side by side: changed settings, numbers that moved beyond their errors, the answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from veridical.errors import DataError
from veridical.evidence import answers, metrics, numbers, provenance, variants
from veridical.evidence.metrics import Row
from veridical.figures import style
from veridical.figures.forest import Forest
from veridical.report import page, verdict
from veridical.report.page import BADGES

ERRORS = 3.0  # how many combined standard errors a number has to move
IGNORED = ("posterior_", "estimate")  # shown as answers
_CELLS = ("dataset", "dataset_name", "metric", "parameter", "level")


def compare(a: str | Path, b: str | Path) -> str:
    """Returns the page of two finished runs.

    Arguments:
        a: Folder of the first, such as `results/lynx_hare`.
        b: Folder of the second.

    Raises:
        ArtifactError: If one of them has no finished report, or a file of it is damaged.
        DataError: If both are the same.
    """
    folders = [Path(a), Path(b)]
    if folders[0].resolve() == folders[1].resolve():
        raise DataError(f"compare: expected two runs, got {a} twice.")
    names = _names(folders)
    tables = [metrics.read(folder / "metrics.csv") for folder in folders]
    records = [provenance.load(folder / "provenance.json") for folder in folders]
    judged = [verdict.load(folder / "verdict.json")["verdicts"] for folder in folders]
    context = {
        "names": names,
        "folders": [str(folder) for folder in folders],
        "verdicts": _verdicts(judged),
        "settings": changed_settings(*map(_settings, records)),
        "moved": moved(*tables),
        "errors": ERRORS,
        "figure": _overlaid(names, tables, _units(folders)),
    }
    return str(page.environment({}).get_template("compare.html.j2").render(context))


def _names(folders: Sequence[Path]) -> list[str]:
    names = [folder.resolve().name for folder in folders]
    return names if names[0] != names[1] else [str(folder) for folder in folders]


def _settings(record: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(provenance.entity(record, "#settings")["text"])
    return found


def changed_settings(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Returns path and both values of each setting that differs; empty where one run lacks it."""
    left, right = dict(_leaves(a)), dict(_leaves(b))
    paths = dict.fromkeys([*left, *right])
    return [
        (path, left.get(path, ""), right.get(path, "")) for path in paths if left.get(path) != right.get(path)
    ]


def _leaves(settings: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(settings, Mapping) and settings:
        for name, value in settings.items():
            yield from _leaves(value, f"{path}.{name}" if path else str(name))
    else:
        yield path, settings if isinstance(settings, str) else json.dumps(settings)


def moved(a: Sequence[Row], b: Sequence[Row]) -> dict[str, Any]:
    """Returns the metrics that differ by more than ERRORS combined errors, farthest first, and counts others.

    Compared are numbers of a method at its largest budget, mean over replicates where there are several; a
    number that has no error in either run is not compared.
    """
    left, right = _sums(a), _sums(b)
    lines, alike = [], 0
    for key in (key for key in left if key in right):
        ours, theirs = left[key], right[key]
        if ours["stderr"] is None or theirs["stderr"] is None:
            continue
        error = (ours["stderr"] ** 2 + theirs["stderr"] ** 2) ** 0.5
        change = theirs["value"] - ours["value"]
        if change == 0 or not abs(change) > ERRORS * error:
            alike += 1
            continue
        size = abs(change) / error if error > 0 else float("inf")
        cells = [numbers.to_precision(row["value"], error or abs(change), 1) for row in (ours, theirs)]
        method, cells_of = key[0], dict(zip(_CELLS, key[1:], strict=True))
        lines.append({"method": method, **cells_of, "values": cells, "errors": size})
    lines.sort(key=lambda line: -line["errors"])
    lines = [{**line, "errors": numbers.rounded(line["errors"], 2)} for line in lines]
    return {"lines": lines, "alike": alike}


def _sums(rows: Sequence[Row]) -> dict[tuple[Any, ...], Row]:
    """One row for each number of a method: the mean over replicates, or that of its only replicate."""
    own = [row for row in variants.summarised(rows) if not row["metric"].startswith(IGNORED)]
    finals = set(variants.leading({variants.of_cells(row) for row in own}))
    kept = [row for row in own if variants.of_cells(row) in finals and row["true_value"] is None]
    repeated = {variants.of_cells(row) for row in kept if row["seed"] not in (None, 0)}
    found: dict[tuple[Any, ...], Row] = {}
    for row in kept:
        if (row["seed"] is None) == (variants.of_cells(row) in repeated) and row["value"] == row["value"]:
            found.setdefault((row["method"], *(row[cell] for cell in _CELLS)), row)
    return found


def _verdicts(judged: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """The verdicts of both runs on the same method and data set, on one line."""
    by_place: list[dict[tuple[str, str], Any]] = [
        {(variants.of_cells(v).label, v["dataset"]): v for v in own} for own in judged
    ]
    places = dict.fromkeys([*by_place[0], *by_place[1]])
    return [
        {"method": place[0], "dataset": place[1], "found": [_badge(own.get(place)) for own in by_place]}
        for place in places
    ]


def _badge(found: Mapping[str, Any] | None) -> dict[str, str] | None:
    if found is None:
        return None
    colour, mark = BADGES[found["verdict"]]
    return {"colour": colour, "mark": mark, "word": found["verdict"]}


def _units(folders: Sequence[Path]) -> dict[str, str]:
    found: dict[str, str] = {}
    for folder in folders:
        for picture in page.load_figures(folder / "figures"):
            found |= picture.data.get("units", {})
    return found


def _overlaid(names: Sequence[str], tables: Sequence[Sequence[Row]], units: Mapping[str, str]) -> Any:
    """A forest plot of the answers of both runs to the same observations, one below the other."""
    found = [
        (answer, name) for name, rows in zip(names, tables, strict=True) for answer in answers.of_study(rows)
    ]
    if not found:
        return None
    found.sort(key=lambda pair: (pair[0].dataset, pair[0].observation, names.index(pair[1])))
    figure, runs = Forest(), [name for _, name in found]
    data = figure.data([answer for answer, _ in found], units, {}, runs)
    with style.styled():
        text = style.svg(figure.draw(json.loads(json.dumps(data))))
    words = f"Answers of both runs. {figure.caption(data)[0]}"
    return {"svg": page.inline(text, "answers", words), "read": words}

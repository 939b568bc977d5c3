"""The first page: question, data, answer, three outcomes, what the verdict rests on, what would change it.

All that it needs stands in the verdicts and in the table of metrics; what has no room here lies below it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from veridical.coordinates import dataset_cells, dataset_kind
from veridical.evidence import answers, numbers
from veridical.evidence.answers import Answer
from veridical.evidence.comparison import VERDICTS
from veridical.evidence.metrics import Row, grouped, select
from veridical.evidence.variants import REFERENCE, Variant, of_cells
from veridical.report import error_rates, tables
from veridical.report.missing import UNCHECKED
from veridical.report.next_steps import steps
from veridical.report.questions import LABELLED
from veridical.report.step_estimates import Known

MAX_LINES = 10
MAX_PARAMETERS = 10
MAX_COLUMNS = 3  # parameters in a table of several answers
MAX_STEPS = 3
SIGNS = {"good": "✓", "caution": "!", "bad": "✕", "cannot tell": "?"}
COLOURS = {"good": "good", "caution": "caution", "bad": "bad", "cannot tell": "open"}


def overview(
    rows: Sequence[Row],
    judged: Sequence[Mapping[str, Any]],
    units: Mapping[str, str],
    ranking: Sequence[Variant] = (),
    *,
    known: Known,
) -> dict[str, Any] | None:
    """Returns what the first page shows; None of a study without a verdict.

    Arguments:
        rows: The table of metrics.
        judged: The verdicts on the leading variants, as the page shows them (with `colour` and `mark`).
        units: Units by parameter, in the order in which parameters are shown.
        ranking: Methods from best to worst, as far as they were compared.
        known: What the study knows of itself, for the next steps.
    """
    if not judged:
        return None
    found = answers.of_study(rows)
    own = [a for a in found if a.variant.method != REFERENCE]
    lead, beside = chosen(judged, ranking, rows)
    single = own[0] if len(own) == 1 and len(judged) == 1 else None
    names = _names(own, units)
    ahead = steps(lead, known)
    told = lead[LABELLED]["outcome"] != "cannot tell"
    parts = {**lead["questions"], **({LABELLED: lead[LABELLED]} if told else {})}
    shown = ("unit", "exact_ninety", "truth", "probable")
    parameters = _parameters(rows, single, names, units) if single else []
    return {
        "lead": lead,
        "outcomes": [_outcome(name, part, _why(lead, name, part)) for name, part in parts.items()],
        "steps": ahead[:MAX_STEPS],
        "more_steps": ahead[MAX_STEPS:],
        "rates": error_rates.sentence(lead, rows),
        "rates_document": error_rates.DOCUMENT,
        "parameters": parameters,
        "hidden": len(names) - len(parameters) if single else 0,
        **{name: any(line[name] for line in parameters) for name in shown},
        "columns": names[:MAX_COLUMNS],
        "units": units,
        "lines": [] if single else _lines(own, judged, names[:MAX_COLUMNS], lead),
        "shown": MAX_LINES,
        "example": lead["dataset"] if dataset_kind(lead["dataset"]) != "observed" else "",
        "of_data": len({(a.dataset, a.observation) for a in own}) > 1,
        "several": len(judged) > 1,
        "beside": beside,
    }


def chosen(
    judged: Sequence[Mapping[str, Any]], ranking: Sequence[Variant], rows: Sequence[Row]
) -> tuple[Mapping[str, Any], str]:
    """Returns the verdict to show large, and which one that is: of the best method, on its worst data set.

    Of methods with equal verdicts the one nearest to the exact reference, if there is one, then by ranking.
    """
    observed = [v for v in judged if dataset_kind(v["dataset"]) == "observed"] or judged
    worst = {
        variant: max(own, key=lambda v: VERDICTS.index(v["verdict"]))
        for variant, own in grouped(observed, of_cells).items()
    }
    place = {variant: i for i, variant in enumerate(ranking)}

    def order(of: Variant) -> tuple[int, float, int]:
        off = _distance(rows, of, worst[of]["dataset"])
        return VERDICTS.index(worst[of]["verdict"]), off, place.get(of, len(place))

    best = min(worst, key=order)
    datasets = len({v["dataset"] for v in observed})
    words = [f"the best of {len(worst)} methods, {best.label}"] if len(worst) > 1 else []
    if datasets > 1:
        words.append(f"the worst of {datasets} data sets, {worst[best]['dataset']}")
    return worst[best], " on ".join(words)


def _distance(rows: Sequence[Row], of: Variant, dataset: str) -> float:
    """How far the means of an answer lie from those of the exact reference; infinite where none is known."""
    found = select(rows, metric="mean_shift_sd", **of.cells, **dataset_cells(dataset))
    own = [row["value"] for row in found if row["parameter"] is None and row["seed"] is not None]
    return sum(own) / len(own) if own else float("inf")


def _names(found: Sequence[Answer], units: Mapping[str, str]) -> list[str]:
    named = dict.fromkeys(name for answer in found for name in answer.quantiles)
    return [name for name in units if name in named] + [name for name in named if name not in units]


def _why(verdict: Mapping[str, Any], name: str, part: Mapping[str, Any]) -> str:
    """In a line, why an outcome is what it is: the beginning of the finding that decides it."""
    if part["outcome"] == "good" or not part["text"]:
        return str(part["asks"])
    own = (f for f in verdict["findings"] if (f["question"], f["outcome"]) == (name, part["outcome"]))
    decides = next(own, None) if part["outcome"] in ("caution", "bad") else None
    told = str((decides or part)["text"])
    what = next((begins for begins in ("Not told: ", UNCHECKED) if told.startswith(begins)), "")
    return what + re.split(r"[.:;] ", told.removeprefix(what))[0].rstrip(".") + "."


def _outcome(name: str, part: Mapping[str, Any], text: str = "") -> dict[str, str]:
    """One question with its outcome and, in a line, why."""
    outcome = part["outcome"]
    return {
        "name": name,
        "outcome": outcome,
        "text": text,
        "mark": SIGNS[outcome],
        "colour": COLOURS[outcome],
    }


def _parameters(
    rows: Sequence[Row], single: Answer, names: Sequence[str], units: Mapping[str, str]
) -> list[dict[str, str]]:
    """Lines of the table of one answer."""
    here = dataset_cells(single.dataset)
    own, exact = select(rows, **single.variant.cells, **here), select(rows, method=REFERENCE, **here)
    if select(own, metric="posterior_quantile"):
        lines = tables.posterior_table(own, exact, units, single.observation)["lines"]
        return [{"exact_ninety": "", **line} for line in lines[:MAX_PARAMETERS]]
    cells = [(name, *numbers.interval(single.quantiles[name])) for name in names[:MAX_PARAMETERS]]
    blank = {"unit": "", "exact_ninety": "", "truth": "", "probable": ""}
    return [
        {**blank, "parameter": name, "median": middle, "ninety": ninety} for name, middle, ninety in cells
    ]


def _lines(
    own: Sequence[Answer],
    judged: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    lead: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Lines of the table of several answers, each with its verdict: of each data set the answer that leads
    first, then the most trusted ones; verdicts without an answer come last.
    """
    by_verdict = {(of_cells(v), v["dataset"]): v for v in judged}
    observations = {a.dataset: 1 + max(b.observation for b in own if b.dataset == a.dataset) for a in own}
    lines = []
    for answer in own:
        verdict = by_verdict.get((answer.variant, answer.dataset))
        about = answer.dataset
        about += f" {answer.observation + 1}" if observations[about] > 1 else ""
        cells = [_cell(answer, name) for name in names]
        lines.append(_line(about, answer.variant.label, verdict, cells))
    places = {data: i for i, data in enumerate(dict.fromkeys(line["data"] for line in lines))}

    def order(line: Mapping[str, Any]) -> tuple[int, bool, int]:
        verdict = line["verdict"]
        trusted = len(VERDICTS) if verdict is None else VERDICTS.index(verdict["verdict"])
        return places[line["data"]], verdict is not lead, trusted

    lines.sort(key=order)
    lines += [
        _line(dataset, variant.label, verdict, [""] * len(names))
        for (variant, dataset), verdict in by_verdict.items()
        if not any((a.variant, a.dataset) == (variant, dataset) for a in own)
    ]
    return lines


def _cell(answer: Answer, name: str) -> str:
    if name not in answer.quantiles:
        return ""
    middle, ninety = numbers.interval(answer.quantiles[name])
    return f"{middle} ({ninety})"


def _line(data: str, method: str, verdict: Mapping[str, Any] | None, cells: Sequence[str]) -> dict[str, Any]:
    asked = {} if verdict is None else {**verdict["questions"], LABELLED: verdict[LABELLED]}
    parts = [_outcome(name, part) for name, part in asked.items()]
    return {"data": data, "method": method, "verdict": verdict, "parts": parts, "cells": list(cells)}

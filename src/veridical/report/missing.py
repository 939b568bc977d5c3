"""What a study could not check or draw, as `verdict.json` lists it, and in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from veridical import unchecked
from veridical.coordinates import LABELLED, REFERENCE, Coordinates
from veridical.evidence.variants import Variant, of_cells
from veridical.files import read_json
from veridical.report.judging import Evidence, grouped

Entry = dict[str, Any]
UNCHECKED = "Could not be checked: "  # how the verdict says it
COMING = "Still to come: "
TO_COME = "still to come"  # the cause, where a first page is made before a check
_SUBJECT = ("method", "budget", "n_calibration", "dataset")


def entry(path: str | Path, record: Mapping[str, Any]) -> Entry:
    """Returns what `verdict.json` lists for a check or reference in whose place a record lies."""
    where = Coordinates.of(path)
    what = f"check {Path(path).stem}" if where.method != REFERENCE else "the exact reference"
    return {
        "what": what,
        "method": where.method,
        "budget": where.budget,
        "n_calibration": where.calibration,
        "replicate": where.replicate,
        "dataset": where.dataset,
        "cause": record["unchecked"],
        "log": record["log"],
    }


def figures(folder: str | Path) -> list[Entry]:
    """Returns the same for the figures in a folder that could not be drawn."""
    found = []
    for path in sorted(Path(folder).glob("*.json")):
        if (record := unchecked.read(path)) is not None:
            about = {"what": f"figure {record['kind']}", "method": record["method"] or None, "budget": None}
            about |= {"n_calibration": record["calibration"], "dataset": record["dataset"] or None}
            found.append({**about, "cause": record["unchecked"], "log": record["log"]})
    return found


def of_study(verdicts: str | Path, folder: str | Path) -> list[str]:
    """Returns a sentence for each part of a report that could not be made, given verdicts and figures."""
    listed = read_json(verdicts, "the verdict of a study").get("unchecked", [])
    return told([*listed, *figures(folder)])


def of(evidence: Evidence) -> list[Entry]:
    """Returns the entries that concern one method on one data set, or on labelled data."""
    judged = Variant(evidence.method, evidence.budget, evidence.calibration)
    data = (evidence.dataset, *LABELLED)
    return [one for one in evidence.unchecked if one["dataset"] in data and of_cells(one) == judged]


def told(entries: Iterable[Entry]) -> list[str]:
    """Returns a sentence for each cause: all that it keeps from being made, and a log that tells of it.

    What rests on one thing that could not be computed fails with it, and each repeat by itself. What is still
    to come has none: see `to_come`.
    """
    known = [one for one in entries if one["cause"] != TO_COME]
    return [_sentence(own) for own in grouped(known, itemgetter("cause")).values()]


def to_come(entries: Iterable[Entry]) -> list[str]:
    """Returns what is still to come on a first page, each once: names of checks, `the exact reference`."""
    waiting = [one["what"].removeprefix("check ") for one in entries if one["cause"] == TO_COME]
    return list(dict.fromkeys(waiting))


def said(entries: Sequence[Entry]) -> list[str]:
    """Returns how a verdict says of one question what could not be checked, and what is still to come."""
    waiting = to_come(entries)
    coming = [f"{COMING}{', '.join(waiting)}."] if waiting else []
    return coming + [f"{UNCHECKED}{text}." for text in told(entries)]


def _sentence(own: Sequence[Entry]) -> str:
    subjects = list(grouped(own, itemgetter(*_SUBJECT)).values())
    subjects.sort(key=lambda same: same[0]["method"] != REFERENCE)
    what = "; ".join(_subject(same) for same in subjects)
    return f"{what}: {own[0]['cause'].rstrip('.')} (log: {own[0]['log']})"


def _subject(same: Sequence[Entry]) -> str:
    first, repeats = same[0], len({one.get("replicate") for one in same})
    text = " and ".join(dict.fromkeys(str(one["what"]) for one in same))
    if first["method"] not in (None, REFERENCE):
        text += f" of {of_cells(first).label}"
        text += f" at {first['budget']:,} simulations" if first["budget"] else ""
    text += f" on {first['dataset']}" if first["dataset"] else ""
    return text + (f", in {repeats} repeats" if repeats > 1 else "")

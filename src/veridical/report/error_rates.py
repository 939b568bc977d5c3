"""How often verdicts like this one err, as measured; `benchmarks/verdict_error_rates.py` writes the numbers.

`error_rates.json`: `holds` (faults that count: what 90 % intervals hold at most), `full` (whether all studies
were run), and `rates`, a list by `where` (`observed`: on one observation, with labelled rows beside it or
none; `labelled`: on labelled rows alone, of a method that learned from such), `d` parameters and `n` labelled
rows: `false_trust` (of the fault that gets most), `false_alarm` (caution or worse, of right answers), and out
of how many studies each is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from veridical.coordinates import REAL
from veridical.evidence.metrics import Row, select
from veridical.evidence.numbers import percent
from veridical.evidence.variants import of_cells
from veridical.files import read_json

PATH = Path(__file__).with_name("error_rates.json")
DOCUMENT = "docs/verdict.md"


@cache
def measured() -> dict[str, Any]:
    """Returns what was measured."""
    return read_json(PATH, "the measured error rates of verdicts")


def fitting(where: str, d: int, n: int, found: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
    """Returns the rates that fit a study, on the safe side; None where nothing was measured with so few rows.

    Of the measured numbers of rows the largest not above, of those of parameters the neighbours on either
    side, whichever is worse.

    Arguments:
        where: `observed` or `labelled`.
        d: Parameters.
        n: Labelled rows.
        found: The measured rates, if not those that are shipped.
    """
    own = [r for r in (found or measured())["rates"] if r["where"] == where and r["n"] <= n]
    if not own:
        return None
    dimensions = sorted({r["d"] for r in own})
    beside = {max((k for k in dimensions if k <= d), default=dimensions[0])}
    beside |= {min((k for k in dimensions if k >= d), default=dimensions[-1])}
    near = [r for r in own if r["d"] in beside and r["n"] == max(one["n"] for one in own)]
    return {
        "d": sorted(beside),
        "n": near[0]["n"],
        **{name: max(r[name] for r in near) for name in ("false_trust", "false_alarm")},
        **{name: min(r[name] for r in near) for name in ("of_wrong", "of_right")},
    }


def sentence(verdict: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """Returns both error rates of a verdict in a sentence; empty where none was measured.

    Arguments:
        verdict: One verdict, as in `verdict.json`.
        rows: The study's metrics.
    """
    cells = of_cells(verdict).cells
    coverage = select(rows, metric="coverage", **cells)
    labelled = [r["n"] for r in coverage if r["dataset"] == REAL and r["seed"] is not None]
    names = {r["parameter"] for r in (*coverage, *select(rows, metric="posterior_mean", **cells))} - {None}
    where = "observed" if verdict["n_calibration"] is None and verdict["dataset"] != REAL else "labelled"
    rates = fitting(where, len(names), min(labelled, default=0))
    if rates is None or not names:
        return ""
    d = " and ".join(map(str, rates["d"]))
    of = f"{d} parameter{'' if d == '1' else 's'}, {rates['n'] or 'no'} labelled data sets"
    holds = percent(measured()["holds"])
    first = "" if measured()["full"] else " in a short run"
    return (
        f"Measured{first} ({of}): wrong answers, whose 90 % intervals hold {holds} or less, get trust in at "
        f"most {percent(rates['false_trust'])} of {rates['of_wrong']} studies; right ones caution or worse "
        f"in {percent(rates['false_alarm'])} of {rates['of_right']}."
    )

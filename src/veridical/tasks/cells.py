"""What a cell of a table holds: a number, a day, or neither, and why."""

from __future__ import annotations

import re
from datetime import date
from math import nan

from veridical.errors import DataError
from veridical.tasks.base import DECLARE

MISSING = frozenset({"", "-", "--", "?", "na", "n/a", "nan", "null", "none", "missing", "#n/a"})
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}([ '\u2019\u00a0\u202f.,]\d{3})+([.,]\d+)?")
_DATE = re.compile(r"(\d{1,4})[-/.](\d{1,2})[-/.](\d{1,4})(?:[ T]00:00(?::00(?:\.0+)?)?)?")


def number(cell: str, where: str, *, missing: bool = False) -> float:
    """Returns the number in a cell, NaN for a missing one where some may be missing.

    What stands there instead is named with its cause.

    Raises:
        DataError: If it holds none.
    """
    try:
        return float(cell)
    except ValueError:
        text, cause = cell.strip(), ""
        if text.lower() in MISSING:
            if missing:
                return nan
            cause = f" (a missing value): leave out what lacks values, or {DECLARE}"
        elif dates(text):
            cause = (
                " (a date): name the column as `index` if the task's first dimension holds such dates, or "
                "leave it out with `columns`"
            )
        elif THOUSANDS.fullmatch(text):
            cause = " (a thousands separator): write numbers without"
        raise DataError(f"{where}: expected a number, got {text!r}{cause}.") from None


def is_number(cell: str) -> bool:
    """Whether a cell holds a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def dates(cell: str) -> list[date | None]:
    """Returns the days that a cell may mean: none, one, or 1 June and then 6 January for 01/06/2020.

    None stands for a reading that is no day: that of 13 as a month.
    """
    match = _DATE.fullmatch(cell.strip())
    if match is None:
        return []
    a, b, c = match.groups()
    orders = [(a, b, c)] if len(a) == 4 else [(c, b, a), (c, a, b)] if len(c) == 4 else []
    found: list[date | None] = []
    for year, month, day in orders:
        try:
            found.append(date(int(year), int(month), int(day)))
        except ValueError:
            found.append(None)
    return found if any(found) else []

"""Stage report of a collection: the numbers of all its studies in one table, and one page."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from veridical import seals
from veridical.evidence import metrics
from veridical.files import write_text
from veridical.report import collection, leaderboard, verdict


def gather(
    about: Mapping[str, Any],
    studies: Mapping[str, str],
    methods: Sequence[str],
    *,
    table: str | Path,
    page: str | Path,
) -> None:
    """Writes `metrics.csv` and `report.html` of a collection.

    Arguments:
        about: `collection`, `title`, `description` and `scale`.
        studies: The folder of results of each study, by its name.
        methods: The methods in the order in which the page shows them.
        table: Where the table goes.
        page: Where the page goes.
    """
    members = [
        collection.Member(
            name,
            Path(os.path.relpath(Path(folder) / "report.html", Path(page).parent)).as_posix(),
            metrics.read(Path(folder) / "metrics.csv"),
            verdict.load(Path(folder) / "verdict.json")["verdicts"],
        )
        for name, folder in studies.items()
    ]
    rows = [row for member in members for row in member.rows]
    metrics.write(table, leaderboard.graded(rows) if about.get("severities") else rows)
    text = collection.build(about, members, methods)
    write_text(page, seals.filled(f"{text.rstrip()}\n<!-- {seals.EMPTY} -->\n"))
    print(f"{page}: {len(members)} studies, {sum(len(member.rows) for member in members)} numbers")

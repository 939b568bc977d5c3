"""Stage report of a collection: the numbers of all its studies in one table, and one page."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from veridical import seals
from veridical.evidence import metrics
from veridical.files import write_text
from veridical.report import collection, leaderboard, leaderboard_text, submission, verdict

if TYPE_CHECKING:
    from veridical.study.collections import Studies


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
    members = _members(studies, Path(page).parent)
    rows = [row for member in members for row in member.rows]
    metrics.write(table, leaderboard.graded(rows) if about.get("severities") else rows)
    text = collection.build(about, members, methods)
    write_text(page, seals.filled(f"{text.rstrip()}\n<!-- {seals.EMPTY} -->\n"))
    print(f"{page}: {len(members)} studies, {sum(len(member.rows) for member in members)} numbers")


def board(studies: Studies, results: str | Path, submissions: Sequence[str | Path] = ()) -> str:
    """Returns the leaderboard of a finished collection as a page of text, with submissions beside.

    Arguments:
        studies: The collection.
        results: Its folder of results.
        submissions: Files of results of others, each held to `report/submission.py`.

    Raises:
        VeridicalError: If there are no severities, a study is not finished, or a submission is not as asked.
    """
    known = submission.rules(studies)
    own = {
        layout.study.study: f"{results}/{layout.study.study}"
        for layout in studies.layouts.values()
        if layout.collection
    }
    members, methods = _members(own, Path(results)), list(studies.methods)
    for path in submissions:
        rows = submission.read(path, known)
        methods += sorted({row["method"] for row in rows} - {*methods})
        members.append(collection.Member("", "", metrics.tidy(rows), []))
    return leaderboard_text.page(studies.about, collection.graded_boards(members, methods))


def _members(studies: Mapping[str, str], above: Path) -> list[collection.Member]:
    """The finished studies of a collection, with links from the folder of its page."""
    return [
        collection.Member(
            name,
            Path(os.path.relpath(Path(folder) / "report.html", above)).as_posix(),
            metrics.read(Path(folder) / "metrics.csv"),
            verdict.load(Path(folder) / "verdict.json")["verdicts"],
        )
        for name, folder in studies.items()
    ]

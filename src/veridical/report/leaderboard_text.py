"""The leaderboard as a page of text: the boards that the page of a collection shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from veridical.report.leaderboard import Board, Cell, Table

ABOUT = (
    "A number is a mean over replicates with its standard error, of one replicate that over test rows. Bold: "
    "the best of a column and whatever lies within one standard error of it. Ranks are means over the tasks "
    "of a table, of methods that see as many labelled pairs or none; their ranges come from drawing "
    "replicates anew and moving each number by its error over test rows, with the tasks as they are."
)


def page(about: Mapping[str, Any], boards: Iterable[Board]) -> str:
    """Returns the page.

    Arguments:
        about: `collection`, `title`, `description` and `scale`.
        boards: The parts of the leaderboard.
    """
    lines = [f"# {about.get('title') or about['collection']}", ""]
    lines += [about["description"], ""] if about.get("description") else []
    lines += [f"Collection `{about['collection']}`, scale `{about['scale']}`. {ABOUT}", ""]
    for board in boards:
        lines += [f"## {board.heading}", "", board.words, ""]
        for table in board.tables:
            lines += [f"### {table.caption}", "", *_lines(table), ""]
    return "\n".join(lines).rstrip() + "\n"


def _lines(table: Table) -> list[str]:
    head = [table.first, *table.columns]
    return [
        _line(head),
        _line(["---"] * len(head)),
        *(_line([name, *_cells(own)]) for name, own in table.lines),
    ]


def _cells(cells: Sequence[Cell]) -> list[str]:
    return [f"**{cell.text}**" if cell.best and cell.text else cell.text for cell in cells]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"

"""Text of the pages in docs/results: tables in Markdown, numbers of three digits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Returns a table in Markdown."""
    rule = ["---"] * len(header)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *lines))


def number(given: float | None, digits: int = 3) -> str:
    """Returns a number with three digits, or nothing."""
    if given is None:
        return ""
    return f"{given:,.0f}" if abs(given) >= 1000 else f"{given:.{digits}g}"


def filled(header: Sequence[str], lines: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """A table without the columns that are empty in every line."""
    kept = [i for i in range(len(header)) if any(line[i] for line in lines)]
    return [header[i] for i in kept], [[line[i] for i in kept] for line in lines]


def count(given: int | None) -> str:
    return f"{given:,}" if given else ""


def by_task(lines: Sequence[Mapping[str, Any]], first: str, header: Mapping[str, str]) -> list[str]:
    """A table for each task: `first` names a line, `header` what stands above its other numbers, by key."""
    parts = []
    for task in dict.fromkeys(line["task"] for line in lines):
        cells = [
            [line[first], *(_cell(line.get(key)) for key in header)] for line in lines if line["task"] == task
        ]
        parts += [f"## {task.replace('_', ' ')}", table([first, *header.values()], cells)]
    return parts


def _cell(value: Any) -> str:
    return ", ".join(f"{v:.3f}" for v in value) if isinstance(value, list) else number(value)

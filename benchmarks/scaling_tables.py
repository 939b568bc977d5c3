"""Writes the measured tables of docs/scaling.md anew, from the benchmarks that were recorded.

    python benchmarks/scaling_tables.py

Each table stands between two comments, `<!-- NAME -->` and `<!-- end -->`; nothing is typed in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from table_text import number, table

from veridical.files import write_text

DOCS = Path(__file__).parents[1] / "docs"


def recorded(name: str) -> dict[str, Any]:
    """A benchmark as it was recorded."""
    found: dict[str, Any] = json.loads((DOCS / "results" / f"{name}.json").read_text())
    return found


def costs() -> str:
    """Start, slope and memory of the jobs of each kind; seconds alone where both sizes had equal work."""
    made = recorded("stage_costs")
    lines = []
    for kind, measured in made["result"].items():
        if kind == "columns":
            continue
        least, most, start, slope, *memory = measured
        seconds = [start, slope] if least < most else [slope * most / 1e6, None]
        work = f"{least:,.0f} to {most:,.0f}" if least < most else f"{most:,.0f}"
        lines.append([kind, work, *map(number, seconds), *map(str, memory)])
    header = ["job", "work", "start, s", "s per million", "MB at least work", "MB at most"]
    machine = made["machine"]
    where = f"{machine['cores']} cores of {machine['cpu']}, load {machine['load_before']:g} at the beginning"
    return f"Measured on {where}.\n\n{table(header, lines)}"


def memory() -> str:
    """Peak memory of each pass at each number of rows."""
    found = recorded("memory")["result"]
    lines = []
    for name in (key.removesuffix("_mb") for key in found if key.endswith("_mb")):
        peaks = [f"{mb:,.0f}" for mb in found[f"{name}_mb"]]
        lines.append([name, *peaks, f"{found[f'{name}_growth']:.2f}"])
    header = ["pass", *(f"{n:,} rows" for n in found["rows"]), "growth"]
    stored, held = found["stored_bytes_per_row"], found["bytes_per_row"]
    return (
        f"{table(header, lines)}\n\nA training holds {held:.0f} bytes a row at its peak, {held / stored:.1f} "
        f"times the {stored} bytes that a row takes in the bank."
    )


def dry_run() -> str:
    """Jobs and seconds of the dry run."""
    made = recorded("dry_run")
    found, load = made["result"], made["machine"]["load_before"]
    return (
        f"A dry run of {found['rows']:,} simulations in each of {found['replicates']} replicates has "
        f"{found['jobs']} jobs and takes {found['cpu_seconds']:.1f} s of CPU, {found['seconds']:.1f} s in "
        f"all (two cores, load {load:g}). Reading the rules alone, as each job of a cluster does, takes "
        f"{found['parse_cpu_seconds']:.1f} s of CPU."
    )


def filled(page: str, tables: Sequence[tuple[str, str]]) -> str:
    """Returns the page with the text between the comments of each table replaced."""
    for name, text in tables:
        block = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", flags=re.DOTALL)
        page, times = block.subn(lambda match, text=text: f"{match[1]}{text}\n{match[2]}", page)
        if times != 1:
            raise SystemExit(f"docs/scaling.md: expected one place for {name}, found {times}.")
    return page


def main() -> None:
    """Fills the page."""
    path = DOCS / "scaling.md"
    tables = [("costs", costs()), ("memory", memory()), ("dry_run", dry_run())]
    write_text(path, filled(path.read_text(encoding="utf-8"), tables))


if __name__ == "__main__":
    main()

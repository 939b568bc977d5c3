"""Records of benchmarks that have pages of their own: lines of measurements, and the runs that made them.

A record is the JSON beside its script. A line replaces the one of the same place, so that parts can be run
again.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from veridical import artifacts

Record = dict[str, Any]


def keep(
    script: str,
    lines: Iterable[dict[str, Any]],
    place: Sequence[str],
    page: Callable[[Record], str],
    out: Path | None,
) -> None:
    """Prints lines as they come; where a page is asked for, writes record and page after each.

    Arguments:
        script: The file of the benchmark.
        lines: What it measures.
        place: The names of the cells that tell lines apart.
        page: Makes the page of a record.
        out: Its file; None writes nothing.
    """
    path = Path(script).with_suffix(".json")
    record: Record = json.loads(path.read_text()) if path.is_file() else {"lines": [], "runs": []}
    record["versions"] = artifacts.versions()
    command = shlex.join(["python", f"benchmarks/{Path(script).name}", *sys.argv[1:]])
    record["runs"].append({"command": command, "date": f"{datetime.now():%Y-%m-%d}"})
    for found in lines:
        line = {k: round(v, 4) if isinstance(v, float) else v for k, v in found.items()}
        print(json.dumps(line), flush=True)
        record["lines"] = [old for old in record["lines"] if any(old[k] != line[k] for k in place)]
        record["lines"].append(line)
        if out:
            path.write_text(json.dumps(record, indent=1) + "\n")
            out.write_text(page(record))


def foot(record: Record, root: int) -> str:
    """Returns what made a record: root seed, versions, runs."""
    made = "\n".join(f"- `{run['command']}`, {run['date']}" for run in record["runs"])
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    return f"Root seed {root}; {versions}. Runs:\n\n{made}"

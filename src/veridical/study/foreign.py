"""A bank that belongs to somebody else: its simulations are read; what it lacks is told before any job."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from veridical.errors import BankError

if TYPE_CHECKING:
    from veridical.study.layout import Layout


def require_writable_or_whole(layout: Layout) -> None:
    """Stops where a study needs simulations that a bank lacks and that it may not add.

    Raises:
        BankError: With the owner, and what to do.
    """
    levels = dict.fromkeys(part.split("/")[0] for part in layout.used_rows)
    probes = [f"{layout.bank_of(level)}/{level}/probe.json" for level in levels]
    needed = [*probes, *layout.all_shards(), *layout.bank_benchmarks()]
    closed = {folder: there for folder in {*map(os.path.dirname, needed)} if (there := _closed(folder))}
    missing = [path for path in needed if os.path.dirname(path) in closed and not os.path.exists(path)]
    if missing:
        there = closed[os.path.dirname(missing[0])]
        raise BankError(
            f"{there} belongs to {_owner(there)} and cannot be written here; expected the simulations of "
            f"this study in it, but {len(missing)} of {len(needed)} files are missing, such as {missing[0]}. "
            f"Ask {_owner(there)} to run this study up to them, or put a folder of your own in the place of "
            f"{Path(layout.bank).parent}, with a copy of the bank (`cp -r`), or a link to each that is whole."
        )


def _closed(folder: str) -> Path | None:
    """The folder, or the nearest one above that exists, where it takes no files; None where it does."""
    there = Path(folder)
    while not there.exists():
        there = there.parent
    return None if os.access(there, os.W_OK | os.X_OK) else there


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except KeyError:  # a number without a name
        return f"user {path.stat().st_uid}"

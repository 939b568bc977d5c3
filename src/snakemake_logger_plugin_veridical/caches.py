"""A place for caches where the home directory takes none: Snakemake would stop, matplotlib complain."""

from __future__ import annotations

import os
from pathlib import Path

PLACE = Path(".snakemake", "caches")  # beside what else Snakemake keeps of its runs


def provide() -> None:
    """Lets this process and its children keep their caches in `PLACE` unless the usual folder is there."""
    usual = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if not _takes_files(usual):
        os.environ["XDG_CACHE_HOME"] = str(PLACE.absolute())
        os.environ.setdefault("MPLCONFIGDIR", str(PLACE.absolute() / "matplotlib"))


def _takes_files(folder: str) -> bool:
    try:
        if os.path.isabs(folder):
            os.makedirs(folder, exist_ok=True)
        return os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        return False

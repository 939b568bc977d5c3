"""Digests of settings and of files, which decide what reruns; those of code are in `code_digests`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def canonical(value: Any) -> str:
    """Returns JSON with sorted keys and no spaces; refuses NaN and what JSON cannot hold."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def short(value: Any, length: int = 12) -> str:
    """Returns the first hex digits of the SHA-256 of `value` as canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:length]


def file_digest(path: str | Path) -> str:
    """Returns the SHA-256 of a file, or of the names and contents of all files in a folder."""
    path = Path(path)
    if path.is_dir():
        members = sorted(p for p in path.rglob("*") if p.is_file())
        return short({str(p.relative_to(path)): file_digest(p) for p in members}, 64)
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

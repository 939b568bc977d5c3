"""What takes up space below `results/` and is needed no more: banks, running states, rests of killed jobs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from veridical import settings
from veridical.layout import Layout

QUIET_SECONDS = 86_400.0  # without a change, after which a temporary file has no writer any more
TEMPORARY = (".*.part", ".*.scratch")


@dataclass(frozen=True)
class Unneeded:
    """Something that can go.

    Attributes:
        path: A file or folder.
        why: `bank` that no study uses, `state` of a training without a living job, `rest` of a killed job.
        size: Bytes.
    """

    path: Path
    why: str
    size: int


def unneeded(results: Path, config: Path) -> list[Unneeded]:
    """Returns all that can go below a folder of results, given the studies in `config`.

    Raises:
        SettingError: If a study file cannot be read: what it uses is not known then.
    """
    used = _used(results, config)
    banks = [path for path in sorted((results / "bank").glob("*")) if path.is_dir() and path not in used]
    states = [path for path in sorted(results.glob("*/checkpoints/*")) if _quiet(path)]
    rests = [path for pattern in TEMPORARY for path in sorted(results.rglob(pattern)) if _quiet(path)]
    rests = [path for path in rests if not any(other in path.parents for other in (*banks, *states))]
    kinds = {"bank": banks, "state": states, "rest": rests}
    found = [(path, why) for why, paths in kinds.items() for path in paths]
    return [Unneeded(path, why, sum(f.stat().st_size for f in _files(path))) for path, why in found]


def _used(results: Path, config: Path) -> set[Path]:
    """The banks of all studies at all scales."""
    studies = [(settings.load(p, s), s) for p in sorted(config.glob("*.yaml")) for s in settings.SCALES]
    return {Path(Layout(study, scale, root=str(results)).bank) for study, scale in studies}


def _quiet(path: Path) -> bool:
    """Whether nothing in it has changed for a day; a training touches its lease every few seconds."""
    return all(time.time() - file.stat().st_mtime > QUIET_SECONDS for file in _files(path))


def _files(path: Path) -> Iterator[Path]:
    return (p for p in (path.rglob("*") if path.is_dir() else [path]) if p.is_file())

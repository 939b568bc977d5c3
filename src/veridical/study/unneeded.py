"""What takes up space below `results/` and is needed no more: banks, running states, rests of killed jobs.

What cannot be known to be unneeded stays: nothing is found where the studies are not known, a bank stays
while a link leads to it, and the state of a training stays until its results are there.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from veridical.artifacts import RECORD
from veridical.errors import SettingError, VeridicalError
from veridical.study import collections, settings
from veridical.training.checkpoints import OUTPUT

QUIET_SECONDS = 86_400.0  # without a change, after which a temporary file has no writer any more
TEMPORARY = (".*.part", ".*.scratch")
STUDY_FILES = (".yaml", ".yml")


@dataclass(frozen=True)
class Unneeded:
    """Something that can go, or that only its owner can say of whether it can.

    Attributes:
        path: A file, a folder or a link.
        why: `bank` that no study uses, `state` of a training that has ended, `rest` of a killed job,
            `progress` of a training that has not ended and that no job works on.
        size: Bytes.
    """

    path: Path
    why: str
    size: int

    @property
    def kept(self) -> bool:
        """Whether it stays all the same: it is the only copy of what a training has learned."""
        return self.why == "progress"


def unneeded(results: Path, config: Path) -> list[Unneeded]:
    """Returns all that can go below a folder of results, given the studies in `config`.

    Raises:
        SettingError: If there is no such folder, no study in `config`, or a study that cannot be read: what
            is used is not known then.
    """
    if not results.is_dir():
        raise SettingError(f"{results}: expected the folder of results, found none. Name it with --results.")
    used = _used(results, config)
    banks = [
        path for path in _children(results / "bank") if path.is_dir() and not _holds_any(path.resolve(), used)
    ]
    studies = [path for study in _children(results) for path in (study, *_children(study))]
    folders = [study / "checkpoints" for study in studies]
    quiet = [path for folder in folders for path in _children(folder) if _quiet(path)]
    states = [path for path in quiet if _ended(path)]
    progress = [path for path in quiet if path not in states]
    rests = sorted(path for path in _below(results) if any(map(path.match, TEMPORARY)))
    inside = {*banks, *quiet, *rests}
    rests = [path for path in rests if inside.isdisjoint(path.parents) and _quiet(path)]
    kinds = {"bank": banks, "state": states, "rest": rests, "progress": progress}
    found = [(path, why) for why, paths in kinds.items() for path in paths]
    return [Unneeded(path, why, _size(path)) for path, why in found if os.path.lexists(path)]


def remove(path: Path, tries: int = 10) -> None:
    """Removes a file, a folder with all below it, or a link but not what it leads to.

    Raises:
        OSError: If something cannot be removed; not for what is gone already.
    """
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except FileNotFoundError:  # another process removes it at the same time
        if os.path.lexists(path):
            if tries <= 1:
                raise
            remove(path, tries - 1)


def _used(results: Path, config: Path) -> set[Path]:
    """The banks of all studies at all scales, and what links in them lead to."""
    banks = {bank for path in _study_files(config) for bank in _banks(path, results)}
    return {path.resolve() for bank in banks for path in (bank, *_links(bank))}


def _banks(study: Path, results: Path) -> list[Path]:
    try:
        found = [collections.load(study, scale, str(results)) for scale in settings.SCALES]
        layouts = [layout for studies in found for layout in studies.layouts.values()]
        return [Path(bank) for layout in layouts for bank in layout.banks]
    except VeridicalError as error:
        told = str(error)
        raise SettingError(told if str(study) in told else f"{study}: {told}") from error


def _study_files(config: Path) -> list[Path]:
    """All study files below a folder, through links as well."""
    if not config.is_dir():
        raise SettingError(f"{config}: expected the folder of studies, found none. Name it with --config.")
    found, seen = [], set()
    for folder, folders, names in os.walk(config, onerror=_refuse, followlinks=True):
        if (here := Path(folder).resolve()) in seen:  # a link to a folder above it
            folders.clear()
            continue
        seen.add(here)
        found += [Path(folder) / name for name in names if Path(name).suffix.lower() in STUDY_FILES]
    if not found:
        raise SettingError(
            f"{config}: expected study files (.yaml or .yml), found none; which banks are used is not known. "
            "Name the folder of studies with --config."
        )
    return sorted(found)


def _refuse(error: OSError) -> None:
    raise SettingError(
        f"{error.filename}: cannot be read ({error.strerror}). Mend its permissions."
    ) from error


def _links(folder: Path) -> Iterator[Path]:
    return (path for path in _below(folder) if path.is_symlink())


def _below(folder: Path) -> Iterator[Path]:
    for here, folders, names in os.walk(folder):  # leaves out what it cannot read, or what is gone
        yield from (Path(here) / name for name in (*folders, *names))


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _holds_any(path: Path, used: Iterable[Path]) -> bool:
    return any(path == other or path in other.parents for other in used)


def _ended(state: Path) -> bool:
    """Whether the results of the training are there. Where they are to lie outside its study, who knows."""
    try:
        output = Path((state / OUTPUT).read_text(encoding="utf-8").strip()).resolve()
        return state.parents[1].resolve() in output.parents and (output / RECORD).is_file()
    except (OSError, ValueError):  # no such file, or not a path
        return False


def _quiet(path: Path) -> bool:
    """Whether nothing of it has changed for a day; a training touches its lease every few seconds."""
    try:
        newest = max((found.st_mtime for found in _entries(path.resolve())), default=None)
    except OSError:  # who cannot look into it does not know
        return False
    return newest is not None and time.time() - newest > QUIET_SECONDS


def _size(path: Path) -> int:
    total = 0
    with suppress(OSError):
        for found in _entries(path):
            total += 0 if stat.S_ISDIR(found.st_mode) else found.st_size
    return total


def _entries(path: Path) -> Iterator[os.stat_result]:
    """The state of a file, or of a folder and all below it; what vanishes meanwhile is left out."""
    try:
        found = path.lstat()
        yield found
        below = sorted(path.iterdir()) if stat.S_ISDIR(found.st_mode) else []
    except FileNotFoundError:
        return
    for child in below:
        yield from _entries(child)

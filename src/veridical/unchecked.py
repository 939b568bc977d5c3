"""What could not be made: a record in place of a result that a study can do without.

Where the computation of a check, a prediction or a reference fails, its job leaves
`{"unchecked": cause, "log": path}` under the name of its result, and the study goes on. The journal of the
job counts such attempts; the count is a param of the job, so that the next run tries again.
Where a method refuses a whole data set, its job leaves such a record too, with `refused`, what its weights
said. It is no failure, and what rests on it is not tried again.
What the machine did (no memory, a full disk, a damaged file) is no such failure: there the job fails.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterable, Iterator
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

from veridical.errors import ArtifactError, BankError, Unchecked, VeridicalError
from veridical.files import read_json, write_json

_FIRST = b'{"unchecked": '
_LONGEST = 500  # characters of a cause
_QUOTED = "Traceback (most recent call last)"
_OF_MACHINE = (MemoryError, ArtifactError, BankError, BrokenExecutor)
_ERRNOS = frozenset(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EROFS", "EIO", "ESTALE", "ENOMEM", "EMFILE", "ENFILE", "EAGAIN")
)


def write(path: str | Path, unchecked: str, log: str, **about: Any) -> None:
    """Writes the record of a result that could not be made and why, whatever the result would have been."""
    write_json(path, {"unchecked": unchecked, "log": log, **about})


def read(path: str | Path) -> dict[str, Any] | None:
    """Returns `unchecked` (the cause) and `log` where a record lies in place of a result, else None."""
    path = Path(path)
    if not path.is_file():
        return None
    with path.open("rb") as stream:
        if stream.read(len(_FIRST)) != _FIRST:
            return None
    return read_json(path, "the record of a result that could not be made")


def require(paths: Iterable[str | Path]) -> None:
    """Raises Unchecked where a record lies in place of a result that a job cannot do without."""
    for path in paths:
        if (record := read(path)) is not None:
            error = Unchecked(f"{path} could not be made: {record['unchecked']}")
            error.record = record
            raise error


def made(paths: Iterable[str | Path]) -> list[str | Path]:
    """Returns the paths in whose place no record lies."""
    return [path for path in paths if read(path) is None]


def cause(error: BaseException) -> str:
    """Returns in one line why something could not be made; of a traceback that is quoted, the last line."""
    said, _, quoted = str(error).partition(_QUOTED)
    lines = [*said.splitlines(), *quoted.strip().splitlines()[-1:]]
    if not isinstance(error, VeridicalError):
        lines = lines[:1]
    text = " ".join([f"{type(error).__name__}:", *(line.strip() for line in lines)]).rstrip(": ")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def of_machine(error: BaseException) -> bool:
    """Whether an error, or one behind it, says nothing of the computation: another attempt may succeed."""
    return any(
        isinstance(one, _OF_MACHINE)
        or (isinstance(one, OSError) and one.errno in _ERRNOS)
        or type(one).__name__ == "OutOfMemoryError"  # of torch, which is not imported for this
        or "allocate memory" in str(one)
        for one in _chain(error)
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def count(journal: tuple[str, int]) -> None:
    """Writes that one more attempt has failed into a journal, given with the number of those before."""
    path, before = journal
    write_json(path, {"attempts": before + 1})


def attempts(*folders: str | Path) -> dict[str, int]:
    """Returns how many attempts each journal in some folders counts, by its path."""
    found = {}
    for path in sorted(path for folder in folders for path in Path(folder).glob("*.json")):
        try:
            found[str(path)] = int(json.loads(path.read_bytes())["attempts"])
        except (OSError, ValueError, KeyError, TypeError):  # damaged: as good as another count
            found[str(path)] = -1
    return found

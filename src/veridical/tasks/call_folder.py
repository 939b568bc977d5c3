"""The folder in which one call of a program runs: its own, with what the task declares, removed afterwards.

Calls run at the same time, on one machine or on many that share a disk. A program that writes files of fixed
names into the folder it is started in would mix them up there; so each call starts in a new folder, and the
paths that the command and `depends_on` name lead where they led before.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from veridical.errors import BankError

KEEP = "VERIDICAL_KEEP_FAILED"  # names a folder to which the folders of failed calls are moved
MOST_KEPT = 20
_COPIED_BYTES = 1 << 20  # larger inputs are linked
_COPIED_FILES = 200  # larger folders are linked
_SEPARATORS = re.compile(r"""[\s=,;:'"()|&<>`]+""")


class CallFolder(NamedTuple):
    """The folder of one call.

    Attributes:
        files: Where the files lie that are handed to the program; the program does not start in it.
        start: The folder in which the program starts.
        environment: The environment of the program.
    """

    files: Path
    start: Path
    environment: dict[str, str]


class Inputs:
    """What a program is to find in the folder it starts in, as seen from the study's own folder.

    Arguments:
        words: The command, placeholders included.
        declared: Files and folders that the task declares, `depends_on`.
    """

    def __init__(self, words: list[str], declared: Iterable[str]) -> None:
        self.home = Path.cwd()
        code = _code_words(words)
        self.words = [str(self.home / word) if i in code else word for i, word in enumerate(words)]
        pieces = [piece for word in self.words for piece in (word, *_SEPARATORS.split(word))]
        found = dict.fromkeys(map(os.path.normpath, filter(None, (*declared, *pieces))))
        wanted = [path for path in found if not os.path.isabs(path) and path.strip("./") and _exists(path)]
        self.depth = max((Path(path).parts.count("..") for path in wanted), default=0)
        self.wanted = [(self.home / path, path) for path in wanted]
        self.by_module = "-m" in words  # Python looks for modules where it is started

    @contextmanager
    def folder(self) -> Iterator[CallFolder]:
        """Makes a folder for a call and removes it; moves it away where the call fails and KEEP is set."""
        try:
            files = Path(tempfile.mkdtemp(prefix="veridical-"))
        except OSError as error:
            raise BankError(
                f"no folder can be made for a call of the program: {error}. "
                "Set TMPDIR to a folder of a disk with room."
            ) from error
        try:
            start = files.joinpath("call", *["inner"] * self.depth)
            (files / "tmp").mkdir()
            start.mkdir(parents=True)
            for source, path in self.wanted:
                _place(source, Path(os.path.normpath(start / path)))
            own = {"PWD": str(start), "TMPDIR": str(files / "tmp")}
            if self.by_module:
                paths = (os.environ.get("PYTHONPATH"), str(self.home))
                own["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
            yield CallFolder(files, start, {**os.environ, **own})
        except Exception as error:
            if kept := _keep(files, self.home):
                error.args = (f"{error}\nThe folder of the call is kept in {kept}.",)
            raise
        finally:
            shutil.rmtree(files, ignore_errors=True)


def _code_words(words: list[str]) -> set[int]:
    """Positions of the program and, behind one found through PATH, of its script: they stay where they are,
    because they may look for what lies beside them.
    """
    if os.sep in words[0]:
        return {0}
    return set(islice((i for i, word in enumerate(words) if i and os.path.isfile(word)), 1))


def _exists(path: str) -> bool:
    try:
        return os.path.exists(path)
    except ValueError:  # a zero byte
        return False


def _place(source: Path, path: Path) -> None:
    """Puts an input where the program looks for it: a copy, which it may write into, or a link."""
    if os.path.lexists(path):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if not source.is_dir():
        is_code = source.suffix == ".py" or os.access(source, os.X_OK)
        if is_code or source.stat().st_size > _COPIED_BYTES:
            path.symlink_to(source)
        else:
            shutil.copyfile(source, path)
        return
    inside = list(islice(source.rglob("*"), _COPIED_FILES + 1))
    if len(inside) > _COPIED_FILES:
        path.symlink_to(source)
        return
    path.mkdir(exist_ok=True)
    for one in inside:
        if one.is_file():
            _place(one, path / one.relative_to(source))


def _keep(files: Path, home: Path) -> Path | None:
    """Moves the folder of a failed call to where the user wants it; None where nothing or enough is kept."""
    if not os.environ.get(KEEP):
        return None
    place = home / os.environ[KEEP]
    with suppress(OSError):  # must not hide the error of the call
        place.mkdir(parents=True, exist_ok=True)
        if len(list(islice(place.iterdir(), MOST_KEPT))) < MOST_KEPT:
            return Path(shutil.move(files, place / files.name))
    return None

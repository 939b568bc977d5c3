"""Seals: a file carries its own SHA-256, so that whoever reads it notices damage.

A seal says in words what it is, wherever a format has room for it: a last entry in JSON, a comment in HTML,
SVG and zip files, bytes behind the end of an HDF5 file. Its 64 digits are the SHA-256 of the whole file with
zeros in their place. Files of revisions that wrote no seals have none, and are read as they are.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import re
from pathlib import Path

from veridical.errors import ArtifactError, VeridicalError, if_bad

_PARTS = (b"SHA-256 of this file ", b"with zeros in place ", b"of these digits: ", b" (seal of veridical)")
_BEGIN, _END = b"".join(_PARTS[:-1]), _PARTS[-1]
_ZEROS = b"0" * 64
EMPTY = (_BEGIN + _ZEROS + _END).decode()
_SEAL = re.compile(re.escape(_BEGIN) + b"([0-9a-f]{64})" + re.escape(_END))
_LENGTH = len(EMPTY)


def filled(text: str) -> str:
    """Returns a text with the digest in the last empty seal that it holds."""
    head, seal, tail = text.rpartition(EMPTY)
    if not seal:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()
    return head + EMPTY.replace(_ZEROS.decode(), digest) + tail


def append(path: str | Path) -> None:
    """Writes a seal behind the end of a file whose readers look no further than its own end."""
    with Path(path).open("ab") as stream:
        stream.write(EMPTY.encode())
    fill(path)


def fill(path: str | Path, start: int = 0) -> None:
    """Fills the empty seal that ends a file; its digest counts the bytes from `start` on."""
    with Path(path).open("r+b") as stream:
        stream.seek(start)
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        stream.seek(len(_BEGIN) - _LENGTH, os.SEEK_END)
        stream.write(digest.encode())


def require(path: str | Path, start: int = 0, *, error: type[VeridicalError] = ArtifactError) -> bool:
    """Compares a file with its seal; returns whether it has one.

    Arguments:
        path: The file.
        start: From which byte on the seal counts.
        error: Raised where they differ.

    Raises:
        VeridicalError: If the file is empty, or not what was written.
        OSError: If it cannot be read.
    """
    with Path(path).open("rb") as stream:
        if not stream.seek(0, os.SEEK_END):
            raise error(f"{path}: expected what was written into it, got an empty file. {if_bad(path)}.")
        if start:  # of a large file, only its end
            stream.seek(start)
            whole = _whole(stream.read())
        else:
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
                whole = _whole(content)
    if whole is False:
        raise error(
            f"{path}: damaged (its SHA-256 differs from the one that was written into it). {if_bad(path)}."
        )
    return bool(whole)


def _whole(content: bytes | mmap.mmap) -> bool | None:
    """Whether content agrees with its last seal; None where it holds none.

    A part of a seal is a damaged one: three flipped bits cannot spoil all four.
    """
    begin = content.rfind(_BEGIN)
    if begin < 0:
        return None if all(content.find(part) < 0 for part in _PARTS) else False
    found = _SEAL.match(content, begin)
    if found is None or content.find(_END, found.end()) >= 0:
        return False
    digest = hashlib.sha256()
    with memoryview(content) as view, view[: found.start(1)] as head, view[found.end(1) :] as tail:
        for piece in (head, _ZEROS, tail):
            digest.update(piece)
    return digest.hexdigest() == found[1].decode()

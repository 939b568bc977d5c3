"""What the log of a job tells: whether it ended, how, after how long, and in which sentence.

A job that runs touches its log (`job.LIFE_SECONDS`); one that ends writes so in the last line. A log without
that line which nothing touches any more belongs to a job that was killed.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from veridical import errors, job

STALE_SECONDS = 180.0
_TAIL_BYTES = 50_000
_LONGEST = 600  # characters of a sentence that are shown
_OURS = "|".join(name for name, found in vars(errors).items() if isinstance(found, type))
# The sentence begins at the last line with an error of ours, which may quote others; else with any error.
_BEGINNINGS = (re.compile(rf"({_OURS}): \S"), re.compile(r"[A-Za-z_][\w.]*: \S"))


@dataclass(frozen=True)
class Told:
    """What a log tells.

    Attributes:
        state: `done`, `failed`, `stopped` (ended politely from outside), `running` or `lost`.
        sentence: What it says of a failure, printable; its last line where nothing failed.
        seconds: How long the job took; None where it has not ended.
        touched: When it was touched last, as `time.time()` counts.
    """

    state: str
    sentence: str
    seconds: float | None
    touched: float


def read(path: str | Path, now: float) -> Told | None:
    """Returns what a log tells at the time `now`; None where there is none."""
    try:
        with Path(path).open("rb") as stream:
            touched = os.fstat(stream.fileno()).st_mtime
            stream.seek(max(os.fstat(stream.fileno()).st_size - _TAIL_BYTES, 0))
            text = stream.read().decode("utf-8", errors="replace")
    except OSError:
        return None
    lines = [line for line in text.splitlines() if line.strip()]
    last = job.LAST.fullmatch(lines[-1]) if lines else None
    if last is None:
        alive = now - touched <= STALE_SECONDS
        return Told("running" if alive else "lost", _shown(lines[-1:]), None, touched)
    state = last[1].split()[0]
    said = lines[:-1]
    return Told(state, _shown(_sentence(said) if state == "failed" else said[-1:]), float(last[2]), touched)


def _sentence(lines: list[str]) -> list[str]:
    """The message that a job failed with; of a traceback that it quotes, the last line."""
    for beginning in _BEGINNINGS:
        if starts := [i for i, line in enumerate(lines) if beginning.match(line)]:
            said = lines[starts[-1] :]
            quoted = [
                i for i, line in enumerate(said) if line.startswith("Traceback (most recent call last)")
            ]
            return [*said[: quoted[0]], said[-1]] if quoted else said
    return lines[-1:]


def _shown(lines: list[str]) -> str:
    text = " ".join(job.printable(line).strip() for line in lines)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."

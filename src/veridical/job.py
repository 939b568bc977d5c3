"""What every job does around its one call: logs to its file, and ends with a message a reader can act on."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from veridical import files, unchecked, warm
from veridical.errors import Refused, Unchecked, VeridicalError

END_SECONDS = 120.0
LIFE_SECONDS = 30.0  # between two signs of life of a job: the time stamp of its log
_TOLD_TO_END = tuple(128 + number for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM))
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", flags=re.MULTILINE)
_PIECE = 1 << 16  # characters of a log
LAST = re.compile(r"(done in|failed after|stopped after) (\d+\.\d+) s(?:, (\d+) MB)?")  # how a log ends


def run(main: Callable[[Any], None], snakemake: Any, *, light: bool = False) -> None:
    """Calls `main(snakemake)` with all output in the rule's log; exits with 1 on any error.

    Unless the job is `light`, one that starts quickly and whose own memory counts, a process that has
    imported everything calls it, where there is one (see `warm`).

    An error that a reader can mend is shown in one sentence, any other with its traceback; both
    reach the log and the terminal without control characters. The log ends in a line that `LAST` knows,
    unless the job was killed. A polite kill (SIGTERM) runs all clean-up before the job ends.

    A job with a param `journal` is one that the study can do without: where its computation fails, or that
    of an input did, a record of it (see `unchecked`) takes the place of its results, and it counts as done.
    """
    if not light and (code := warm.hand_over()) is not None:
        sys.exit(code)
    path = Path(snakemake.log[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # clears up on the way out
    end, message, dispensable = "stopped after", "", False
    try:
        with path.open("w", encoding="utf-8", errors="replace", buffering=1) as log, _life(path), _into(log):
            try:
                end, message, dispensable = _attempt(main, snakemake)
            finally:
                told = f"{message.rstrip()}\n" if message else ""
                log.write(f"{told}{end} {time.perf_counter() - started:.2f} s{_peak()}\n")
    finally:
        _neutralise(path)
    if message:
        goes_on = " could not be made, and the study goes on" if dispensable else ""
        sys.stderr.write(f"\n{snakemake.rule} ({path}){goes_on}:\n{printable(told)}")
        if not dispensable:
            sys.exit(1)


def _peak() -> str:
    """The largest memory of this process, as the end of a log tells it; nothing where that is unknown.

    It counts 2**20 bytes, as Snakemake does. `getrusage` would tell what the process was before this program.
    """
    status = Path("/proc/self/status")
    found = _PEAK.search(status.read_text()) if status.is_file() else None
    return "" if found is None else f", {int(found[1]) // 1024} MB"


def records(benchmark: Path) -> list[dict[str, Any]]:
    """Returns Snakemake's records of a job, with the memory that the end of its log tells where that is more.

    Snakemake looks from time to time at the process that it started, which may have handed the job over.

    Raises:
        ArtifactError: If the benchmark file is missing or holds something else, or nothing.
    """
    found = files.benchmark_records(benchmark)
    before, _, after = str(benchmark).rpartition("/benchmarks/")
    log = Path(f"{before}/logs/{after}").with_suffix(".log")
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    told = LAST.fullmatch(lines[-1]) if lines else None
    if told is not None and told[3]:
        for record in found:
            seen = record.get("max_rss")
            record["max_rss"] = max(float(told[3]), float(seen) if isinstance(seen, int | float) else 0.0)
    return found


def _attempt(main: Callable[[Any], None], snakemake: Any) -> tuple[str, str, bool]:
    """How the log ends, the message, and whether a record has taken the place of the results."""
    journal = getattr(snakemake, "params", {}).get("journal")
    try:
        main(snakemake)
        return "done in", "", False
    except Refused as error:  # an answer as well, and no failure
        print(f"refused: {error}")
        for path in snakemake.output:
            unchecked.write(path, printable(str(error)), str(snakemake.log[0]), refused=dict(error.about))
        return "done in", "", False
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and error.code in _TOLD_TO_END:
            raise
        mendable = isinstance(error, VeridicalError)
        message = f"{type(error).__name__}: {error}" if mendable else traceback.format_exc()
        if journal is None or unchecked.of_machine(error):
            return "failed after", message, False
        own = {"unchecked": printable(unchecked.cause(error)), "log": str(snakemake.log[0])}
        record = (error.record if isinstance(error, Unchecked) else None) or own
        refused = "refused" in record
    try:
        for path in snakemake.output:
            if not Path(path).is_dir():  # of figures, which hold their own records
                unchecked.write(path, **record)
        if refused:
            print(f"nothing to do: {record['unchecked']}")
            return "done in", "", False
        unchecked.count(journal)
    except VeridicalError as error:
        return "failed after", f"{message.rstrip()}\n{type(error).__name__}: {error}", False
    return "failed after", message, True


@contextmanager
def _into(log: TextIO) -> Iterator[None]:
    """Sends both outputs of this process to the log, those of libraries and child processes too."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    kept = {number: os.dup(number) for number in (1, 2)}
    try:
        for number in kept:
            os.dup2(log.fileno(), number)
        with redirect_stdout(log), redirect_stderr(log):
            yield
    finally:
        for number, own in kept.items():
            os.dup2(own, number)
            os.close(own)


@contextmanager
def _life(path: Path) -> Iterator[None]:
    """Touches a job's log while it runs, so that a killed job can be told from one with nothing to say."""
    ended = threading.Event()

    def touch() -> None:
        while not ended.wait(LIFE_SECONDS):
            with suppress(OSError):  # the file server does not answer just now
                os.utime(path)

    threading.Thread(target=touch, name=f"life of {path}", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def printable(text: str) -> str:
    """Returns text that a terminal may be shown: other control characters than line ends, tabs as escapes."""
    kept = (c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)
    return "".join(kept)


def _neutralise(log: Path) -> None:
    """Writes a log anew without control characters, which what a job calls can write into it."""
    with suppress(OSError, VeridicalError), log.open(encoding="utf-8", errors="replace", newline="") as raw:
        pieces = partial(raw.read, _PIECE)
        if all(printable(piece) == piece for piece in iter(pieces, "")):
            return
        raw.seek(0)
        with files.whole(log) as clean, clean.open("w", encoding="utf-8", newline="") as stream:
            stream.writelines(printable(piece) for piece in iter(pieces, ""))


def share_code() -> None:
    """Makes child processes import this very code, whatever Python environment they run in."""
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    own = str(Path(__file__).parents[1])
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([own, *others]))


def deadline(snakemake: Any) -> float | None:
    """Returns when a job should end by itself, as `time.time()` counts; None where nobody ends it.

    SLURM kills a job at its end, which newer versions tell (SLURM_JOB_END_TIME); with others the job's
    `runtime` counts from now. A job needs some of that time to save its state.
    """
    if "SLURM_JOB_ID" not in os.environ:
        return None
    now = time.time()
    end = float(os.environ.get("SLURM_JOB_END_TIME", now + 60.0 * float(snakemake.resources.runtime)))
    return end - min(END_SECONDS, (end - now) / 4)
